"""What rules are made of, and what is made of them: filters, Sigma rules, drafts for systemd and Kubernetes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from netmon.config.checked import CheckedConfig, check_document
from netmon.config.document import document_of
from netmon.config.yaml_reader import parse_yaml
from netmon.config.yaml_writer import write_yaml
from netmon.errors import ArgumentError, ConfigError, NetmonError
from netmon.filters.events import EventFilter
from netmon.learn.drafts import draft_of
from netmon.rules.events import JsonRules
from netmon.rules.from_filters import convert_filters
from netmon.rules.from_sigma import convert_sigma
from netmon.rules.load import load_rules
from tests.support.rule_evaluator import Json
from tests.support.rule_strategies import events
from tests.support.strategies import configs
from tests.unit.learn.expectations import config_of, expectation
from tests.unit.learn.strategies import event, named


def checked(plain: Any) -> CheckedConfig:
    """Return a configuration that was written as YAML and read again. Raises ConfigError."""
    return check_document(parse_yaml("converted", "\n".join(write_yaml(plain)).encode()))


@settings(max_examples=60, deadline=None)
@given(configs(), st.lists(events(), min_size=1, max_size=8))
def test_rules_of_filters_let_pass_the_same(config: Any, seen: list[Json]) -> None:
    plain = config.model_dump(mode="json", exclude_defaults=True)
    before = check_document(document_of(plain, "filters"))
    try:
        after = checked(convert_filters(before, plain))
        filters = [EventFilter(one, with_context=True, with_names=True) for one in (before, after)]
    except (ConfigError, ArgumentError):  # filters that nothing passes, or that recordings do not tell
        return
    for one in seen:
        kind = one["network_event"]["type"].removeprefix("TcpConnection")
        if kind in ("Establish", "Accept", "Existing"):
            one["network_event"]["netns"], one["process"]["cgroup"] = 1, "/"
            one["process"].pop("truncated", None)
            passes = filters[1].passes(one) and JsonRules(after).outcome(one).reported
            assert filters[0].passes(one) == passes


def test_what_rules_cannot_say_stays_a_filter() -> None:
    plain = {
        "egress": {"enabled": True},
        "process_filter": {"deny_list": True, "binary": {"name": ["curl"]}},
        "netns_filter": {"netns": [1]},
        "run": {"ring_size": "8M"},
    }
    made = convert_filters(check_document(document_of(plain, "filters")), plain)
    assert made == {**plain, "egress": {"enabled": True, "rules": [{"rule": "passes-the-filters"}]}}
    with pytest.raises(NetmonError, match="has rules already"):
        convert_filters(checked(made), made)


def sigma(condition: str = "selection", *, source: Any = None, **searches: Any) -> dict[str, Any]:
    return {
        "title": "A title",
        "logsource": source or {"category": "network_connection", "product": "linux"},
        "detection": {**searches, "condition": condition},
        "level": "high",
        "tags": ["attack.t1571"],
    }


def when_of(*arguments: str, **searches: Any) -> str:
    made = convert_sigma(sigma(*arguments, **searches), "rule.yml")
    checked(made)
    (rule,) = made["rules"]
    assert (rule["rule"], rule["severity"], rule["tags"]) == ("A title", "high", ["attack.t1571"])
    return str(rule["when"])


@pytest.mark.parametrize(
    ("search", "condition"),
    [
        ({"Image": "/usr/bin/nc"}, 'binary_path == "/usr/bin/nc"'),
        ({"Image|endswith": ["/bash", "/sh"]}, '(binary_path like "**/bash" OR binary_path like "**/sh")'),
        ({"CommandLine|contains|all": ["a", "b"]}, '(args like "**a**" AND args like "**b**")'),
        ({"DestinationPort": [4444, "9001"]}, "port_dst in [4444, 9001]"),
        ({"DestinationIp|cidr": "10.0.0.0/8"}, 'ip_dst == "10.0.0.0/8"'),
        ({"DestinationHostname": ["A.example", "b.example"]}, 'domain in ["a.example", "b.example"]'),
        ({"DestinationHostname|endswith": ".onion"}, 'domain like "**.onion"'),
        ({"Initiated": "true", "SourcePort": 1}, '(direction == "egress" AND port_src == 1)'),
        ([{"User": "root"}, {"ProcessId": 1}], '(user == "root" OR pid == 1)'),
        (
            {"Protocol": "tcp", "Image|startswith": "/tmp/"},
            '(direction in ["egress", "ingress"] AND binary_path like "/tmp/**")',
        ),
    ],
)
def test_sigma_searches(search: Any, condition: str) -> None:
    assert when_of(selection=search) == condition


def test_sigma_conditions() -> None:
    searches = {"sel_a": {"SourcePort": 1}, "sel_b": {"DestinationPort": 2}, "other": {"SourcePort": 3}}
    one, two, three = "port_src == 1", "port_dst == 2", "port_src == 3"
    for condition, when in {
        "1 of sel_*": f"({one} OR {two})",
        "all of them": f"({one} AND {two} AND {three})",
        "sel_a or sel_b and not other": f"{one} OR {two} AND NOT {three}",
        "not (sel_a and sel_b) or other": f"NOT ({one} AND {two}) OR {three}",
        "(sel_a or sel_b) and other": f"({one} OR {two}) AND {three}",
    }.items():
        if condition != "all of them":  # which can never match, and says so
            assert when_of(condition, **searches) == when
    with pytest.raises(ConfigError, match="can never match"):
        when_of("all of them", **searches)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (sigma(selection={"Hashes": "x"}), "rule.yml: detection.selection.Hashes: Hashes is no field that netmon has"),
        (sigma(selection={"Image|re": "x"}), "detection.selection.Image|re: has the modifier re"),
        (sigma(selection={"Image": None}), "detection.selection.Image: looks for what an event lacks"),
        (sigma(selection={"Image": 'a"'}), "has a quote"),
        (sigma(selection={"Image|endswith": "\\cmd.exe"}), "has ? or a backslash"),
        (sigma(selection={"DestinationIp": "10.*"}), "has a wildcard; give a CIDR"),
        (sigma(selection={"DestinationPort|contains": 8}), "has the modifier contains, which is for other fields"),
        (sigma(selection={"DestinationPort": "x"}), "x is no number"),
        (sigma(selection={"Protocol": "udp"}), "netmon sees TCP alone"),
        (sigma(selection=["word"]), "looks for words in whole events"),
        (sigma("selection | count() > 3", selection={"SourcePort": 1}), "has | count() > 3"),
        (sigma("selection and", selection={"SourcePort": 1}), "ends where a search should be"),
        (sigma("nothing", selection={"SourcePort": 1}), "names nothing, which is no search"),
        (sigma("1 of x*", selection={"SourcePort": 1}), "no search is like x*"),
        (sigma("(" * 40, selection={"SourcePort": 1}), "is too deep"),
        (sigma(source={"category": "process_creation"}), "is about linux's process_creation"),
        (sigma(source={"category": "network_connection", "product": "windows"}), "is about windows's"),
        ({"detection": {}}, "is no Sigma rule"),
    ],
)
def test_what_sigma_says_and_conditions_cannot_is_refused_with_its_place(rule: Any, says: str) -> None:
    with pytest.raises(NetmonError) as raised:
        convert_sigma(rule, "rule.yml")
    assert says in str(raised.value)


def draft(kind: str, *seen: Json) -> str:
    return draft_of(kind, load_rules(config_of(expectation(seen))))


NGINX: Json = {"binary_path": "/usr/sbin/nginx", "workload": {"unit": "nginx.service"}}


def test_a_draft_for_systemd_says_what_it_leaves_out() -> None:
    text = draft(
        "systemd",
        event(daddr="10.0.0.5", dport=5432, **NGINX),
        event("Accept", daddr="192.0.2.1", sport=443, **NGINX),
        event(daddr="127.0.0.1", dport=53, **NGINX),
        event(names=named("api.example"), workload={"unit": "app@1.service"}),
        event(workload={"unit": "session-1.scope"}),
        event(binary_path="/usr/bin/x"),
    )
    nginx, app = text.index("nginx.service.d/"), text.index("# /etc/systemd/system/app@.service.d/netmon.conf")
    assert text[nginx:].splitlines()[1:6] == [
        "[Service]",
        "IPAddressDeny=any",
        "IPAddressAllow=localhost",
        "IPAddressAllow=192.0.2.1",
        "IPAddressAllow=10.0.0.5",
    ]
    assert text[app:].splitlines()[2:4] == [
        "# Not before the addresses of these names are allowed: api.example",
        "#IPAddressDeny=any",
    ]
    assert "# *.scope: units of sessions" in text
    assert "#   /usr/bin/x (egress): it has no workload" in text


def test_a_draft_of_policies_is_what_kubernetes_reads() -> None:
    web: Json = {"workload": {"namespace": "shop", "container": "web_1"}, "container_id": "0" * 12}
    text = draft(
        "networkpolicy",
        *(event(daddr=f"{i}.8.8.8", **web) for i in range(20, 40)),
        event(daddr="10.0.0.5", dport=8000, **web),
        event(names=named("api.example"), **web),
        event("Accept", daddr="2001:db8::1", sport=80, **web),
    )
    (policy,) = yaml.safe_load_all(text)
    assert policy["metadata"] == {"name": "netmon-web-1", "namespace": "shop"}
    (ingress,) = policy["spec"]["ingress"]
    assert ingress == {
        "from": [{"ipBlock": {"cidr": "2001:db8::1/128"}}],
        "ports": [{"protocol": "TCP", "port": 80}],
    }
    names, *egress = policy["spec"]["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    cidrs = [peer["ipBlock"]["cidr"] for rule in egress for peer in rule["to"]]
    assert "10.0.0.5/32" in cidrs and "0.0.0.0/5" in cidrs and "10.0.0.0/8" not in cidrs
    assert "  # not expressible: api.example port 443" in text.splitlines()


def test_what_no_draft_can_say_is_listed() -> None:
    config = checked(
        {
            "egress": {"enabled": True},
            "unmatched": "report",
            "rules": [
                {"rule": "root", "when": "uid == 0", "action": "drop"},
                {"rule": "loud", "when": "port_dst == 1"},
                {"rule": "rest", "action": "drop"},
            ],
        }
    )
    text = draft_of("systemd", load_rules(config))
    assert "#   the rule root: it compares uid" in text and "the rule rest: it expects everything" in text
    assert "loud" not in text

"""The language means what a second evaluator says, on its whole way: text, tree, bytes, function."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from netmon.errors import ConfigError
from netmon.rules.attributes import ATTRIBUTES
from netmon.rules.events import facts_of
from netmon.rules.explain import matches, truth_of, values_of
from netmon.rules.load import RuleSet, load_rules
from netmon.rules.match import matcher_of
from netmon.rules.plain import pack_rules, unpack_rules
from netmon.rules.resolve import AllOf, AnyOf, Passes, Positive, superset
from netmon.rules.sets import Texts
from tests.support.json_lines import connection_line
from tests.support.rule_evaluator import Condition, Json, evaluate, text_of
from tests.support.rule_strategies import CONDITIONS, events
from tests.unit.rules.rule_sets import config_of, judge_of, problems_of

DIRECTIONS = {"establish": "egress", "fail": "egress", "accept": "ingress"}


def direction_of(event: Json) -> str | None:
    network = event["network_event"]
    kind = network["type"].removeprefix("TcpConnection").lower()
    return network.get("direction") or DIRECTIONS.get(kind)


def verdict(condition: Condition, event: Json) -> bool | None:
    return evaluate(condition, event, direction_of(event))


def names_of(event: Json, *rules: dict[str, Any], **keys: Any) -> tuple[str, ...]:
    """Return the rules that an event matches by itself."""
    judge = judge_of(*rules, **keys)
    return judge.judge(judge.process_values(event["process"], event.get("parent")), facts_of(event), None).names


def rule_of(condition: Condition) -> dict[str, Any]:
    rule = {"rule": "it", "when": text_of(condition)}
    try:
        config_of(rule)
    except ConfigError as error:  # generated conditions are right but for what follows from them
        texts = [problem.message for problem in error.problems]
        assert all(text.startswith(("can never match", "always matches")) for text in texts)
        assume(False)
    return rule


@given(CONDITIONS, st.lists(events(), min_size=1, max_size=5))
def test_a_rule_matches_what_makes_its_condition_true(condition: Condition, found: list[Json]) -> None:
    rule = rule_of(condition)
    for event in found:
        assert names_of(event, rule) == (("it",) if verdict(condition, event) else ())


@given(CONDITIONS, events())
def test_explanations_have_the_same_truth(condition: Condition, event: Json) -> None:
    (loaded,) = load_rules(config_of(rule_of(condition)))
    facts = facts_of(event)._replace(direction=direction_of(event))
    values = values_of(event["process"], None, facts)
    assert truth_of(loaded.trees["when"], values) == matches(loaded, values) == verdict(condition, event)


@given(CONDITIONS, events())
def test_what_can_never_match_never_does(condition: Condition, event: Json) -> None:
    problems = problems_of({"rule": "it", "when": text_of(condition)})
    if any("can never match" in problem for problem in problems):
        assert verdict(condition, event) is not True
    if any("always matches" in problem for problem in problems):
        assert verdict(condition, event) is True


@given(CONDITIONS, CONDITIONS, events())
def test_what_is_hidden_is_dropped(one: Condition, other: Condition, event: Json) -> None:
    dropping = {**rule_of(one), "rule": "noise", "action": "drop"}
    problems = problems_of(dropping, {"rule": "it", "when": text_of(other)})
    if any("is hidden by the rule noise" in problem for problem in problems) and verdict(other, event):
        assert verdict(one, event) is True


@given(CONDITIONS, events(), st.frozensets(st.sampled_from(sorted(ATTRIBUTES))))
def test_who_knows_less_accepts_more(condition: Condition, event: Json, known: frozenset[str]) -> None:
    (loaded,) = load_rules(config_of(rule_of(condition)))
    assert loaded.rule.condition is not None
    wider = superset(loaded.rule.condition, known.__contains__)
    if verdict(condition, event) and wider is not None:
        assert {*keys_of(wider)} <= known
        assert passes(loaded.rule._replace(condition=wider), event)


def passes(rule: Any, event: Json) -> bool:
    (stored,) = unpack_rules(pack_rules(RuleSet((rule,)))).rules
    facts = facts_of(event)._replace(direction=direction_of(event))
    values = values_of(event["process"], None, facts)
    keys = [*ATTRIBUTES]
    matches = matcher_of(stored.condition, {key: at for at, key in enumerate(keys)})
    return matches(tuple(values.get(key) for key in keys))


def keys_of(condition: Positive) -> list[str]:
    if isinstance(condition, Passes):
        return [condition.key]
    return [key for part in condition.parts for key in keys_of(part)]


def test_the_superset_of_an_alternative_that_is_unknown_is_everything() -> None:
    port, name = Passes("port_dst", ((22, 22),)), Passes("args", Texts("values", frozenset("x"), negated=False))
    assert superset(AnyOf((port, name)), lambda key: key == "port_dst") is None
    assert superset(AllOf((port, name)), lambda key: key == "port_dst") == AllOf((port,))


# The five defects of the reference (and what its documentation shows), as they should be.

OUT_OF_CLUSTER = """
egress:
  enabled: true
  rules:
  - rule: tcp-connections-out-of-cluster
    event: >
      NOT ipv4_dst in [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.1",
        "0.0.0.0"
      ] OR ipv6_dst == "2000::/3"
  - rule: tcp-connections-to-api-server
    event: ipv4_dst == "10.96.0.1" AND port_dst == 443
"""


def an_event(daddr: str, dport: int = 80, name: str = "curl", kind: str = "Establish", **more: Any) -> Json:
    return {
        "type": "NetworkEvent",
        "process": {
            **dict.fromkeys(("uid", "euid", "gid", "egid", "auid", "pid", "tid", "ppid"), 1000),
            **dict.fromkeys(("cap_inheritable", "cap_permitted", "cap_effective", "secureexec", "args"), ""),
            "start_time": "2025-11-23T00:00:00.000Z",
            "filename": name,
            "binary_path": f"/usr/bin/{name}",
        },
        "network_event": {
            "type": f"TcpConnection{kind}",
            "saddr": "::1" if ":" in daddr else "10.0.0.1",
            "daddr": daddr,
            "sport": 40000,
            "dport": dport,
            "cookie": 7,
            **more,
        },
        "timestamp": "2025-11-23T00:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("daddr", "dport", "names"),
    [
        ("10.1.2.3", 80, ()),
        ("172.31.0.1", 80, ()),
        ("127.0.0.1", 80, ()),
        ("127.0.0.2", 80, ("tcp-connections-out-of-cluster",)),
        ("8.8.8.8", 443, ("tcp-connections-out-of-cluster",)),
        ("2a00:1450::1", 443, ("tcp-connections-out-of-cluster",)),
        ("::1", 443, ()),  # the reference reports it: an attribute that is not there is false, and NOT makes it true
        ("fe80::1", 443, ()),
        ("10.96.0.1", 443, ("tcp-connections-to-api-server",)),
        ("10.96.0.1", 80, ()),
    ],
)
def test_the_documented_examples_of_the_reference(daddr: str, dport: int, names: tuple[str, ...]) -> None:
    import yaml

    data = yaml.safe_load(OUT_OF_CLUSTER)
    assert names_of(an_event(daddr, dport), {"rule": "other", "event": "uid == 1"}, **data) == names


@pytest.mark.parametrize(("daddr", "dport"), [("10.1.2.3", 80), ("10.1.2.3", 22), ("10.2.0.1", 80)])
def test_a_longer_prefix_hides_no_shorter_one(daddr: str, dport: int) -> None:
    rule = 'ipv4_dst == "10.0.0.0/8" OR (ipv4_dst == "10.1.0.0/16" AND port_dst == 22)'
    assert names_of(an_event(daddr, dport), {"rule": "it", "when": rule}) == ("it",)


@pytest.mark.parametrize(("daddr", "names"), [("10.1.2.3", ("it",)), ("10.2.0.1", ())])
def test_nested_networks_can_match(daddr: str, names: tuple[str, ...]) -> None:
    rule = {"rule": "it", "when": 'ipv4_dst == "10.0.0.0/8" AND ipv4_dst == "10.1.0.0/16"'}
    assert names_of(an_event(daddr), rule) == names


@pytest.mark.parametrize("length", [31, 32, 33, 255])
def test_long_names_match(length: int) -> None:
    name = "n" * length
    assert names_of(an_event("10.0.0.1", name=name), {"rule": "r" * 64, "scope": f'binary_name == "{name}"'}) == (
        "r" * 64,
    )


def test_scope_and_event_must_both_hold() -> None:
    rule = {"rule": "it", "scope": 'binary_name in ["curl", "wget",]', "event": "port_dst == 0x1bb"}
    assert names_of(an_event("10.0.0.1", 443), rule) == ("it",)
    assert names_of(an_event("10.0.0.1", 80), rule) == ()
    assert names_of(an_event("10.0.0.1", 443, "nc"), rule) == ()


def test_a_rule_without_a_condition_matches_everything() -> None:
    assert names_of(an_event("::1"), {"rule": "it"}) == ("it",)


def test_macros_and_lists_are_trees() -> None:
    keys = {
        "lists": [{"list": "shells", "items": ["bash", "sh", "no"]}, {"list": "ports", "items": [80, "8000-8999"]}],
        "macros": [
            {"macro": "is_shell", "condition": "binary_name in shells OR uid == 0"},
            {"macro": "shell_out", "condition": "NOT NOT is_shell AND port_dst in [ports, 443]"},
        ],
    }
    rule = {"rule": "it", "when": "NOT shell_out"}
    assert names_of(an_event("::1", 8080, "bash"), rule, **keys) == ()
    assert names_of(an_event("::1", 443, "no"), rule, **keys) == ()
    assert names_of(an_event("::1", 81, "bash"), rule, **keys) == ("it",)
    assert names_of(an_event("::1", 80, "curl"), rule, **keys) == ("it",)


def test_a_name_that_is_not_known_whole_is_neither_equal_nor_different() -> None:
    event = an_event("::1")
    event["process"]["truncated"] = "binary_path | args"
    for condition in (
        'binary_path == "/usr/bin/curl"',
        'binary_path != "/usr/bin/curl"',
        'NOT binary_prefix == "/opt"',
    ):
        assert names_of(event, {"rule": "it", "when": condition}) == ()
    assert names_of(event, {"rule": "it", "when": 'binary_name == "curl"'}) == ("it",)


def test_a_domain_is_what_the_process_was_told_and_no_guess() -> None:
    def told(name: str, scope: str) -> dict[str, Any]:
        return {"name": name, "source": "dns", "scope": scope, "age_ms": 1}

    rule = {"rule": "it", "when": 'domain like "**.example.com" AND NOT domain == "b.a.example.com"'}
    for names, expected in (
        ([], False),
        ([told("a.example.com", "process")], True),
        ([told("c.b.a.example.com", "ancestor")], True),
        ([told("b.a.example.com", "process")], False),
        ([told("example.com", "process")], False),
        ([told("a.example.com", "netns")], False),
        ([told("other.example", "cgroup"), told("a.example.com", "process")], True),
    ):
        keys: dict[str, Any] = {"names": names} if names else {}
        event = json.loads(connection_line("Establish", **keys))
        assert bool(names_of(event, rule)) == expected, names
    assert problems_of({"rule": "it", "when": 'domain == "*.example.com"'}) == [
        'has "*.example.com", which has a *; compare it by like (at character 11)'
    ]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_each_attribute_is_compared(name: str) -> None:
    """An attribute whose values no rule can read would otherwise pass unseen."""
    kind = ATTRIBUTES[name].kind
    value = {"address": '"::1"', "duration": "1s", "size": "1K", "number": "7"}.get(kind.form, '"/x"')
    if kind.universe and kind.universe[0][0] == 0 and kind.form == "address":
        value = '"10.0.0.1"'
    if kind.choices:
        value = f'"{kind.choices[0]}"'
    special = {
        "domain": '"a.example"',
        "binary_name": '"x"',
        "parent_binary_name": '"x"',
        "ancestor_binary_name": '"x"',
        "container_id": f'"{"0" * 12}"',
    }
    assert problems_of({"rule": "it", "when": f"{name} == {special.get(name, value)}"}) == []

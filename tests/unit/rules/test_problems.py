"""What is wrong with rules is found when they are read: with its place, and what was meant."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.config import Config
from netmon.config.rule_checks import MAX_TAGS
from netmon.errors import ConfigError
from netmon.rules.resolve import MAX_COMPARISONS, MAX_LEVEL
from netmon.rules.syntax import MAX_DEPTH
from netmon.rules.tokens import MAX_TEXT, MAX_TOKENS
from tests.unit.rules.rule_sets import config_of, places_of, problem_of, problems_of

ON = {"egress": {"enabled": True}}


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        # The grammar.
        ("", "is empty; leave it out, or write a condition"),
        ("port_dst = 22", "has =, which is no operator; did you mean ==?"),
        ("port_dst == 22 && uid == 0", "has &, which is no operator; did you mean AND?"),
        ("port_dst == 22 || uid == 0", "has |, which is no operator; did you mean OR?"),
        ("!(uid == 0)", "has !, which is no operator; did you mean NOT?"),
        ("port_dst == 22 and uid == 0", "has and; write AND in upper case"),
        ("not uid == 0", "has not; write NOT in upper case"),
        ("port_dst IN [22]", "has IN; write in in lower case"),
        ("port_dst NOT in [22]", "has NOT; write not in lower case"),
        ("port_dst not == 22", "has == where `in` or `like` after `not` is expected"),
        ("port_dst ==", "ends too early: a value: text in double quotes, or a number is missing"),
        ("(port_dst == 22", "ends too early: ')' is missing"),
        ("port_dst == 22)", "has ) where AND or OR is expected"),
        ("port_dst in []", "has an empty list, which nothing can match; add a value"),
        ("port_dst in [22 23]", "has 23 where ',' or ']' is expected"),
        ("port_dst in 22", "has 22 where '[' or the name of a list is expected"),
        ("AND", "has AND where an attribute, a macro, NOT or '(' is expected"),
        ('"a" == binary_name', "has \"a\" where an attribute, a macro, NOT or '(' is expected"),
        ('binary_name == "curl', 'has a quote (") that is not closed'),
        ("binary_name == 'curl'", "has single quotes; write text in double quotes"),
        ("binary_name == curl", 'has curl without quotes; write "curl"'),
        ("port_dst == -1", "has a negative number, which no value can be"),
        ("binary_path == /usr/bin/curl", "has / without quotes; put text and addresses in double quotes"),
        ("port_dst == 22 §", "has §, which means nothing here"),
        # Names.
        ("port_dts == 22", "has port_dts, which is no attribute; did you mean port_dst?"),
        ("dport == 22", "has dport, which is no attribute; did you mean port_dst?"),
        ('daddr == "::1"', "has daddr, which is no attribute; did you mean ipv4_dst?"),
        ('filename == "curl"', "has filename, which is no attribute; did you mean binary_name?"),
        ("xyzzy == 22", "has xyzzy, which is no attribute; docs/rules.md lists the attributes"),
        ("port_dst", "names port_dst without a comparison; write it like port_dst == ..."),
        ("ports", "names the list ports alone; write: ATTRIBUTE in ports"),
        ("is_shel", "names is_shel, which is no macro; did you mean is_shell?"),
        ("port_dst in prots", "names prots, which is no list; did you mean ports?"),
        # Types.
        ("port_dst == 65536", "has 65536, which is out of range; it must be a port, from 0 to 65535"),
        ("port_dst == 99999999999999999999999", "has 99999999999999999999999, which is too large; it must be a port"),
        ('port_dst == "22"', 'has "22", but must be a port, from 0 to 65535; without quotes'),
        ("port_dst == 22x", "has 22x, which is no number; it must be a port"),
        ("port_dst in [9000-8000]", "has the range 9000-8000, which ends before it begins"),
        ("port_dst < 1-9", "compares with a range by <; write == and the range"),
        ("binary_name == 7", 'has 7 without quotes, but must be a file name in double quotes; did you mean "7"?'),
        ('binary_name < "a"', "compares binary_name by <, which is for numbers alone"),
        ('port_dst like "2*"', "compares port_dst by `like`, which is for text alone; use == or in"),
        ('binary_name == "/bin/sh"', 'has "/bin/sh", which is a path, not a file name; put it in path or prefix'),
        ('binary_name == ""', 'has an empty text (""), which no value is'),
        ('ipv4_dst == "10.0.0.1/8"', 'has "10.0.0.1/8", which has host bits set; did you mean "10.0.0.0/8"?'),
        ('ipv4_dst == "::1"', 'has "::1", which is IPv6; it must be an IPv4 address or CIDR in double quotes'),
        ('ipv6_dst == "10.0.0.0/8"', 'has "10.0.0.0/8", which is IPv4; it must be an IPv6 address or CIDR'),
        ('ip_dst == "::ffff:10.0.0.1"', 'has "::ffff:10.0.0.1", which is IPv4 in IPv6; did you mean "10.0.0.1"?'),
        ('ip_dst == "example.com"', 'has "example.com", but must be an address or a CIDR in double quotes'),
        ("ip_dst == 10.0.0.1", "has 10.0.0.1 without quotes; put addresses in double quotes"),
        ("duration > 30", "has 30, which has no unit; it must be a duration, like 500ms, 10s or 5m"),
        ("bytes > 1X", "has 1X, which is no number; it must be a size, like 65536, 64K or 4M"),
        ('direction == "out"', 'has "out", which it never is; it must be one of egress, ingress'),
        ('event_type == "closed"', 'has "closed", which it never is; did you mean close?'),
        ('capabilities == "CAP_NET_ADMI"', 'has "CAP_NET_ADMI", which it never is; did you mean CAP_NET_ADMIN?'),
        ('container_id == "web"', 'has "web", which is not a container id'),
        # Sets.
        ('ipv4_dst == "10.0.0.0/8" AND ipv4_dst == "11.0.0.0/8"', "can never match: no value of ip_dst is left"),
        ('ipv4_dst == "10.0.0.0/8" AND ipv6_dst == "2000::/3"', "can never match: no value of ip_dst is left"),
        ("port_dst < 1024 AND port_dst in [8000-8999]", "can never match: no value of port_dst is left"),
        ("port_dst < 0", "can never match: no value of port_dst is left"),
        ('binary_name == "a" AND NOT binary_name in ["a", "b"]', "can never match: no value of binary_name is left"),
        ('binary_prefix == "/usr" AND binary_path == "/opt/a"', "can never match: no value of binary_path is left"),
        ('binary_prefix == "/usr" AND binary_prefix == "/opt"', "can never match: no value of binary_path is left"),
        ('NOT (direction == "egress" OR direction == "ingress")', "can never match: no value of direction is left"),
        ('event_type == "establish" AND bytes > 5', "can never match: no value of event_type is left"),
        ('direction == "ingress" AND reason == "refused"', "can never match: no value of event_type is left"),
        ("port_dst <= 22 OR port_dst > 22", "always matches; leave the condition out if that is meant"),
        ('ip_dst in ["0.0.0.0/0", "::/0"]', "always matches"),
    ],
)
def test_what_is_wrong_with_a_condition(condition: str, problem: str) -> None:
    keys = {
        "lists": [{"list": "ports", "items": [22]}],
        "macros": [{"macro": "is_shell", "condition": 'binary_name == "sh"'}],
    }
    assert problem_of(condition, **keys).startswith(problem)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"lists": [{"list": "a", "items": [1]}, {"list": "a", "items": [2]}]}, "a is the name of a list already"),
        ({"lists": [{"list": "uid", "items": [1]}]}, "uid is an attribute; choose another name"),
        ({"lists": [{"list": "a b", "items": [1]}]}, "'a b' is no name of a list or a macro"),
        ({"lists": [{"list": "NOT", "items": [1]}]}, "'NOT' is a word of the language"),
        ({"lists": [{"list": "a"}]}, "has no items; add it"),
        ({"lists": [{"list": "a", "items": []}]}, "is an empty list, which nothing can match"),
        ({"macros": [{"macro": "m", "condition": "port_dst"}]}, "names port_dst without a comparison"),
        ({"macros": [{"macro": "m", "condition": "m"}]}, "names macros in a circle: m -> m; take one of them out"),
        (
            {"lists": [{"list": "a", "items": [1]}], "macros": [{"macro": "a", "condition": "uid == 1"}]},
            "a is the name",
        ),
        ({"unmatched": "keep"}, "'keep' must be drop or report"),
        ({"rules": []}, "is an empty list"),
        ({"rules": {"rule": "a"}}, "must be a list, even for a single value"),
        ({"rules": [{"when": "uid == 1"}]}, "has no rule; add it"),
        ({"rules": [{"rule": "a"}, {"rule": "a"}]}, "a is the name of a rule already; keep one"),
        ({"rules": [{"rule": "a", "wen": "uid == 1"}]}, "unknown key; did you mean when?"),
        ({"rules": [{"rule": "a\nb"}]}, "has a character that cannot be printed"),
        ({"rules": [{"rule": "a", "severity": "warning"}]}, "'warning' must be info, low, medium, high or critical"),
        ({"rules": [{"rule": "a", "action": "kill"}]}, "'kill' must be report, count or drop"),
        ({"rules": [{"rule": "a", "tags": ["t"] * (MAX_TAGS + 1)}]}, "has 17 tags; a rule has at most 16"),
        ({"rules": [{"rule": "a", "message": "{process.filname}"}]}, "has {process.filname}, which is no key of an"),
        ({"rules": [{"rule": "a", "message": "{"}]}, "'{' has a single {; write {{ for the character itself"),
        ({"rules": [{"rule": "a", "tests": [{}]}]}, "is empty; give at least one of matches, misses"),
        ({"rules": [{"rule": "a", "tests": [{"matches": {"prot": 1}}]}]}, "has prot, which is no attribute"),
        ({"rules": [{"rule": "a", "tests": [{"matches": {"port_dst": "x"}}]}]}, 'has "x", but must be a port'),
        ({"rules": [{"rule": "a", "when": True}]}, "true must be a condition, like port_dst == 22"),
        ({"rules": [{"rule": "a", "when": 7}]}, "7 must be a condition, like port_dst == 22"),
        ({"rules": [{"rule": "a", "when": None}]}, "is empty; give it a value or leave it out"),
        ({"rules": [{"rule": "a", "when": ["uid == 1"]}]}, "must be a condition; put it in '...'"),
        (
            {
                "rules": [
                    {"rule": "a", "when": "port_dst == 53", "action": "drop"},
                    {"rule": "b", "when": "port_dst == 53 AND uid == 1"},
                ]
            },
            "is hidden by the rule a above, which drops all that it matches",
        ),
        (
            {"rules": [{"rule": "a", "action": "drop"}, {"rule": "b", "when": "uid == 1"}]},
            "is hidden by the rule a above",
        ),
        (
            {
                "lists": [{"list": "l", "items": ["10.0.0.0/33"]}],
                "rules": [{"rule": "a", "when": "ip_dst in l"}],
            },
            'uses the list l, which has "10.0.0.0/33", but must be an address',
        ),
        (
            {"lists": [{"list": "l", "items": ["010"]}], "rules": [{"rule": "a", "when": "port_dst in l"}]},
            "uses the list l, which has 010, which YAML 1.1 reads as octal",
        ),
    ],
)
def test_what_is_wrong_with_sections(keys: dict[str, Any], problem: str) -> None:
    assert any(problem in text for text in problems_of(**{"rules": [{"rule": "it"}], **keys}))


def test_rules_that_hide_nothing() -> None:
    noise = {"rule": "noise", "when": "port_dst == 53", "action": "drop"}
    assert problems_of(noise, {"rule": "b", "when": "port_dst in [53, 54]"}) == []
    assert problems_of({**noise, "action": "count"}, {"rule": "b", "when": "port_dst == 53"}) == []
    assert problems_of({"rule": "b", "when": "port_dst == 53"}, noise) == []


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("duration > 1s", "compares duration, which needs report.statistics: true; set it"),
        ('reason == "refused"', "compares reason, which needs report.outcome: true; set it"),
        ("netns == 1", "compares netns, which needs report.context: true; set it"),
        ('parent_binary_name == "sshd"', "compares parent_binary_name, which needs report.parent: true; set it"),
    ],
)
def test_what_no_event_has_is_not_compared(condition: str, problem: str) -> None:
    assert problem_of(condition, report={}) == problem


def test_the_bytes_of_aggregates_need_no_option() -> None:
    assert problems_of({"rule": "a", "when": "bytes > 1M"}, report={}, run={"aggregate": "10s"}) == []


def test_problems_have_the_place_in_the_file() -> None:
    assert places_of(
        """\
egress: {enabled: true}
macros:
- macro: loop
  condition: uid == 1 AND loop
rules:
- rule: folded
  when: >
    port_dst == 22 AND

      prot_src == 23
- rule: quoted
  when: "binary_name == \\"curl\\" AND port_dst == 99999"
- {rule: single, when: 'binary_name == "it''s" AND uid == x'}
- rule: plain
  event:   port_dst == 22 AND uid =
    0
- rule: block
  scope: |-
    uid == 0
    OR gid == "0"
"""
    ) == [
        "rules.yaml:4:27: macros[0].condition: names macros in a circle: loop -> loop; take one of them out",
        "rules.yaml:10:7: rules[0].when: has prot_src, which is no attribute; did you mean port_src?",
        "rules.yaml:12:50: rules[1].when: has 99999, which is out of range; it must be a port, from 0 to 65535",
        'rules.yaml:13:59: rules[2].when: has x without quotes; write "x"',
        "rules.yaml:15:35: rules[3].event: has =, which is no operator; did you mean ==?",
        'rules.yaml:20:15: rules[4].scope: has "0", but must be a number from 0 to 4294967295; without quotes',
    ]


def test_without_a_file_the_place_is_in_the_text() -> None:
    assert problem_of("uid == 0 AND prot == 1") == (
        "has prot, which is no attribute; docs/rules.md lists the attributes (at character 14)"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('rules: [{rule: a, when: "binary_name" == "curl"}]', "a condition that begins with a quote"),
        ('rules:\n- rule: a\n  when: "curl" == binary_name AND uid == 1', "a condition that begins with a quote"),
        ("rules:\n- rule: a\n  when: *shells", "undefined alias"),
        ("rules:\n- rule: a\n  when: !shell", "has the tag '!shell', which is not supported"),
        ("rules:\n- rule: a\n  when: uid == 0\n  when: uid == 1", "is repeated, first on line 4"),
    ],
)
def test_the_traps_of_yaml(text: str, problem: str) -> None:
    assert problem in "\n".join(places_of(f"egress: {{enabled: true}}\n{text}"))


def test_words_that_other_yaml_reads_as_bools_are_text() -> None:
    text = (
        "egress: {enabled: true}\nlists: [{list: l, items: [no, on, y]}]\nrules: [{rule: off, when: binary_name in l}]"
    )
    assert places_of(text) == []


def test_models_find_the_same() -> None:
    with pytest.raises(ValueError, match="has prot, which is no attribute"):
        Config(**ON, rules=[{"rule": "a", "when": "prot == 1"}])  # type: ignore[arg-type,list-item]
    rules = [
        {
            "rule": "a",
            "when": "uid == 1",
            "severity": "high",
            "tags": ["t"],
            "message": "{process.pid}",
            "tests": [{"matches": {"uid": 1}}, {"misses": {"uid": 2}}],
        }
    ]
    keys = {"lists": [{"list": "l", "items": [1, "x"]}], "macros": [{"macro": "m", "condition": "uid == 1"}]}
    config = Config.from_dict({**ON, "rules": rules, **keys, "unmatched": "report"})
    assert Config.from_dict(config.to_dict()) == config == Config(**config.to_dict())


# Bounds.


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("(" * (MAX_DEPTH + 1), f"is nested more than {MAX_DEPTH} deep"),
        ("NOT " * (MAX_DEPTH + 1) + "uid == 1", f"is nested more than {MAX_DEPTH} deep"),
        ("(" * 60_000, f"has more than {MAX_TOKENS:,} words"),
        ("uid == 1 " * 10_000, f"has {90_000:,} characters; the most are {MAX_TEXT:,}"),
        (" OR ".join(["uid == 1"] * 4000), f"has more than {MAX_TOKENS:,} words"),
    ],
)
def test_a_condition_is_bounded(condition: str, problem: str) -> None:
    assert problem_of(condition).startswith(problem)


def test_macros_cannot_multiply() -> None:
    macros = [{"macro": "m0", "condition": "uid == 1 OR uid == 2"}]
    macros += [{"macro": f"m{n}", "condition": " OR ".join([f"m{n - 1}"] * 10)} for n in range(1, 20)]
    problems = problems_of({"rule": "a", "when": "m19"}, macros=macros)
    assert any(f"makes more than {MAX_COMPARISONS:,} comparisons" in problem for problem in problems)


def test_macros_cannot_be_nested_without_end() -> None:
    macros = [{"macro": "m0", "condition": "uid == 1"}]
    macros += [{"macro": f"m{n}", "condition": f"NOT m{n - 1}"} for n in range(1, 900)]
    problems = problems_of({"rule": "a", "when": "m899"}, macros=[*reversed(macros)])
    assert any(f"is nested more than {MAX_LEVEL} deep, macros filled in" in problem for problem in problems)


def test_many_alternatives_take_little_time() -> None:
    """A condition of 2**30 alternatives is accepted, and nothing is said of it."""
    condition = " AND ".join(f"(uid != {n} OR gid != {n})" for n in range(30))
    begin = time.process_time()
    assert problems_of({"rule": "a", "when": condition}) == []
    assert time.process_time() - begin < 5


WORDS = st.sampled_from(
    [
        *("AND OR NOT in not like ( ) [ ] , == != < >= = uid port_dst m l ip_dst binary_name bytes".split()),
        *('"10.0.0.0/8" "x" " 22 0x16 1-9 10s 1K é'.split()),
        "\t",
    ]
)
TEXTS = st.lists(WORDS, max_size=30).map(" ".join) | st.text(max_size=50)


@given(TEXTS, TEXTS, st.lists(st.text(max_size=5) | st.integers() | st.booleans() | st.none(), max_size=3))
def test_any_text_is_a_configuration_or_an_error(condition: str, macro: str, items: list[Any]) -> None:
    keys = {"lists": [{"list": "l", "items": items}], "macros": [{"macro": "m", "condition": macro}]}
    with suppress(ConfigError):
        config_of({"rule": "a", "when": condition}, **keys)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["rule", "when", "list", "items", "macro", "condition", "tests", "matches", "tags", "message"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("lists", "macros", "rules", "unmatched"), JSON)))
def test_any_data_is_a_configuration_or_an_error(data: dict[str, Any]) -> None:
    with suppress(ConfigError):
        Config.from_dict({**ON, **data})

"""The list of a configuration's problems: its order, its lines, its length."""

from __future__ import annotations

import pickle

import pytest

from netmon.config.problems import MAX_LISTED
from netmon.errors import ConfigError, Problem
from tests.unit.config.documents import (
    BROKEN,
    EMPTY_LIST,
    NEEDS_EGRESS,
    NOT_A_NUMBER,
    NOT_ABSOLUTE,
    NOTHING_ENABLED,
    OUT_OF_RANGE,
    load,
    problems_in,
    problems_of,
)


def test_all_problems_are_listed_with_their_lines() -> None:
    assert problems_of(BROKEN) == [
        "netmon.yaml:2: ingress.enabled: 'yes' must be true or false, without quotes",
        "netmon.yaml:3: ingress.ipv4_filter: is empty; give at least one of src_ip, dst_ip, or leave it out",
        "netmon.yaml:9: egress.ipv4_filter.dst_ip[1]: '::1' is IPv6, in an IPv4 list; move it to ipv6_filter",
        "netmon.yaml:10: egress.ipv4_filter.dst_ip[2]: '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?",
        "netmon.yaml:12: egress.ipv6_filter.src_ip[0]: '::ffff:1.2.3.4' is IPv4-mapped, so the IPv4 filter "
        "applies; put 1.2.3.4/32 in ipv4_filter",
        f"netmon.yaml:13: egress.ipv6_filter.dst_ip: {EMPTY_LIST}",
        "netmon.yaml:15: process_filter.binray: unknown key; did you mean binary?",
        f"netmon.yaml:18: process_filter.binary.path[0]: 'x' {NOT_ABSOLUTE}",
        "netmon.yaml:20: process_filter.uid: is repeated, first on line 19; keep one",
        f"netmon.yaml:20: process_filter.uid[0]: -1 {OUT_OF_RANGE}",
    ]


def test_nothing_enabled_is_listed_with_the_other_problems() -> None:
    assert problems_of("egress:\n  enabled: false\nprocess_filter:\n  pid: [x]\n") == [
        f"netmon.yaml:4: process_filter.pid[0]: 'x' {NOT_A_NUMBER}",
        f"netmon.yaml: {NOTHING_ENABLED}",
    ]


def test_outcome_without_egress_is_listed_with_the_other_problems() -> None:
    assert problems_of("ingress:\n  enabled: true\nreport:\n  outcome: true\n  parent: 1\n") == [
        f"netmon.yaml:4: report.outcome: {NEEDS_EGRESS}",
        "netmon.yaml:5: report.parent: 1 must be true or false, without quotes",
    ]
    assert problems_in({"egress": {"enabled": "yes"}, "report": {"outcome": True}}) == [
        "test: egress.enabled: 'yes' must be true or false, without quotes"
    ]


MANY = 20_000


@pytest.mark.parametrize(
    ("key", "item", "first"),
    [
        ("dst_ip:", "- 10.0.{}.{}/8", ".dst_ip[0]: '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?"),
        ("dst_ip:", "- !x {}.{}", ".dst_ip[0]: has the tag '!x', which is not supported; remove the tag"),
        ("dst_ip:", "- [{}, {}]", ".dst_ip[0]: is not an IPv4 address or CIDR; write it like 10.0.0.0/8 or 10.1.2.3"),
        ("# no key", "k{}_{}: 1", ".k0_1: unknown key; the keys here are deny_list, match, src_ip, dst_ip"),
        ("# no key", "? [{}, {}]\n      : 1", ": has a list or a mapping as a key; write the key as text"),
    ],
)
def test_the_first_of_many_problems_in_one_place_are_listed(key: str, item: str, first: str) -> None:
    lines = "".join(f"      {item.format(i >> 8, i & 255)}\n" for i in range(1, MANY + 1))
    text = f"egress:\n  enabled: true\n  ipv4_filter:\n      {key}\n{lines}      src_ip: [x]\n"
    problems = problems_of(text)
    assert len(problems) == MAX_LISTED + 2
    each = len(item.splitlines())
    assert problems[0] == f"netmon.yaml:5: egress.ipv4_filter{first}"
    assert problems[-2].startswith(f"netmon.yaml:{5 + MAX_LISTED * each}: egress.ipv4_filter")
    assert problems[-2].endswith(": 19,900 more problems are not listed; this is the first of them")
    assert problems[-1].startswith(f"netmon.yaml:{5 + MANY * each}: egress.ipv4_filter.src_ip[0]")


def test_the_first_of_problems_in_very_many_places_are_listed() -> None:
    lines = "".join("      - [!x 1]\n" for _ in range(MANY))
    problems = problems_of(f"egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n{lines}")
    assert len(problems) < 2000
    assert (
        problems[0]
        == "netmon.yaml:5: egress.ipv4_filter.dst_ip[0][0]: has the tag '!x', which is not supported; remove the tag"
    )
    assert problems[-1].endswith("more problems are not listed; this is the first of them")


def test_a_config_error_survives_pickling() -> None:
    problems = [Problem("a.yaml", 7, ("egress", 0), "'x'", "is wrong"), Problem("a.yaml", None, (), None, "is empty")]
    assert pickle.loads(pickle.dumps(ConfigError(problems))).problems == problems


def test_a_problem_has_its_parts_as_data() -> None:
    with pytest.raises(ConfigError) as caught:
        load("egress:\n  enabled: true\nprocess_filter:\n  uid: [0, root]\n")
    assert caught.value.problems == [
        Problem(
            "netmon.yaml",
            4,
            ("process_filter", "uid", 1),
            "'root'",
            "must be a whole number: decimal, without quotes; `id -u NAME` prints that of a user",
        )
    ]


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("a.yaml", 3, ("egress", "x y", 2), "'v'", "is wrong"), "a.yaml:3: egress['x y'][2]: 'v' is wrong"),
        (Problem("a.yaml", None, (), None, "is empty"), "a.yaml: is empty"),
        (Problem("a.yaml", 3, (), None, "is not YAML", 7), "a.yaml:3:7: is not YAML"),
    ],
)
def test_how_a_problem_is_rendered(problem: Problem, line: str) -> None:
    assert str(problem) == line

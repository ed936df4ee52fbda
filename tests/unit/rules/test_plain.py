"""Rules on their way to netmon: what is packed is unpacked, and nothing that is damaged is believed."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.rules.judge import Judge
from netmon.rules.load import compile_rules
from netmon.rules.plain import SIZE, pack_rules, unpack_rules
from tests.unit.rules.rule_sets import config_of

RULES = pack_rules(
    compile_rules(
        config_of(
            {
                "rule": "a",
                "when": 'NOT ip_dst in ["10.0.0.0/8", "2001:db8::/32"] AND (port_dst < 9 OR binary_prefix == "/a")',
            },
            {"rule": "b", "when": 'binary_path like "/x/*"', "action": "count", "severity": "high", "tags": ["t"]},
            {"rule": "c", "message": "{process.pid}"},
            unmatched="report",
        )
    )
)


def test_it_has_what_the_rules_say() -> None:
    rules = unpack_rules(RULES)
    assert [rule.name for rule in rules.rules] == ["a", "b", "c"]
    assert [rule.action for rule in rules.rules] == ["report", "count", "report"]
    assert [rule.severity for rule in rules.rules] == [0, 3, 0]
    assert rules.rules[1].tags == ("t",)
    assert rules.rules[2].message == "{process.pid}"
    assert rules.reports_unmatched


def test_without_rules_there_are_no_bytes() -> None:
    assert pack_rules(compile_rules(config_of({"rule": "a"}))._replace(rules=())) == b""
    assert unpack_rules(b"").rules == ()


@given(st.integers(0, len(RULES) - 1), st.binary(min_size=1, max_size=4), st.integers(0, 4))
def test_damaged_rules_are_refused_or_are_rules(at: int, data: bytes, removed: int) -> None:
    with suppress(ValueError):
        Judge(unpack_rules(RULES[:at] + data + RULES[at + removed :]))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=7)
    )
)
def test_any_json_is_refused_or_rules(found: object) -> None:
    import json

    text = json.dumps([True, [found]]).encode()
    with suppress(ValueError):
        Judge(unpack_rules(SIZE.pack(len(text), 0) + text))


@pytest.mark.parametrize("data", [b"x", SIZE.pack(1 << 40, 0), SIZE.pack(0, 1 << 40), SIZE.pack(2, 0) + b"[]"])
def test_what_is_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|no JSON|items"):
        unpack_rules(data)


def test_json_that_is_nested_without_end_is_refused() -> None:
    text = b"[" * 100_000
    with pytest.raises(ValueError, match="rules are no JSON"):
        unpack_rules(SIZE.pack(len(text), 0) + text)


def test_a_list_of_many_networks_is_packed_once_and_small() -> None:
    networks = [f"{a}.{b}.{c}.0/24" for a in range(20, 22) for b in range(256) for c in range(0, 256, 2)]
    rules = [{"rule": f"r{n}", "when": f"ip_dst in many AND port_dst == {n}"} for n in range(50)]
    begin = time.process_time()
    packed = pack_rules(compile_rules(config_of(*rules, lists=[{"list": "many", "items": networks}])))
    assert time.process_time() - begin < 20
    assert len(packed) < 16 * len(networks) + 50_000
    (one, *_) = rules_of = unpack_rules(packed).rules
    assert len({id(rule.condition.parts[0].test) for rule in rules_of if rule.condition}) == 1  # type: ignore[union-attr]
    assert one.name == "r0"

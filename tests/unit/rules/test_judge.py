"""Verdicts in the order of events: a close follows its opening, a rule that drops ends the list."""

from __future__ import annotations

from typing import Any

import pytest

from netmon.rules import judge as judge_module
from netmon.rules.attributes import Facts
from netmon.rules.judge import MAX_NAMES, Judge, Outcome
from netmon.rules.plain import StoredRules
from tests.unit.rules.rule_sets import judge_of
from tests.unit.rules.test_language import an_event

PEER = b"\x0a\0\0\1"


def judged(
    judge: Judge, kind: str, cookie: int | None = 7, *, name: str = "curl", dport: int = 443, **details: Any
) -> Outcome:
    """Judge one event."""
    facts = Facts(kind, details.get("direction"), PEER, PEER, 40000, dport, details)
    return judge.judge(judge.process_values(an_event("::1", name=name)["process"], None), facts, cookie)


CURL = {"rule": "curl", "when": 'binary_name == "curl"', "severity": "low"}
LARGE = {"rule": "large", "when": "bytes > 1000", "severity": "high"}
COUNTS: dict[str, Any] = {"bytes_sent": 600, "bytes_received": 600}


def test_a_close_has_the_rules_of_its_opening_and_those_that_only_it_can_tell() -> None:
    judge = judge_of(CURL, LARGE)
    assert judged(judge, "establish").names == ("curl",)
    ended = judged(judge, "close", name="another", **COUNTS)
    assert (ended.names, ended.severity) == (("curl", "large"), "high")
    assert judge.counts == {"curl": 1, "large": 1}


def test_a_process_that_closes_what_another_has_opened_matches_nothing_new() -> None:
    judge = judge_of(CURL)
    assert judged(judge, "accept", name="nginx").names == ()
    assert judged(judge, "close", name="curl").names == ()


def test_a_close_whose_opening_was_not_seen_is_judged_by_itself() -> None:
    judge = judge_of(CURL, LARGE)
    assert judged(judge, "close", **COUNTS).names == ("curl", "large")
    assert judged(judge, "close", name="nc").names == ()


def test_a_progress_leaves_the_connection_open() -> None:
    judge = judge_of(CURL, {"rule": "slow", "when": 'event_type == "progress"'})
    judged(judge, "establish")
    assert judged(judge, "progress", name="another").names == ("curl", "slow")
    assert judged(judge, "progress", name="another").names == ("curl", "slow")
    assert judged(judge, "close", name="another").names == ("curl", "slow")
    assert judge.counts == {"curl": 1, "slow": 1}
    assert judged(judge, "close", name="another").names == ()


def test_a_name_that_is_announced_later_is_compared() -> None:
    judge = judge_of({"rule": "named", "when": 'domain == "a.example"'})
    names = [{"name": "a.example", "source": "sni", "scope": "connection"}]
    assert judged(judge, "establish").names == ()
    assert judged(judge, "name", names=names).names == ("named",)
    assert judged(judge, "close", names=names).names == ("named",)
    assert judge.counts == {"named": 1}


def test_a_failure_ends_a_connection() -> None:
    judge = judge_of({"rule": "refused", "when": 'reason == "refused" AND direction == "egress"'})
    assert judged(judge, "fail", reason="refused").names == ("refused",)
    assert judged(judge, "fail", reason="timeout").names == ()


def test_the_direction_of_a_close_is_that_of_its_opening() -> None:
    judge = judge_of({"rule": "in", "when": 'direction == "ingress" AND bytes > 1'})
    judged(judge, "accept", 1)
    judged(judge, "establish", 2)
    judged(judge, "existing", 3, direction="ingress")
    assert [judged(judge, "close", cookie, **COUNTS).names for cookie in (1, 2, 3, 4)] == [("in",), (), ("in",), ()]


def test_of_one_direction_alone_every_event_is() -> None:
    judge = judge_of({"rule": "in", "when": 'direction == "ingress"'})
    alone = Judge(StoredRules(judge._rules, reports_unmatched=False), ("ingress",))
    assert judged(alone, "close").names == ("in",)


def test_rules_of_a_direction_are_for_its_connections() -> None:
    rules = [{"rule": "web", "event": "port_dst == 443"}]
    judge = judge_of(CURL, egress={"enabled": True, "rules": rules})
    assert judged(judge, "establish", 1).names == ("curl", "web")
    assert judged(judge, "accept", 2).names == ("curl",)


def test_a_rule_that_drops_ends_the_list() -> None:
    judge = judge_of(
        CURL, {"rule": "noise", "when": "port_dst == 53", "action": "drop"}, {"rule": "all", "when": "gid == 1000"}
    )
    assert judged(judge, "establish", 1, dport=53) == Outcome(
        True, ("curl",), "low", (), (), ',"rules":["curl"],"severity":"low"'
    )
    assert judged(judge, "establish", 2, name="nc", dport=53) == Outcome(reported=False)
    assert judged(judge, "close", 2, name="nc", dport=53) == Outcome(reported=False)
    assert judged(judge, "establish", 3, name="nc", dport=54).names == ("all",)
    assert (judge.dropped, judge.counts) == (2, {"curl": 1, "noise": 2, "all": 3})


@pytest.mark.parametrize(("unmatched", "reported"), [("drop", False), ("report", True)])
def test_what_no_rule_matches(unmatched: str, reported: bool) -> None:
    judge = judge_of(CURL, {"rule": "counted", "when": "port_dst == 1", "action": "count"}, unmatched=unmatched)
    assert judged(judge, "establish", name="nc") == Outcome(reported)
    assert judged(judge, "establish", name="nc", dport=1).reported is reported
    assert judged(judge, "establish", dport=1).names == ("curl", "counted")
    assert judge.counts == {"curl": 1, "counted": 2}


def test_the_most_severe_message_is_shown_and_all_tags() -> None:
    judge = judge_of(
        {"rule": "a", "when": "port_dst == 443", "message": "a", "tags": ["x", "y"]},
        {"rule": "b", "when": "port_dst == 443", "message": "b", "tags": ["y", "z"], "severity": "critical"},
    )
    outcome = judged(judge, "establish")
    assert (outcome.template, outcome.tags, outcome.severity) == (("b",), ("x", "y", "z"), "critical")


def test_an_event_names_a_bounded_number_of_rules() -> None:
    judge = judge_of(*({"rule": f"rule {n}"} for n in range(200)))
    outcome = judged(judge, "establish")
    assert outcome.names == tuple(f"rule {n}" for n in range(MAX_NAMES))
    assert sum(judge.counts.values()) == 200


def test_memory_is_bounded_and_what_is_forgotten_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "CONNECTIONS_KEPT", 3)
    judge = judge_of(CURL)
    for cookie in range(1, 6):
        judged(judge, "establish", cookie)
    assert judge.forgotten == 2
    assert [judged(judge, "close", cookie, name="x").names for cookie in range(1, 6)] == [(), (), *[("curl",)] * 3]
    assert judge._opened == {}


def test_a_reload_keeps_what_rules_of_the_same_name_have_matched() -> None:
    before = judge_of({"rule": "gone", "when": "uid == 1000"}, CURL)
    judged(before, "establish", 1)
    judged(before, "accept", 2, name="nc")
    after = judge_of(LARGE, {**CURL, "when": 'binary_name == "wget"'})
    after.inherit(before)
    assert judged(after, "close", 1, **COUNTS).names == ("large", "curl")
    assert judged(after, "close", 2, name="wget").names == ()
    assert after.counts == {"large": 1, "curl": 0}

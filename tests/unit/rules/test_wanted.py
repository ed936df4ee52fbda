"""What rules want, as the kernel half knows it: by a model, and in this kernel, against the evaluator of tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netmon.filters.compile import compile_filters
from netmon.layout import Direction
from netmon.rules.events import JsonRules
from netmon.rules.load import compile_rules
from netmon.rules.wanted import MAX_ALTERNATIVES, what_is_wanted
from tests.support.rule_evaluator import Condition, Json, evaluate, text_of
from tests.support.rule_match import IDS, KernelRules, ModelledRules, Opening, kernel_rules
from tests.support.rule_strategies import (
    ADDRESSES,
    ADDRESSES6,
    KNOWN_CONDITIONS,
    LARGE,
    NUMBERS,
    PATHS,
    RULES,
)
from tests.unit.rules.rule_sets import config_of, problems_of

DELETED = b" (deleted)"


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelRules]:
    with kernel_rules() as rules:
        yield rules


def event_of(opening: Opening, kind: str, **keys: Any) -> Json:
    """Return an event of a connection, as user space makes it."""
    path = opening.path.decode(errors="backslashreplace")
    return {
        "type": "NetworkEvent",
        "timestamp": "2025-11-23T00:00:00.000Z",
        "process": {
            **dict(zip(IDS, opening.ids, strict=True)),
            **dict.fromkeys(("pid", "ppid", "tid"), 1),
            **dict.fromkeys(("cap_inheritable", "cap_permitted", "cap_effective", "secureexec", "args"), ""),
            "start_time": "2025-11-23T00:00:00.000Z",
            "filename": path.rpartition("/")[2],
            "binary_path": path,
            **({} if opening.is_complete else {"truncated": "binary_path"}),
        },
        "network_event": {
            "type": f"TcpConnection{kind.title()}",
            "saddr": opening.saddr,
            "daddr": opening.daddr,
            "sport": opening.sport,
            "dport": opening.dport,
            "netns": opening.netns,
            "cookie": 1,
            **keys,
        },
    }


@st.composite
def openings(draw: st.DrawFn) -> Opening:
    pool = draw(st.sampled_from([ADDRESSES, ADDRESSES6]))
    paths = [*(path.encode() for path in PATHS), b"/tmp/x (deleted)", b"/opt/\xff/curl", b"/opt/" + b"d" * 600, b""]
    uid, euid, gid, egid, auid = (draw(st.sampled_from(NUMBERS)) for _ in range(5))
    return Opening(
        draw(st.sampled_from(Direction)),
        saddr=draw(st.sampled_from(pool)),
        daddr=draw(st.sampled_from(pool)),
        sport=draw(st.sampled_from(NUMBERS)),
        dport=draw(st.sampled_from(NUMBERS)),
        netns=draw(st.sampled_from(NUMBERS)),
        ids=(uid, euid, gid, egid, auid),
        path=draw(st.sampled_from(paths)),
        is_complete=draw(st.integers(0, 9)) > 0,
    )


@st.composite
def lives(draw: st.DrawFn) -> tuple[Opening, list[Json]]:
    """Return an opening, and the events of its connection. The close may be another process's."""
    opening = draw(openings())
    direction = opening.direction.name.lower()
    first = draw(
        st.sampled_from(["establish", "fail", "existing"] if direction == "egress" else ["accept", "existing"])
    )
    details = {"direction": direction} if first == "existing" else {"reason": "refused"} if first == "fail" else {}
    events = [event_of(opening, first, **details)]
    if first != "fail":
        sizes = {name: draw(st.sampled_from(LARGE)) for name in ("bytes_sent", "bytes_received", "duration_us")}
        closer = opening._replace(ids=draw(openings()).ids, path=draw(openings()).path)
        events.append(event_of(closer, "close", **sizes))
    return opening, events


# A reload waits for all programs of the kernel, each time.
many = settings(max_examples=50, suppress_health_check=list(HealthCheck), deadline=None)


@many
@given(rules=RULES, lives=st.lists(lives(), min_size=1, max_size=8), unmatched=st.sampled_from(["drop", "report"]))
def test_no_event_that_is_reported_is_left_out(
    kernel: KernelRules, rules: list[Any], lives: list[tuple[Opening, list[Json]]], unmatched: str
) -> None:
    """Nor one that a rule counts. The kernel half does what the model does."""
    texts = [{"rule": f"r{i}", "when": text_of(when), "action": action} for i, (when, action) in enumerate(rules)]
    if any("drop" not in problem and "match" not in problem for problem in problems_of(*texts)):
        raise AssertionError(problems_of(*texts))
    if problems_of(*texts):  # a rule that can never match is refused, and has nothing to tell here
        return
    config = config_of(*texts, unmatched=unmatched)
    filters = compile_filters(config)
    model = ModelledRules(filters)
    kernel.reload(filters)
    for opening, events in lives:
        wanted = kernel.wants(opening)
        assert model.wants(opening) == wanted
        judging = JsonRules(config)
        for event in copy.deepcopy(events):
            outcome = judging.outcome(event)
            assert wanted or not (outcome.reported or outcome.names)


@many
@given(conditions=st.lists(KNOWN_CONDITIONS, min_size=1, max_size=6), lives=st.lists(lives(), min_size=1, max_size=8))
def test_what_compares_only_what_the_kernel_knows_is_exact(
    kernel: KernelRules, conditions: list[Condition], lives: list[tuple[Opening, list[Json]]]
) -> None:
    """The kernel half alone says what the evaluator says, unless alternatives were joined."""
    texts = [{"rule": f"r{i}", "when": text_of(when)} for i, when in enumerate(conditions)]
    if problems_of(*texts):
        return
    config = config_of(*texts)
    if what_is_wanted(compile_rules(config)).is_joined:
        return
    kernel.reload(compile_filters(config))
    for opening, events in lives:
        direction = opening.direction.name.lower()
        path = opening.path
        if not path or not opening.is_complete or len(path) >= 512 or b"\xff" in path or path.endswith(DELETED):
            continue
        assert kernel.wants(opening) == any(evaluate(when, events[0], direction) for when in conditions)


def wants(opening: Opening, *rules: dict[str, Any], **keys: Any) -> bool:
    return ModelledRules(compile_filters(config_of(*rules, **keys))).wants(opening)


CURL = Opening(Direction.EGRESS, "10.0.0.1", "10.1.2.3", 40000, 80, 1, (0, 0, 0, 0, 0), b"/usr/bin/curl")


def test_nested_networks() -> None:
    """The reference's defect: a longer prefix hides the shorter one's bit."""
    nested = {"rule": "r", "when": 'ip_dst == "10.0.0.0/8" OR (ip_dst == "10.1.0.0/16" AND port_dst == 22)'}
    assert wants(CURL, nested)
    assert not wants(CURL, {"rule": "r", "when": 'ip_dst == "10.0.0.0/8" AND NOT ip_dst == "10.1.0.0/16"'})


def test_what_a_rule_drops_is_not_wanted_by_those_below() -> None:
    drop = {"rule": "web", "when": "port_dst == 80", "action": "drop"}
    egress = {"rule": "all", "when": 'direction == "egress"'}
    assert not wants(CURL, drop, egress)
    assert wants(CURL, egress, drop)
    assert wants(CURL._replace(dport=81), drop, egress)
    assert not wants(CURL, drop, unmatched="report")


def test_what_another_process_may_close_is_wanted_whoever_opens_it() -> None:
    assert wants(CURL, {"rule": "r", "when": 'binary_name == "sshd" AND bytes > 1M'})
    assert not wants(CURL, {"rule": "r", "when": 'binary_name == "sshd" AND bytes > 1M AND port_dst == 22'})
    assert not wants(CURL, {"rule": "r", "when": 'binary_name == "sshd"'})


def test_types_of_events_tell_the_direction() -> None:
    assert not wants(CURL, {"rule": "r", "when": 'event_type == "accept"'})
    assert wants(CURL, {"rule": "r", "when": 'event_type == "close"'})


def test_the_mark_of_deleted_executables_is_taken_from_names_that_end_so() -> None:
    called = CURL._replace(path=b"/usr/bin/curl (deleted)")
    assert wants(called, {"rule": "r", "when": 'binary_path == "/usr/bin/curl"'})
    assert wants(called, {"rule": "r", "when": 'NOT binary_path == "/usr/bin/curl (deleted)"'})
    assert wants(called, {"rule": "r", "when": 'NOT binary_prefix == "/usr/bin/curl (d"'})


def test_many_rules_are_joined_but_no_event_is_lost() -> None:
    """Each compares two values of its own: no exact alternatives are as few as the kernel half compares."""
    rules = [
        {"rule": f"r{i}", "when": f'ip_dst == "10.{i % 256}.{i // 256}.0/24" AND port_dst == {1000 + i}'}
        for i in range(300)
    ]
    config = config_of(*rules)
    found = what_is_wanted(compile_rules(config))
    assert found.is_joined
    assert len(found.alternatives) <= MAX_ALTERNATIVES
    model = ModelledRules(compile_filters(config))
    for i in range(300):
        assert model.wants(CURL._replace(daddr=f"10.{i % 256}.{i // 256}.7", dport=1000 + i))
    assert not model.wants(CURL._replace(daddr="192.0.2.1", dport=1000))
    assert not model.wants(CURL._replace(daddr="10.0.0.7", dport=80))


def test_rules_that_differ_in_one_value_are_one_alternative() -> None:
    rules = [{"rule": f"r{i}", "when": f'port_dst == {i} AND NOT ip_dst == "10.0.0.0/8"'} for i in range(1000)]
    found = what_is_wanted(compile_rules(config_of(*rules)))
    assert next(iter(found.alternatives))["port_dst"] == ((0, 999),)
    assert (len(found.alternatives), found.is_joined) == (1, False)


def test_a_rule_about_what_the_kernel_does_not_know_wants_everything() -> None:
    config = config_of({"rule": "one", "when": "port_dst == 80"}, {"rule": "other", "when": 'args like "*x*"'})
    found = what_is_wanted(compile_rules(config))
    assert (found.is_everything, found.open_rules) == (True, ("other",))
    assert compile_filters(config).rule_ports == b""

"""What was learned of connections is valid, expects just these, and does not depend on their order."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rule_evaluator import Json
from tests.unit.learn.expectations import drift_of, expectation
from tests.unit.learn.strategies import connections


@settings(max_examples=50, deadline=None)
@given(connections())
def test_what_was_learned_is_expected(events: list[Json]) -> None:
    drift, reported = drift_of(expectation(events), events)
    assert (drift.count, reported) == (0, [])


@settings(max_examples=50, deadline=None)
@given(connections(), st.randoms(use_true_random=False))
def test_the_order_of_connections_is_no_matter(events: list[Json], chance: random.Random) -> None:
    others = [*events]
    chance.shuffle(others)
    assert expectation(events) == expectation(others)


@settings(max_examples=50, deadline=None)
@given(connections(10), connections(10))
def test_what_is_suggested_allows_what_was_unexpected(before: list[Json], events: list[Json]) -> None:
    first, reported = drift_of(expectation(before), events)
    assert all(event["expected"] is False for event in reported)
    opened = [event for event in reported if not event["network_event"]["type"].endswith("Close")]
    assert first.count == len(opened)
    suggested = first.suggestion(most=1000)
    together = "\n".join([*suggested, "unmatched: report", "report: {names: true, workload: true}"])
    if suggested:
        sections = [f"{name}: {{enabled: true}}" for name in ("ingress", "egress") if f"{name}:" not in suggested]
        enabled = together.replace("ingress:", "ingress:\n  enabled: true").replace(
            "egress:", "egress:\n  enabled: true"
        )
        second, _ = drift_of("\n".join([enabled, *sections]), opened)
        assert second.count == 0

"""Reports of lost events."""

from __future__ import annotations

import json

import pytest

from netmon.decode.loss_report import LossReport
from netmon.events import LostCounts, LostEvents
from netmon.losses import EVENT_REASONS, OTHERS, TOP, Losses


@pytest.mark.parametrize("blind_ms", [0, 9])
@pytest.mark.parametrize("outputs", [{}, {"file": 7}])
@pytest.mark.parametrize("offenders", [{}, {"/user.slice": 3, "uid 1000": 2}])
def test_json_is_the_models_own_json(offenders: dict[str, int], outputs: dict[str, int], blind_ms: int) -> None:
    losses = Losses(1, 20, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, blind_ms, offenders, outputs)
    report = LossReport(losses, "2025-11-23T00:00:02.000Z")
    model = LostEvents(
        lost_events=LostCounts(
            count=32,
            ring_full=1,
            over_budget=20,
            no_storage=2,
            flows_full=4,
            unknown_process=5,
            missed=3,
            blind_ms=blind_ms or None,
            offenders=offenders or None,
            outputs=outputs or None,
        ),
        timestamp="2025-11-23T00:00:02.000Z",
    )
    assert report.model() == model
    assert report.json() == model.model_dump_json() + "\n"


def test_each_key_of_the_model_is_there() -> None:
    losses = Losses(blind_ms=1, offenders={"uid 1": 1}, outputs={"file": 1})
    counts = json.loads(LossReport(losses, "TIME").json())["lost_events"]
    assert list(counts) == list(LostCounts.model_fields)
    assert list(counts) == ["count", *EVENT_REASONS, "missed", "blind_ms", "offenders", "outputs"]


def test_of_many_offenders_the_first_ones_are_named() -> None:
    losses = Losses(offenders={OTHERS: 1, **{f"uid {number}": number for number in range(1, 20)}})
    offenders = json.loads(LossReport(losses, "TIME").json())["lost_events"]["offenders"]
    assert list(offenders.items()) == [*((f"uid {n}", n) for n in range(19, 19 - TOP, -1)), (OTHERS, 1 + 11 * 6)]

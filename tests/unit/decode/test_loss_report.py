"""Reports of lost events."""

from __future__ import annotations

import json

import pytest

from netmon.decode.loss_report import LossReport
from netmon.events import LostCounts, LostEvents
from netmon.losses import EVENT_REASONS, Losses


@pytest.mark.parametrize("blind_ms", [0, 9])
@pytest.mark.parametrize("outputs", [{}, {"file": 7}])
def test_json_is_the_models_own_json(outputs: dict[str, int], blind_ms: int) -> None:
    report = LossReport(Losses(1, 2, 3, 4, 5, 6, 7, 8, 9, blind_ms, outputs), "2025-11-23T00:00:02.000Z")
    model = LostEvents(
        lost_events=LostCounts(
            count=12,
            ring_full=1,
            no_storage=2,
            flows_full=4,
            unknown_process=5,
            missed=3,
            blind_ms=blind_ms or None,
            outputs=outputs or None,
        ),
        timestamp="2025-11-23T00:00:02.000Z",
    )
    assert report.model() == model
    assert report.json() == model.model_dump_json() + "\n"


def test_each_key_of_the_model_is_there() -> None:
    counts = json.loads(LossReport(Losses(blind_ms=1, outputs={"file": 1}), "TIME").json())["lost_events"]
    assert list(counts) == list(LostCounts.model_fields)
    assert list(counts) == ["count", *EVENT_REASONS, "missed", "blind_ms", "outputs"]

"""The reports of what was lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netmon.decode.clock import Clock
from netmon.losses import Losses
from netmon.reader.reporters import LOSS_INTERVAL, LossReporter
from netmon.reader.source import Source

NONE = {
    "count": 0,
    "ring_full": 0,
    "over_budget": 0,
    "no_storage": 0,
    "flows_full": 0,
    "unknown_process": 0,
    "missed": 0,
}


class Lost:
    """A reporter of losses, with the counts that it reads: the kernel's, the decoder's, and the outputs'."""

    def __init__(self) -> None:
        self.kernel = Losses()
        self.unknown_process = 0
        self.outputs: dict[str, int] = {}
        source = SimpleNamespace(read_losses=lambda: self.kernel)
        self.reporter = LossReporter(
            cast(Source, source), lambda: self.unknown_process, Clock(), lambda: dict(self.outputs)
        )

    def report(self) -> list[dict[str, Any]]:
        """Return the counts that the reporter reports after a last batch; each has the shape of the model."""
        self.reporter.prepare(ending=True)
        reports = self.reporter.collect(drained=True, ending=True)
        return [report.model().lost_events.model_dump() for report in reports]


@pytest.fixture
def lost() -> Lost:
    return Lost()


def test_nothing_lost_is_not_reported(lost: Lost) -> None:
    assert lost.report() == []


def test_a_loss_is_reported_once(lost: Lost) -> None:
    lost.kernel = Losses(ring_full=3, missed=2)
    lost.unknown_process = 1
    assert lost.report() == [{**NONE, "count": 4, "ring_full": 3, "unknown_process": 1, "missed": 2}]
    assert lost.report() == []
    lost.kernel = Losses(ring_full=5, missed=1)  # an upper bound, which may fall
    assert lost.report() == [{**NONE, "count": 2, "ring_full": 2}]


def test_time_without_running_programs_is_reported(lost: Lost) -> None:
    lost.kernel = Losses(blind_ms=1500)
    assert lost.report() == [{**NONE, "blind_ms": 1500}]
    assert lost.report() == []
    lost.kernel = Losses(ring_full=1, blind_ms=2500)
    assert lost.report() == [{**NONE, "count": 1, "ring_full": 1, "blind_ms": 1000}]


def test_an_upper_bound_that_rises_is_reported_and_not_twice_when_it_sinks_between(lost: Lost) -> None:
    lost.kernel = Losses(missed=9)
    assert lost.report() == [{**NONE, "missed": 9}]
    lost.kernel = Losses(missed=4, ring_full=1)
    assert lost.report() == [{**NONE, "count": 1, "ring_full": 1}]
    lost.kernel = Losses(missed=10, ring_full=1)
    assert lost.report() == [{**NONE, "missed": 1}]


def test_the_losses_of_an_output_are_reported_by_its_name(lost: Lost) -> None:
    lost.outputs = {"file": 0, "socket": 7}
    assert lost.report() == [{**NONE, "outputs": {"socket": 7}}]
    assert lost.report() == []
    lost.outputs = {"file": 2, "socket": 7}
    lost.kernel = Losses(no_storage=1)
    assert lost.report() == [{**NONE, "count": 1, "no_storage": 1, "outputs": {"file": 2}}]


@pytest.mark.parametrize("since", [lambda lost: None, lambda lost: lost.outputs.clear()])
def test_the_losses_of_an_output_that_is_gone_stay_reported(lost: Lost, since: Callable[[Lost], object]) -> None:
    lost.outputs = {"socket": 7}
    lost.report()
    since(lost)
    assert lost.report() == []
    lost.outputs = {"socket": 8}
    assert lost.report() == [{**NONE, "outputs": {"socket": 1}}]


def test_losses_are_reported_once_a_second(lost: Lost) -> None:
    lost.kernel = Losses(ring_full=1)
    assert len(lost.reporter.collect(drained=False, ending=False)) == 1
    lost.kernel = Losses(ring_full=2)
    assert 0 < lost.reporter.due() - time.monotonic() <= LOSS_INTERVAL
    lost.reporter.prepare(ending=False)
    assert lost.reporter.collect(drained=True, ending=False) == []
    assert len(lost.reporter.collect(drained=True, ending=True)) == 1


def test_an_exception_loses_no_losses(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler may raise at any moment of a reading."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    lost.unknown_process = 3
    with monkeypatch.context() as patch:
        patch.setattr("netmon.decode.format.format_timestamp", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lost.reporter.collect(drained=True, ending=True)
    (report,) = lost.reporter.collect(drained=True, ending=True)
    assert report.losses.unknown_process == 3

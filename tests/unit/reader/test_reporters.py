"""The reports beside events: what was lost, and the aggregates of a period."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netmon.decode.clock import Clock
from netmon.losses import Losses
from netmon.reader.reporters import LossReporter
from netmon.reader.source import Source

NONE = {"count": 0, "ring_full": 0, "no_storage": 0, "flows_full": 0, "unknown_process": 0, "missed": 0}


class Lost:
    """What a reporter asks: kernel holds the kernel's counts, outputs those of the outputs."""

    def __init__(self) -> None:
        self.kernel = Losses()
        self.unknown_process = 0
        self.outputs: dict[str, int] = {}
        source = SimpleNamespace(
            read_losses=lambda *, missed: self.kernel if missed else self.kernel._replace(missed=0)
        )
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


def test_an_upper_bound_alone_is_not_reported(lost: Lost) -> None:
    lost.kernel = Losses(missed=9)
    assert lost.report() == []


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
    assert lost.reporter.due() is None  # nothing was read since
    lost.reporter.prepare(ending=False)
    assert lost.reporter.due() is not None
    assert lost.reporter.collect(drained=True, ending=False) == []
    assert len(lost.reporter.collect(drained=True, ending=True)) == 1

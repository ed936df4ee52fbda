"""Reports beside the connection events: lost events; flow_reporter.py has the aggregates of a period.

A reporter prepares before the ring buffer is read. Its reports are collected after what was read is decoded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from netmon.decode.clock import Clock
from netmon.losses import Losses

if TYPE_CHECKING:
    from netmon.decode.flows import FlowSummary
    from netmon.decode.loss_report import LossReport
    from netmon.reader.source import Source
    from netmon.rules.apply import RuledSummary

    ReportedEvent: TypeAlias = FlowSummary | RuledSummary | LossReport

LOSS_INTERVAL = 1.0  # seconds between two reports of losses, at least


class Reporter(Protocol):
    """Reports something now and then."""

    def due(self) -> float | None:
        """Return the time (time.monotonic()) of the next report, with an empty ring buffer; None: not before a read."""

    def prepare(self, ending: bool) -> None:
        """Prepare, before the ring buffer is read. ending: no more records will be written."""

    def collect(self, drained: bool, ending: bool) -> Sequence[ReportedEvent]:
        """Return the reports that are due. drained: all records written before prepare() have been decoded."""


class LossReporter:
    """Reports lost events: those that the monitor lost, and those that single outputs lost."""

    def __init__(
        self,
        source: Source,
        count_unknown: Callable[[], int],
        clock: Clock,
        count_outputs: Callable[[], Mapping[str, int]],
    ) -> None:
        """Report the losses from now on.

        Args:
            source: Counts what the kernel lost.
            count_unknown: Returns how many events were dropped so far because their process was never described.
            clock: Gives the reports their time.
            count_outputs: Returns how many events each output alone has lost so far, by the output's name.
        """
        self._source = source
        self._count_unknown = count_unknown
        self._count_outputs = count_outputs
        self._clock = clock
        self._reported = Losses()
        self._next = time.monotonic()

    def due(self) -> float:
        """Return the time of the next look, which comes even if nothing happens: that may be because of a loss."""
        return self._next

    def prepare(self, ending: bool) -> None:
        pass

    def collect(self, drained: bool, ending: bool) -> list[LossReport]:
        now = time.monotonic()
        if now < self._next and not (ending and drained):
            return []
        self._next = now + LOSS_INTERVAL
        outputs = {**self._reported.outputs, **self._count_outputs()}
        losses = self._source.read_losses()._replace(unknown_process=self._count_unknown(), outputs=outputs)
        lost = losses.since(self._reported)
        if not (lost.total or lost.missed or lost.outputs or lost.blind_ms):
            return []
        from netmon.decode.format import format_timestamp
        from netmon.decode.loss_report import LossReport  # both are imported late: most runs lose nothing

        # `missed` is an upper bound, which may sink; the reports shall add up to no more than its highest value.
        losses = losses._replace(missed=max(losses.missed, self._reported.missed))
        timestamp = format_timestamp(self._clock.event_time(self._clock.boot_time_ns()))
        reports = [LossReport(lost, timestamp)]
        self._reported = losses  # last: after an exception, such as a signal handler's, they are reported the next time
        return reports

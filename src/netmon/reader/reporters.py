"""Reports beside the connection events: lost events, and the aggregates of a period.

A reporter prepares before the ring buffer is read, and is asked for reports after what was read is decoded. A report is
plain data, in the shape of its model in netmon.events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from netmon.decode.clock import Clock, boot_time_ns
from netmon.decode.flows import merge, summarize, unpack_flow
from netmon.decode.format import format_timestamp
from netmon.decode.processes import KnownProcess, ProcessTable
from netmon.layout import Flow, FlowKey
from netmon.limits import MIN_PERIOD
from netmon.losses import Losses

if TYPE_CHECKING:
    from netmon.reader.source import Source

EventData = dict[str, Any]

LOSS_INTERVAL = 1.0  # seconds between two reports of losses, at least

REPORTED_LOSSES = ("ring_full", "no_storage", "flows_full", "unknown_process", "missed")


class Reporter(Protocol):
    """Reports something now and then."""

    def due(self) -> float | None:
        """Return the time (time.monotonic()) of the next report, with an empty ring buffer; None: not before a read."""

    def prepare(self, ending: bool) -> None:
        """Prepare, before the ring buffer is read. ending: no more records will be written."""

    def collect(self, drained: bool, ending: bool) -> list[EventData]:
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
        self._idle = True  # nothing was read since the last look

    def due(self) -> float | None:
        return None if self._idle else self._next

    def prepare(self, ending: bool) -> None:
        self._idle = False

    def collect(self, drained: bool, ending: bool) -> list[EventData]:
        now = time.monotonic()
        if now < self._next and not (ending and drained):
            return []
        self._idle = True
        self._next = now + LOSS_INTERVAL
        outputs = self._lost_by_outputs()
        # A rise of `missed` alone triggers no report: mostly nothing was missed, and asking the kernel is slow.
        if not outputs and self._read(missed=False).total <= self._reported.total:
            return []
        losses = self._read(missed=True)
        # `missed` may sink: it is an upper bound, which falls when a backup program reports what the main one skipped.
        lost = {name: max(0, getattr(losses, name) - getattr(self._reported, name)) for name in REPORTED_LOSSES}
        by_output = {name: self._reported.outputs.get(name, 0) + count for name, count in outputs.items()}
        self._reported = losses._replace(outputs={**self._reported.outputs, **by_output})
        counts: EventData = {"count": sum(lost.values()) - lost["missed"], **lost}
        if outputs:
            counts["outputs"] = outputs
        timestamp = format_timestamp(self._clock.event_time(boot_time_ns()))
        return [{"type": "LostEvents", "lost_events": counts, "timestamp": timestamp}]

    def _read(self, *, missed: bool) -> Losses:
        return self._source.read_losses(missed=missed)._replace(unknown_process=self._count_unknown())

    def _lost_by_outputs(self) -> dict[str, int]:
        """Return what each output lost since the last report, if anything, by its name."""
        since = {name: count - self._reported.outputs.get(name, 0) for name, count in self._count_outputs().items()}
        return {name: count for name, count in since.items() if count > 0}


class FlowReporter:
    """Reports, each period, the flows in which the kernel has aggregated the connections."""

    def __init__(self, period: float, source: Source, processes: ProcessTable, clock: Clock) -> None:
        """Begin a period now. period: in seconds."""
        self._period = period
        self._source = source
        self._processes = processes
        self._clock = clock
        self._begin()
        self._taken: list[tuple[bytes, bytes]] | None = None
        self.unknown_process = 0  # events in flows whose process was never described

    def _begin(self) -> None:
        self._started_ns = boot_time_ns()
        self._started = time.monotonic()

    def due(self) -> float | None:
        return 0.0 if self._taken is not None else self._started + self._period

    def prepare(self, ending: bool) -> None:
        """Take the flows of a period that is over, before the ring buffer is read.

        So the ring buffer has the records of all their processes.
        """
        if self._taken is None and (ending or self._is_over()):
            self._start_ns, self._end_ns = self._started_ns, boot_time_ns()
            self._taken = self._source.take_flows()
            self._begin()

    def _is_over(self) -> bool:
        """Return whether the period is over, or must end early because there is too much to keep."""
        age = time.monotonic() - self._started
        crowded = self._processes.crowded and age >= MIN_PERIOD
        return age >= self._period or crowded or self._source.flows_are_many

    def collect(self, drained: bool, ending: bool) -> list[EventData]:
        if self._taken is None or not drained:
            return []
        taken, self._taken = self._taken, None
        start, end = (format_timestamp(self._clock.event_time(ns)) for ns in (self._start_ns, self._end_ns))
        reports = [summarize(*flow, start, end) for flow in merge(self._attributed(taken))]
        self._processes.forget_old()
        return reports

    def _attributed(self, taken: list[tuple[bytes, bytes]]) -> Iterator[tuple[FlowKey, Flow, KnownProcess]]:
        """Yield the flows with their processes; count the events of those without."""
        for pair in taken:
            key, flow = unpack_flow(*pair)
            process = self._processes.get(key.process_id)
            if process is None:
                self.unknown_process += flow.opened + flow.closed
            else:
                yield key, flow, process

"""Reports the aggregates of each period. A run without --aggregate does not import it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from netmon.decode.clock import Clock
from netmon.decode.flows import FlowSummary, merge, unpack_flow
from netmon.decode.format import format_timestamp
from netmon.decode.known_process import KnownProcess
from netmon.decode.processes import ProcessTable
from netmon.layout import Flow, FlowKey
from netmon.limits import MIN_PERIOD

if TYPE_CHECKING:
    from netmon.reader.source import Source


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
        self._described_at = 0  # the position in the ring buffer up to which the processes of the flows are described
        self.unknown_process = 0  # events in flows whose process was never described
        self.summaries = 0  # how many were reported

    def _begin(self) -> None:
        self._started_ns = self._clock.boot_time_ns()
        self._started = time.monotonic()

    def due(self) -> float | None:
        return 0.0 if self._taken is not None else self._started + self._period

    def prepare(self, ending: bool) -> None:
        """Take the flows of a period that is over, before the ring buffer is read.

        So the ring buffer has the records of all their processes. Before that, what open connections have carried is
        added to them; not if the period ends early, as there is too much to keep already.
        """
        if self._taken is None and (ending or self._is_over()):
            if not ending and self._is_complete() and self._source.report_open():
                return  # the rest at the next call
            self._start_ns, self._end_ns = self._started_ns, self._clock.boot_time_ns()
            self._taken = self._source.take_flows()
            self._described_at = self._processes.position
            self._begin()

    def _is_complete(self) -> bool:
        return time.monotonic() - self._started >= self._period

    def _is_over(self) -> bool:
        """Return whether the period is over, or must end early because there is too much to keep."""
        over_limit = self._processes.over_limit and time.monotonic() - self._started >= MIN_PERIOD
        return self._is_complete() or over_limit or self._processes.far_over_limit or self._source.flows_are_many

    def collect(self, drained: bool, ending: bool) -> list[FlowSummary]:
        # Under load the ring buffer is never empty, and all processes that are described meanwhile must be kept.
        if self._taken is None or not (drained or self._processes.has_read_to(self._described_at)):
            return []
        start, end = (format_timestamp(self._clock.event_time(ns)) for ns in (self._start_ns, self._end_ns))
        reports = [FlowSummary(*flow, start, end) for flow in merge(self._attributed(self._taken))]
        self._processes.evict()
        self.summaries += len(reports)
        self._taken = None  # last: after an exception, all of them are reported the next time
        return reports

    def _attributed(self, taken: list[tuple[bytes, bytes]]) -> Iterator[tuple[FlowKey, Flow, KnownProcess]]:
        """Yield the flows with their processes; count the events of those without."""
        for pair in taken:
            key, flow = unpack_flow(*pair)
            process = self._processes.get(key.process_id)
            if process is None:
                # What an open connection has carried is a loss, too, though the flow has no event.
                self.unknown_process += max(1, flow.opened + flow.closed)
            else:
                yield key, flow, process

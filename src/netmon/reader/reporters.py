"""What is reported beside events: their losses, and the sums of aggregate mode.

A reporter is asked before the ring buffer is read (prepare) and after what was read is decoded (collect). Reports are
plain data, as their models (netmon.events) read it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from netmon.decode.clock import Clock, boot_time_ns
from netmon.decode.flows import merge, summarize, unpack_flow
from netmon.decode.format import format_timestamp
from netmon.decode.processes import KnownProcess, ProcessTable
from netmon.kernel.probes import Probes
from netmon.layout import Flow, FlowKey
from netmon.losses import Losses

Report = dict[str, Any]

LOSS_INTERVAL = 1.0  # seconds: losses are told at most that often
# A period that ends early, since there is much to report, lasts at least this long.
MIN_PERIOD = 1.0

LOST_REASONS = ("ring_full", "no_storage", "flows_full", "unknown_process", "missed")


class Reporter(Protocol):
    """Something that has to report now and then."""

    def due(self) -> float | None:
        """Return until when (time.monotonic()) it can wait, with nothing in the ring buffer; None: until there is."""

    def prepare(self, ending: bool) -> None:
        """Get ready. ending: this is the last time, or what follows is only what is left in the ring buffer."""

    def collect(self, drained: bool, ending: bool) -> list[Report]:
        """Return what is to be reported now. drained: all records written before prepare() were decoded."""


class LossReporter:
    """Reports lost events: those that the monitor lost, and those that single outputs lost."""

    def __init__(
        self,
        probes: Probes,
        count_unknown: Callable[[], int],
        clock: Clock,
        count_outputs: Callable[[], Mapping[str, int]],
    ) -> None:
        """count_outputs: returns how many events each output has lost so far, by the output's name."""
        self._probes = probes
        self._count_unknown = count_unknown
        self._count_outputs = count_outputs
        self._clock = clock
        self._told = Losses()
        self._next = time.monotonic()
        self._idle = True  # nothing was read since the last look

    def due(self) -> float | None:
        return None if self._idle else self._next

    def prepare(self, ending: bool) -> None:
        self._idle = False

    def collect(self, drained: bool, ending: bool) -> list[Report]:
        now = time.monotonic()
        if now < self._next and not (ending and drained):
            return []
        self._idle = True
        self._next = now + LOSS_INTERVAL
        unknown_process = self._count_unknown()
        by_output = {**self._told.outputs, **self._count_outputs()}
        since = ((name, count - self._told.outputs.get(name, 0)) for name, count in by_output.items())
        outputs = {name: count for name, count in since if count > 0}
        # A rise of `missed` alone triggers no report: mostly nothing was missed, and asking the kernel is slow.
        if self._probes.count_lost(unknown_process) <= self._told.events and not outputs:
            return []
        losses = self._probes.read_losses(unknown_process)
        # `missed` may sink: it is an upper bound, which falls when a backup program reports what the main one skipped.
        lost = {name: max(0, getattr(losses, name) - getattr(self._told, name)) for name in LOST_REASONS}
        self._told = losses._replace(outputs=by_output)
        counts: dict[str, Any] = {"count": sum(lost.values()) - lost["missed"], **lost}
        if outputs:
            counts["outputs"] = outputs
        timestamp = format_timestamp(self._clock.event_time(boot_time_ns()))
        return [{"type": "LostEvents", "lost_events": counts, "timestamp": timestamp}]


class FlowReporter:
    """Tells, each period, what the kernel has summed up in it."""

    def __init__(self, period: float, probes: Probes, processes: ProcessTable, clock: Clock) -> None:
        """period: seconds."""
        self._period = period
        self._probes = probes
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
        """Take the flows before the ring buffer is read: it has the records of all their processes."""
        if self._taken is None and (ending or self._is_over()):
            self._start_ns, self._end_ns = self._started_ns, boot_time_ns()
            self._taken = self._probes.take_flows()
            self._begin()

    def _is_over(self) -> bool:
        age = time.monotonic() - self._started
        crowded = self._processes.crowded and age >= MIN_PERIOD
        return age >= self._period or crowded or self._probes.flows_are_many

    def collect(self, drained: bool, ending: bool) -> list[Report]:
        if self._taken is None or not drained:
            return []
        taken, self._taken = self._taken, None
        start, end = (format_timestamp(self._clock.event_time(ns)) for ns in (self._start_ns, self._end_ns))
        reports = [summarize(*flow, start, end) for flow in merge(self._attributed(taken))]
        self._processes.forget_old()
        return reports

    def _attributed(self, taken: list[tuple[bytes, bytes]]) -> Iterator[tuple[FlowKey, Flow, KnownProcess]]:
        for pair in taken:
            key, flow = unpack_flow(*pair)
            process = self._processes.get(key.process_id)
            if process is None:
                self.unknown_process += flow.opened + flow.closed
            else:
                yield key, flow, process

"""The reports beside events: what was lost, and the aggregates of a period."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netmon.decode import processes
from netmon.decode.clock import Clock
from netmon.decode.processes import ProcessTable
from netmon.layout import FLOW, FLOW_KEY, Direction, Family, Flow, FlowKey
from netmon.losses import Losses
from netmon.reader import reporters
from netmon.reader.reporters import LOSS_INTERVAL, FlowReporter, LossReporter
from netmon.reader.source import Source
from tests.support.decoders import make_table
from tests.support.records import process_record

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
        patch.setattr(reporters, "format_timestamp", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lost.reporter.collect(drained=True, ending=True)
    (report,) = lost.reporter.collect(drained=True, ending=True)
    assert report.losses.unknown_process == 3


PERIOD = 60.0  # seconds


class Flows:
    """A reporter of aggregates, with the time, the processes and the kernel's table of flows that it reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(reporters, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.table: list[tuple[bytes, bytes]] = []
        self.source = SimpleNamespace(
            flows_are_many=False, take_flows=self._take, report_open=lambda: self.parts.pop() if self.parts else False
        )
        self.parts: list[bool] = []  # of the walk through open connections: whether there are more
        self.waiting = 0  # bytes in the ring buffer
        self.processes: ProcessTable = make_table(evict_on_add=False, limit=1, bytes_waiting=lambda: self.waiting)
        self.processes.add(process_record(process_id=7))
        clock = Clock()
        monkeypatch.setattr(clock, "boot_time_ns", lambda: int(self.now * 1e9))
        self.reporter = FlowReporter(PERIOD, cast(Source, self.source), self.processes, clock)

    def _take(self) -> list[tuple[bytes, bytes]]:
        taken, self.table = self.table, []
        return taken

    def add(self, process_id: int = 7, opened: int = 1) -> None:
        """Have a process open connections."""
        key = FlowKey(process_id, bytes(16), 443, Family.IPV4, Direction.EGRESS)
        self.table.append((FLOW_KEY.pack(*key), FLOW.pack(*Flow(opened, 1, 0, 0, 0, 0))))

    def report(self, seconds: float, *, drained: bool = True, ending: bool = False) -> list[int]:
        """Read some seconds later; return how many connections each report has as opened."""
        self.now += seconds
        self.reporter.prepare(ending)
        return [report.flow.opened for report in self.reporter.collect(drained, ending)]


@pytest.fixture
def flows(monkeypatch: pytest.MonkeyPatch) -> Flows:
    return Flows(monkeypatch)


def test_open_connections_are_looked_at_before_the_flows_are_taken(flows: Flows) -> None:
    """As many as there are: the period ends after the last part."""
    flows.add(opened=3)
    flows.parts = [False, True, True]
    assert [flows.report(PERIOD) for _ in range(3)] == [[], [], [3]]
    assert flows.reporter.due() == flows.now + PERIOD


def test_a_period_that_ends_early_does_not_look_at_open_connections(flows: Flows) -> None:
    flows.add(opened=3)
    flows.parts = [True]
    flows.source.flows_are_many = True
    assert flows.report(1) == [3]
    assert flows.parts == [True]


def test_flows_are_reported_once_a_period(flows: Flows) -> None:
    flows.add(opened=3)
    assert flows.reporter.due() == flows.now + PERIOD
    assert flows.report(PERIOD - 1) == []
    assert flows.report(1) == [3]
    assert flows.reporter.due() == flows.now + PERIOD
    assert flows.report(PERIOD) == []
    assert flows.reporter.summaries == 1


def test_flows_are_reported_after_all_records_that_precede_them(flows: Flows) -> None:
    """The records describe their processes."""
    flows.add(process_id=8, opened=3)
    flows.waiting = 100
    assert flows.report(PERIOD, drained=False) == []
    assert flows.reporter.due() == 0
    flows.processes.add(process_record(process_id=8))
    flows.processes.note_consumed(99)
    assert flows.report(0, drained=False) == []
    flows.processes.note_consumed(1)
    assert flows.report(0, drained=False) == [3]  # though others have been written meanwhile


def test_the_last_period_ends_early(flows: Flows) -> None:
    flows.add(opened=3)
    assert flows.report(1, ending=True) == [3]


def test_a_period_ends_early_when_the_table_is_nearly_full(flows: Flows) -> None:
    flows.add(opened=3)
    flows.source.flows_are_many = True
    assert flows.report(0) == [3]


def test_a_period_ends_early_when_there_are_too_many_processes(flows: Flows) -> None:
    flows.add(opened=3)
    flows.processes.add(process_record(process_id=8, pid=8))
    assert flows.report(0.5) == []
    assert flows.report(0.5) == [3]


def test_a_period_ends_at_once_when_processes_take_too_much_memory(
    flows: Flows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SIZE_LIMIT", 100)
    flows.add(opened=3)
    assert flows.report(0) == [3]


def test_memory_is_bounded_though_the_ring_buffer_is_never_empty(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that changes its credentials at each connect has a description and a flow for each."""
    monkeypatch.setattr(processes, "SIZE_LIMIT", 1 << 20)
    flows.waiting = 64 << 10
    reported = 0
    tracemalloc.start()
    try:
        for process_id in range(8, 2008):
            flows.processes.add(process_record(process_id=process_id, argv=b"x\0%d" % process_id + b"\x01" * 8000))
            flows.processes.note_consumed(8 << 10)
            flows.add(process_id)
            reported += sum(flows.report(0, drained=False))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert reported > 1500
    assert flows.reporter.unknown_process == 0


def test_flows_of_unknown_processes_are_counted_as_lost(flows: Flows) -> None:
    flows.add(process_id=8, opened=3)
    flows.add(opened=2)
    assert flows.report(PERIOD) == [2]
    assert flows.reporter.unknown_process == 4  # three were opened, one was closed


def test_each_report_has_its_period(flows: Flows) -> None:
    flows.add()
    flows.report(PERIOD)
    flows.add()
    flows.now += PERIOD
    flows.reporter.prepare(ending=False)
    (summary,) = flows.reporter.collect(drained=True, ending=False)
    assert summary.period_start < summary.timestamp
    clock = Clock()
    start = clock.event_time(int((flows.now - PERIOD) * 1e9))
    assert abs(timestamp_ns(summary.period_start) - start) < 1e9
    assert timestamp_ns(summary.timestamp) - timestamp_ns(summary.period_start) == int(PERIOD * 1e9)


def timestamp_ns(text: str) -> int:
    """Return a timestamp's nanoseconds since the epoch."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000) * 1_000_000


def test_an_exception_loses_no_flows(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler may raise at any moment of a reading."""
    flows.add(opened=3)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reporters, "FlowSummary", interrupted)
        with pytest.raises(KeyboardInterrupt):
            flows.report(PERIOD)
    assert flows.report(1) == [3]
    assert flows.report(1) == []

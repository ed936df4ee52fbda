"""The reports of the aggregates of a period."""

from __future__ import annotations

import tracemalloc
from datetime import datetime
from types import SimpleNamespace
from typing import cast

import pytest

from netmon.decode import processes
from netmon.decode.clock import Clock
from netmon.decode.processes import ProcessTable
from netmon.layout import FLOW, FLOW_KEY, Direction, Family, Flow, FlowKey
from netmon.reader import flow_reporter
from netmon.reader.flow_reporter import FlowReporter
from netmon.reader.source import Source
from tests.support.decoders import make_table
from tests.support.records import process_record

PERIOD = 60.0  # seconds


class Flows:
    """A reporter of aggregates, with the time, the processes and the kernel's table of flows that it reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(flow_reporter, "time", SimpleNamespace(monotonic=lambda: self.now))
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

    def add(self, process_id: int = 7, opened: int = 1, closed: int = 1, sent: int = 0) -> None:
        """Have a process open connections, and close and use some."""
        key = FlowKey(process_id, bytes(16), 443, Family.IPV4, Direction.EGRESS)
        self.table.append((FLOW_KEY.pack(*key), FLOW.pack(*Flow(opened, closed, 0, sent, 0, 0))))

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


def test_bytes_of_open_connections_of_an_unknown_process_are_not_lost_silently(flows: Flows) -> None:
    flows.add(process_id=8, opened=0, closed=0, sent=1000)
    assert flows.report(PERIOD) == []
    assert flows.reporter.unknown_process == 1


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
        patch.setattr(flow_reporter, "FlowSummary", interrupted)
        with pytest.raises(KeyboardInterrupt):
            flows.report(PERIOD)
    assert flows.report(1) == [3]
    assert flows.report(1) == []

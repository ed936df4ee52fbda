"""Reading batches until the last one, from a source that has no kernel."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from netmon.batch import Batch
from netmon.decode.clock import Clock
from netmon.reader.reader import Reader
from netmon.reader.reporters import Reporter
from netmon.reader.source import Source
from tests.support.decoders import make_table

if TYPE_CHECKING:
    from netmon.reader.reporters import ReportedEvent


class FakeSource:
    """A source that has nothing to read."""

    def __init__(self) -> None:
        self.detached = 0
        self.walks: list[bool] = []  # through open connections: whether each part began anew
        self.parts = 1
        self.on_fill: Callable[[], None] = lambda: None
        self.on_detach: Callable[[], None] = lambda: None
        self.fd = os.eventfd(0)
        self.ring = SimpleNamespace(
            fileno=lambda: self.fd, waiting=0, fill=self._fill, batch=Batch(b"", (), end=0, count=0)
        )

    def _fill(self, _limit: int) -> bool:
        self.on_fill()
        return False

    def detach(self) -> None:
        self.detached += 1
        self.on_detach()

    def report_existing(self) -> bool:
        return False

    def report_open(self, *, anew: bool = False) -> bool:
        self.walks.append(anew)
        return len(self.walks) < self.parts

    def close(self) -> None:
        os.close(self.fd)


class FakeReporter:
    """A reporter that is always due, and notes whether it was called for the end."""

    def __init__(self, report: object) -> None:
        self.report = report
        self.endings: list[bool] = []

    def due(self) -> float | None:
        return None

    def prepare(self, ending: bool) -> None:
        self.endings.append(ending)

    def collect(self, drained: bool, ending: bool) -> Sequence[ReportedEvent]:
        self.endings.append(ending)
        if isinstance(self.report, BaseException):
            raise self.report
        return [cast("ReportedEvent", self.report)]


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def reporters() -> list[FakeReporter]:
    return []


@pytest.fixture
def reader(source: FakeSource, reporters: list[FakeReporter]) -> Iterator[Reader]:
    made = Reader(
        cast(Source, source),
        Clock(),
        make_table().note_consumed,
        cast(list[Reporter], reporters),
        ring_size=4096,
        batch_delay=0.01,
    )
    yield made
    made.close()


def test_reading_ends_after_the_batch_that_follows_the_stop(reader: Reader, source: FakeSource) -> None:
    assert reader.read(())
    assert not reader.finished
    reader.stop()
    assert reader.read(())
    assert reader.finished
    assert not reader.read(())
    assert source.detached == 1


def test_open_connections_are_looked_at_a_last_time_before_the_end(reader: Reader, source: FakeSource) -> None:
    """All of them, in parts, while closes are still reported."""
    source.parts = 3
    source.on_detach = lambda: source.walks.append(True)
    reader.stop()
    while not reader.finished:
        assert reader.read(())
    assert source.walks == [True, False, False, True]
    assert source.detached == 1


def test_a_stop_in_the_middle_of_a_batch_ends_the_next_one(
    reader: Reader, source: FakeSource, reporters: list[FakeReporter]
) -> None:
    """A signal handler stops, or another thread."""
    reporters.append(FakeReporter("report"))
    reports: deque[ReportedEvent] = deque()
    source.on_fill = reader.stop
    assert reader.read(reader.reporters)
    reader.collect(reports)
    assert not reader.finished
    assert reporters[0].endings == [False, False]
    assert reader.read(reader.reporters)
    reader.collect(reports)
    assert reader.finished
    assert reporters[0].endings == [False, False, True, True]
    assert source.detached == 1


@pytest.mark.parametrize("moment", ["on_detach", "on_fill"])
def test_an_exception_in_the_last_batch_does_not_lose_it(reader: Reader, source: FakeSource, moment: str) -> None:
    """A signal handler may raise at any moment of a reading."""

    def interrupted() -> None:
        setattr(source, moment, lambda: None)
        raise KeyboardInterrupt

    setattr(source, moment, interrupted)
    reader.stop()
    with pytest.raises(KeyboardInterrupt):
        reader.read(())
    assert not reader.finished
    assert reader.read(())
    assert reader.finished


def test_an_exception_in_a_reporter_keeps_the_reports_of_another(reader: Reader, reporters: list[FakeReporter]) -> None:
    reporters += [FakeReporter("report"), FakeReporter(KeyboardInterrupt())]
    reports: deque[ReportedEvent] = deque()
    with pytest.raises(KeyboardInterrupt):
        reader.collect(reports)
    assert list[object](reports) == ["report"]

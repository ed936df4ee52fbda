"""Feeds: intervals of a live monitor and of a recording."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from netmon.monitor import Monitor
from netmon.top.counts import CONNECTIONS, HISTORY, KEEP_ENDED, Top
from netmon.top.feed import NO_LOCK, LiveFeed, ReplayFeed
from tests.support.records import batch_of, ipv4_event, process_record
from tests.support.scripted_source import scripted
from tests.unit.recording.test_replay import ALL, scene


def test_a_stopped_monitor_ends_with_all_that_it_had_reported() -> None:
    batches = [batch_of([process_record(), *(ipv4_event(cookie=cookie) for cookie in range(5))])]
    with scripted(*batches) as monitor:
        feed = LiveFeed(monitor, 60.0, Top(time.monotonic()))
        ticks: list[str] = []
        feed.run(ticks.append, NO_LOCK)
        assert len(ticks) == 1
        assert feed.top.total.total[CONNECTIONS] == 5
        assert feed.summary() == "5 events, 0 lost"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    with scripted(*scene(), record=path, config=ALL) as monitor:
        list(monitor.json_lines())
    return path


def replayed(path: Path, count: int | None = None, interval: float = 2.0) -> tuple[ReplayFeed, list[str]]:
    ticks: list[str] = []
    with Monitor.replay(path) as monitor:
        feed = ReplayFeed(monitor, interval, Top(0.0), count)
        feed.run(ticks.append, NO_LOCK)
    return feed, ticks


def test_a_recording_is_counted_by_its_own_time(recording: Path) -> None:
    feed, ticks = replayed(recording)
    assert feed.top.total.total[CONNECTIONS] == 3
    assert feed.status == "end of the recording"
    assert ticks == sorted(ticks) and all(tick.endswith("Z") for tick in ticks)
    # The scene has an hour without events: not all its intervals are counted.
    assert len(ticks) < 2 * (HISTORY + KEEP_ENDED / 2.0)


def test_a_recording_ends_after_as_many_intervals_as_asked_for(recording: Path) -> None:
    feed, ticks = replayed(recording, count=1)
    assert len(ticks) == feed.top.ticks == 1


def test_a_paced_recording_can_be_stopped_while_it_waits(recording: Path) -> None:
    with Monitor.replay(recording) as monitor:
        feed = ReplayFeed(monitor, 3600.0, Top(0.0), paced=True)
        feed.stop()
        feed.run(lambda _timestamp: None, NO_LOCK)
        assert feed.top.ticks == 0

"""The kernel's times as UTC."""

from __future__ import annotations

import time

import pytest

from netmon.decode import clock
from netmon.decode.clock import Clock


def test_the_time_of_now_is_now() -> None:
    now = Clock().event_time(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    assert abs(now - time.time_ns()) < 1_000_000_000


def test_start_times_do_not_move_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference asks for it; quark had that bug (#364, #368)."""
    subject = Clock()
    start, event = subject.start_time(0), subject.event_time(0)
    monkeypatch.setattr(clock, "_measure_offset", lambda _count=3: event + 3_600_000_000_000)
    subject.refresh()
    assert subject.event_time(0) == event + 3_600_000_000_000
    assert subject.start_time(0) == start


def test_a_process_that_starts_after_the_clock_was_set_has_a_start_by_the_new_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a machine that boots with a wrong clock, the first process keeps the start that its first event had."""
    subject = Clock()
    early = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    offset = subject.event_time(0)
    for step in (3_600_000_000_000, 7_200_000_000_000):
        monkeypatch.setattr(clock, "_measure_offset", lambda _count=3, step=step: offset + step)
        subject.refresh()
        late = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        assert subject.start_time(late) == late + offset + step
        assert subject.start_time(early) == early + offset


def test_small_differences_between_readings_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = Clock()
    event = subject.event_time(0)
    monkeypatch.setattr(clock, "_measure_offset", lambda _count=3: event + 999_999)
    subject.refresh()
    assert subject.event_time(0) == event


def test_a_reading_that_was_interrupted_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Clock()
    offset = subject.event_time(0)
    monkeypatch.setattr(clock, "_measure_offset", lambda count=3: offset + (5_000_000_000 if count == 1 else 0))
    subject.refresh()
    assert subject.event_time(0) == offset


def test_times_in_a_time_namespace_are_the_kernels() -> None:
    """There this process's CLOCK_BOOTTIME is ahead of the kernel's, or behind it, and UTC is the same."""
    ahead = 1_000_000_000  # less than this machine's uptime
    subject = Clock(ahead)
    boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ahead
    assert 0 <= subject.boot_time_ns() - boot < 1_000_000_000
    assert abs(subject.event_time(boot) - time.time_ns()) < 1_000_000_000
    assert abs(subject.start_time(boot) - time.time_ns()) < 1_000_000_000


def test_a_clock_that_is_set_in_a_time_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead, step = 1_000_000_000, 3_600_000_000_000
    subject = Clock(ahead)
    early = subject.boot_time_ns()
    start, event = subject.start_time(early), subject.event_time(early)
    measured = event - early - ahead
    monkeypatch.setattr(clock, "_measure_offset", lambda _count=3: measured + step)
    subject.refresh()
    late = subject.boot_time_ns()
    assert (subject.event_time(early), subject.start_time(early)) == (event + step, start)
    assert subject.start_time(late) == late + measured + ahead + step

"""Kernel times to UTC."""

from __future__ import annotations

import time

import pytest

from netmon import clock
from netmon.clock import Clock


def test_now_is_now() -> None:
    now = Clock().event_time(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    assert abs(now - time.time_ns()) < 1_000_000_000


def test_start_times_do_not_move_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Clock()
    start, event = subject.start_time(0), subject.event_time(0)
    monkeypatch.setattr(clock, "_measure_offset", lambda: event + 3_600_000_000_000)
    subject.refresh()
    assert subject.event_time(0) == event + 3_600_000_000_000
    assert subject.start_time(0) == start


def test_small_differences_between_readings_are_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = Clock()
    event = subject.event_time(0)
    monkeypatch.setattr(clock, "_measure_offset", lambda: event + 999_999)
    subject.refresh()
    assert subject.event_time(0) == event

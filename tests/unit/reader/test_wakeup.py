"""The descriptor that wakes the reader."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import netmon.reader.wakeup as wakeup_module
from netmon.reader.wakeup import Wakeup

SOON, NOT_YET = 0.02, 30.0
LIMIT = 10.0  # seconds, within which anything due happens


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    with closing(os.fdopen(os.eventfd(0), "rb")) as nothing_to_read:
        yield Wakeup(nothing_to_read.fileno(), lambda: None)


class ClockThatIsSet:
    """A wakeup with a descriptor in place of the clock's timer, since no test can set the clock of this machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ring_fd: int) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.noticed: list[float] = []
        make_timer = wakeup_module._make_timer
        monkeypatch.setattr(
            wakeup_module, "_make_timer", lambda clock: self.fd if clock == time.CLOCK_REALTIME else make_timer(clock)
        )
        self.wakeup = Wakeup(ring_fd, lambda: self.noticed.append(time.monotonic()))

    def set(self) -> None:
        """Do as the timer when the clock is set."""
        os.eventfd_write(self.fd, 1)

    def set_during(self, wait: Callable[[], object]) -> tuple[float, float]:
        """Set the clock in a while; return how long after the call of wait() that was noticed, and the call's end."""
        began = time.monotonic()
        setting = threading.Timer(SOON, self.set)
        setting.start()
        wait()
        ended = time.monotonic()
        setting.join()
        (noticed,) = self.noticed
        return noticed - began, ended - began


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClockThatIsSet]:
    with closing(os.fdopen(os.eventfd(0), "rb")) as nothing_to_read:
        yield ClockThatIsSet(monkeypatch, nothing_to_read.fileno())


LONG = 1.5  # seconds of a wait that ends by itself

WAITS: dict[str, Callable[[Wakeup], object]] = {
    "wait": lambda wakeup: wakeup.wait(LONG),
    "pause": lambda wakeup: wakeup.pause(LONG),
    "wait_async": lambda wakeup: asyncio.run(wakeup.wait_async(LONG)),
    "pause_async": lambda wakeup: asyncio.run(wakeup.pause_async(LONG)),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_clock_that_is_set_is_noticed_at_once_and_the_wait_goes_on(clock: ClockThatIsSet, name: str) -> None:
    results: list[object] = []
    noticed, ended = clock.set_during(lambda: results.append(WAITS[name](clock.wakeup)))
    assert noticed < LONG <= ended
    assert results in ([False], [None])


def test_a_clock_that_was_set_makes_it_readable_until_that_is_noticed(clock: ClockThatIsSet) -> None:
    clock.set()
    assert select.select([clock.wakeup.fileno()], [], [], 0)[0]
    assert not clock.wakeup.wait(0)
    assert len(clock.noticed) == 1
    assert not select.select([clock.wakeup.fileno()], [], [], 0)[0]


def test_records_are_not_overlooked_when_the_clock_is_set(clock: ClockThatIsSet) -> None:
    clock.wakeup.wake()
    clock.set()
    assert clock.wakeup.wait(0)
    assert len(clock.noticed) == 1


def test_the_clocks_timer_is_not_readable_while_nobody_sets_the_clock() -> None:
    """The kernel takes the time of the timer, too, which is later than any."""
    fd = wakeup_module._make_timer(time.CLOCK_REALTIME)
    wakeup_module._watch_clock(fd)
    with closing(os.fdopen(fd, "rb")):
        ticks = Path(f"/proc/self/fdinfo/{fd}").read_text()
        assert "settime flags: 03" in ticks
        assert not select.select([fd], [], [], SOON)[0]


def test_a_timer_that_is_due_stays_due(wakeup: Wakeup) -> None:
    due = time.monotonic() + SOON
    wakeup.set_timer(due)
    assert wakeup.wait(LIMIT)
    assert time.monotonic() >= due
    wakeup.set_timer(due)
    assert wakeup.wait(0)


def test_a_time_in_the_past_is_due(wakeup: Wakeup) -> None:
    wakeup.set_timer(0.0)
    assert wakeup.wait(LIMIT)


def test_setting_a_time_replaces_the_one_before(wakeup: Wakeup) -> None:
    wakeup.set_timer(time.monotonic() + SOON)
    wakeup.set_timer(time.monotonic() + NOT_YET)
    assert not wakeup.wait(2 * SOON)
    wakeup.set_timer(time.monotonic() + SOON)
    assert wakeup.wait(LIMIT)
    wakeup.set_timer(None)
    assert not wakeup.wait(0)


def test_a_timer_is_set_again_after_an_interruption(wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a signal handler raises, it is unknown whether the kernel has set the timer."""

    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("netmon.reader.wakeup._set_timer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            wakeup.set_timer(0.0)
    wakeup.set_timer(0.0)
    assert wakeup.wait(LIMIT)


def test_wake_makes_it_readable_for_ever(wakeup: Wakeup) -> None:
    wakeup.wake()
    assert wakeup.wait(LIMIT)
    assert wakeup.wait(0)

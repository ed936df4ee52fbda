"""The descriptor that wakes the reader."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from netmon.reader.wakeup import Wakeup

SOON, NOT_YET = 0.02, 30.0
LIMIT = 10.0  # seconds, within which anything due happens


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    with closing(os.fdopen(os.eventfd(0), "rb")) as nothing_to_read:
        yield Wakeup(nothing_to_read.fileno())


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

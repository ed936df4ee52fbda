"""One descriptor that is readable when there is something to do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from netmon.reader.wakeup import Readiness

SOON, NOT_YET = 0.02, 30.0
LIMIT = 10.0  # seconds, for what is to come at once


@pytest.fixture
def readiness() -> Iterator[Readiness]:
    with closing(os.fdopen(os.eventfd(0), "rb")) as nothing_to_read:
        yield Readiness(nothing_to_read.fileno())


def test_a_timer_expires_when_it_is_due_and_stays_so(readiness: Readiness) -> None:
    due = time.monotonic() + SOON
    readiness.set_timer(due)
    assert readiness.wait(LIMIT)
    assert time.monotonic() >= due
    readiness.set_timer(due)
    assert readiness.wait(0)


def test_what_is_past_is_due(readiness: Readiness) -> None:
    readiness.set_timer(0.0)
    assert readiness.wait(LIMIT)


def test_another_time_takes_the_place_of_the_one_before(readiness: Readiness) -> None:
    readiness.set_timer(time.monotonic() + SOON)
    readiness.set_timer(time.monotonic() + NOT_YET)
    assert not readiness.wait(2 * SOON)
    readiness.set_timer(time.monotonic() + SOON)
    assert readiness.wait(LIMIT)
    readiness.set_timer(None)
    assert not readiness.wait(0)


def test_a_timer_that_may_not_have_been_set_is_set_again(readiness: Readiness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler raised just after the kernel had set it: Python does not know."""

    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("netmon.reader.wakeup._set_timer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            readiness.set_timer(0.0)
    readiness.set_timer(0.0)
    assert readiness.wait(LIMIT)


def test_woken_for_ever(readiness: Readiness) -> None:
    readiness.wake()
    assert readiness.wait(LIMIT)
    assert readiness.wait(0)

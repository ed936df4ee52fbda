"""Waits for a condition, with a deadline: no test waits for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

DEADLINE = 60.0  # seconds: generous, since it only ends failures
# The pauses between two looks grow: what comes soon is seen soon, and long waits take little processor time.
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.03


def wait_until(
    condition: Callable[[], Any],
    what: str = "the condition",
    deadline: float = DEADLINE,
    pause: Callable[[float], object] = time.sleep,
) -> Any:
    """Return the condition's first true value; fail after deadline seconds.

    Args:
        condition: Is asked again and again.
        what: Names the condition in the failure's message.
        deadline: In seconds.
        pause: Waits between two looks, for so many seconds at most.
    """
    end = time.monotonic() + deadline
    seconds = FIRST_PAUSE
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {what}")
        pause(seconds)
        seconds = min(1.5 * seconds, LONGEST_PAUSE)
    return value

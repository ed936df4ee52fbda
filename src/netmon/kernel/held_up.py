"""Calls of functions that others can hold up, each in a thread of its own, which is waited for until a deadline.

A read of /proc/PID/cmdline takes a lock that the process may hold for ever, and a file may be on a file system that
does not answer. The caller would wait in state D, and no signal ends that but one that ends its whole process. A thread
that is held up later than the deadline is left alone: it ends when the call does, or with the process, which does not
wait for it.
"""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from netmon.unpatched import unpatched

T = TypeVar("T")

DEADLINE = 0.5  # seconds: the host may be busy, and arguments in swap. Mostly the answer takes less than 0.1 ms
MAX_HELD_UP = 3  # threads: while so many are held up, nothing is called
# Seconds of waiting: how many at once, and what share of the time. So nobody slows the reader down by more.
BUDGET, BUDGET_SHARE = 2.0, 0.1

# In a patched program these would give threads and locks that share the calling thread.
_start_new_thread, _allocate_lock = unpatched(_thread, "start_new_thread", "allocate_lock")


class HeldUpCalls:
    """Calls functions for one calling thread, which waits at most DEADLINE for each."""

    def __init__(self) -> None:
        self._running: set[Hashable] = set()  # the subjects of the calls; a thread removes its own
        self._budget = BUDGET
        self._budget_since = time.monotonic()

    def call(self, subject: Hashable, function: Callable[[], T]) -> T | None:
        """Return what a function returns; None when that would take too long, or when it fails.

        Args:
            subject: Whom the call may be held up by. While it is, there is no other call about the same.
            function: Is called in another thread.
        """
        began = time.monotonic()
        self._budget = min(BUDGET, self._budget + (began - self._budget_since) * BUDGET_SHARE)
        self._budget_since = began
        if self._budget < DEADLINE or len(self._running) >= MAX_HELD_UP or subject in self._running:
            return None
        answer: list[T] = []
        answered = _allocate_lock()
        answered.acquire()

        def answer_in_thread() -> None:
            try:
                answer.append(function())
            finally:
                self._running.discard(subject)
                answered.release()

        self._running.add(subject)
        try:
            _start_new_thread(answer_in_thread, ())
        except RuntimeError:  # a limit of threads, such as the unit's TasksMax=
            self._running.discard(subject)
            return None
        answered.acquire(True, DEADLINE)
        self._budget -= time.monotonic() - began
        return answer[0] if answer else None

"""Kernel times (CLOCK_BOOTTIME, nanoseconds) to UTC."""

from __future__ import annotations

import time
from bisect import bisect_right

# Two readings of the clocks differ by far less; only a set clock differs by more.
STEP_NS = 1_000_000
MAX_STEPS = 1000


def boot_time_ns() -> int:
    """Return CLOCK_BOOTTIME, the clock of the kernel's records, in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _measure_offset(count: int = 3) -> int:
    """Return CLOCK_REALTIME - CLOCK_BOOTTIME in nanoseconds, from the quickest of so many readings."""
    readings = []
    for _ in range(count):
        before = time.clock_gettime_ns(time.CLOCK_REALTIME)
        boot = boot_time_ns()
        after = time.clock_gettime_ns(time.CLOCK_REALTIME)
        readings.append((after - before, (before + after) // 2 - boot))
    return min(readings)[1]


class Clock:
    """The offset from CLOCK_BOOTTIME, which suspend and clock steps leave alone, to UTC.

    Both clocks are disciplined alike, so the offset changes only when the clock is set. A process's start keeps the
    offset that was in force then: it never jitters between events.
    """

    def __init__(self) -> None:
        self._offset = _measure_offset()
        # Since when (CLOCK_BOOTTIME) an offset is in force: the first has always been.
        self._since = [0]
        self._offsets = [self._offset]

    def refresh(self) -> None:
        """Notice that the clock was set. Cheap: meant for each batch of records."""
        if abs(_measure_offset(1) - self._offset) < STEP_NS:
            return
        offset = _measure_offset()  # this thread may have been interrupted between the clocks
        if abs(offset - self._offset) >= STEP_NS:
            self._offset = offset
            self._since.append(boot_time_ns())
            self._offsets.append(offset)
            # A clock that is set again and again must not fill the memory.
            del self._since[1:-MAX_STEPS], self._offsets[1:-MAX_STEPS]

    def event_time(self, boot_ns: int) -> int:
        """Return nanoseconds since the epoch of something that has just happened."""
        return boot_ns + self._offset

    def start_time(self, boot_ns: int) -> int:
        """Return nanoseconds since the epoch of a process's start."""
        return boot_ns + self._offsets[bisect_right(self._since, boot_ns) - 1]

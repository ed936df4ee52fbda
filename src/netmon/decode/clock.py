"""Converts the kernel's times (CLOCK_BOOTTIME, in nanoseconds) to UTC."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable

# A change of the offset from which on the clock must have been set: two readings of the clocks differ by far less.
STEP_NS = 1_000_000
MAX_STEPS = 1000  # how many changes are remembered


def _measure_offset(count: int = 3) -> int:
    """Return CLOCK_REALTIME - CLOCK_BOOTTIME in nanoseconds: of several readings, the quickest is the most exact."""
    readings = []
    for _ in range(count):
        before = time.clock_gettime_ns(time.CLOCK_REALTIME)
        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        after = time.clock_gettime_ns(time.CLOCK_REALTIME)
        readings.append((after - before, (before + after) // 2 - boot))
    return min(readings)[1]


class Clock:
    """Converts times by the offset of UTC from CLOCK_BOOTTIME, which runs during suspend and cannot be set.

    The offset changes only when UTC is set, since the kernel adjusts the speed of both clocks alike. A process's start
    is converted by the offset of that moment, so that all of its events have the same `start_time`.
    """

    def __init__(self, boot_offset_ns: int = 0) -> None:
        """Measure the offset.

        Args:
            boot_offset_ns: How far this process's CLOCK_BOOTTIME is ahead of the kernel's, in a time namespace.
        """
        self._boot_offset_ns = boot_offset_ns
        self.on_step: Callable[[int, int], None] | None = None  # is called with the arguments of step()
        self._begin(self._measure_offset())

    def _begin(self, offset: int) -> None:
        self._offset = offset
        self._since = [0]  # when (CLOCK_BOOTTIME) each of the offsets began
        self._offsets = [self._offset]

    def boot_time_ns(self) -> int:
        """Return the time of now by the kernel's CLOCK_BOOTTIME, in nanoseconds."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self._boot_offset_ns

    def _measure_offset(self, count: int = 3) -> int:
        """Return the offset of UTC from the kernel's CLOCK_BOOTTIME."""
        return _measure_offset(count) + self._boot_offset_ns

    def refresh(self) -> None:
        """Notice if the clock was set. Cheap enough to be called for each batch of records."""
        if abs(self._measure_offset(1) - self._offset) < STEP_NS:
            return
        offset = self._measure_offset()  # again, as this thread may have been interrupted between reading the clocks
        if abs(offset - self._offset) >= STEP_NS:
            self.step(self.boot_time_ns(), offset)

    @property
    def offset(self) -> int:
        """The offset of UTC now."""
        return self._offset

    def step(self, since: int, offset: int) -> None:
        """Use another offset. since: from when on (CLOCK_BOOTTIME)."""
        self._since.append(since)
        self._offsets.append(offset)
        self._offset = offset
        # Bounded, in case that something sets the clock all the time. The first stays: processes may be as old.
        del self._since[1:-MAX_STEPS], self._offsets[1:-MAX_STEPS]
        if self.on_step is not None:
            self.on_step(since, offset)

    def event_time(self, boot_ns: int) -> int:
        """Return the nanoseconds since the epoch of something that has just happened."""
        return boot_ns + self._offset

    def start_time(self, boot_ns: int) -> int:
        """Return the nanoseconds since the epoch of a process's start."""
        return boot_ns + self._offsets[bisect_right(self._since, boot_ns) - 1]


class RecordedClock(Clock):
    """A clock of another host or another time, which stands still until it is told a step."""

    def __init__(self, offset: int) -> None:
        """Make it. offset: of UTC from the kernel's CLOCK_BOOTTIME, at the beginning."""
        self.on_step = None
        self._boot_offset_ns = 0
        self._begin(offset)

    def refresh(self) -> None:
        """Notice nothing."""

"""What `netmon top` counts: a monitor's events, interval by interval; or a recording's, by its own time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from netmon.top.counts import HISTORY, KEEP_ENDED, Top

if TYPE_CHECKING:
    from netmon.monitor import Monitor

OnTick = Callable[[str], None]


class Feed(Protocol):
    """Fills a Top.

    Attributes:
        top: What is filled.
        status: What there is to say about it; harmless.
    """

    top: Top
    status: str

    def run(self, on_tick: OnTick, lock: AbstractContextManager[Any]) -> None:
        """Count events until stop(), or until there are no more; a last interval ends then. Raises NetmonError.

        Args:
            on_tick: Is called after each interval, in this thread, without the lock, with the time as in events.
            lock: Is held while something is counted.
        """

    def stop(self) -> None:
        """End it soon. Any thread, and signal handlers, may call it."""

    def summary(self) -> str:
        """Return what was read and lost, in words."""

    def was_blind(self) -> bool:
        """Return whether the kernel did not run netmon's programs all the time."""


def _summary(monitor: Monitor) -> str:
    return f"{monitor.counters.connection_events} events, {monitor.losses.describe()}"


class LiveFeed:
    """A monitor that has been started: until it is stopped, and all that it had reported by then is counted."""

    def __init__(self, monitor: Monitor, interval: float, top: Top, count: int | None = None) -> None:
        """Make it.

        Args:
            monitor: Started.
            interval: In seconds.
            top: Whose clock is time.monotonic().
            count: How many intervals there are; None: until stop(). The last one has all that was reported by its end.
        """
        self.top = top
        self._count = count
        self.status = ""
        self._monitor = monitor
        self._interval = interval

    def run(self, on_tick: OnTick, lock: AbstractContextManager[Any]) -> None:
        """See Feed."""
        due = self.top.time + self._interval
        stopped = False
        while not stopped:
            stopped = self._monitor.stopped  # before the last reading, which drains
            self._read(due, lock, to_the_end=stopped)
            now = time.monotonic()
            if now >= due and not stopped and self.top.ticks + 1 == self._count:
                self._monitor.stop()
            elif stopped or now >= due:
                with lock:
                    self.status = self._monitor.blind or self._monitor.record_problem
                    self.top.tick(now)
                due = max(due + self._interval, now)  # it has not kept up if that is now
                on_tick(_utc(time.time()))

    def _read(self, due: float, lock: AbstractContextManager[Any], *, to_the_end: bool) -> None:
        from orjson import loads  # slow to import

        for lines in self._monitor.json_lines(timeout=max(0.0, due - time.monotonic())):
            with lock:
                for line in lines:
                    self.top.add(loads(line))
            if time.monotonic() >= due and not to_the_end:
                return

    def stop(self) -> None:
        """Stop the monitor."""
        self._monitor.stop()

    def summary(self) -> str:
        """See Feed."""
        return _summary(self._monitor)

    def was_blind(self) -> bool:
        """See Feed."""
        return bool(self._monitor.losses.blind_ms)


class ReplayFeed:
    """A recording that is replayed. Its intervals are those of the time when it was recorded."""

    def __init__(
        self,
        monitor: Monitor,
        interval: float,
        top: Top,
        count: int | None = None,
        passes: Callable[[dict[str, Any]], bool] | None = None,
        *,
        paced: bool = False,
    ) -> None:
        """Make it.

        Args:
            monitor: Monitor.replay(), started.
            interval: In seconds.
            top: Whose clock is the recording's.
            count: How many intervals there are, at most; None: all.
            passes: Tells whether an event is counted; None: all are.
            paced: Whether an interval takes as long as it did then.
        """
        self.top = top
        self.status = "replay"
        self._monitor = monitor
        self._interval = interval
        self._count = count
        self._passes = passes
        self._paced = paced
        self._stopped = threading.Event()

    def run(self, on_tick: OnTick, lock: AbstractContextManager[Any]) -> None:
        """See Feed."""
        from orjson import loads  # slow to import

        due: float | None = None
        for lines in self._monitor.json_lines():
            for line in lines:
                event = loads(line)
                at = _seconds(event["timestamp"])
                if due is None:
                    self.top.time, due = at, at + self._interval
                while at >= due and not self._stopped.is_set():
                    self._end_interval(due, on_tick, lock)
                    due = self._after(due, at)
                if self._stopped.is_set():
                    return
                if self._passes is None or self._passes(event):
                    with lock:
                        self.top.add(event)
        if due is not None:
            self._end_interval(due, on_tick, lock)
        self.status = "end of the recording"

    def _after(self, due: float, at: float) -> float:
        """Return when the next interval ends: of a time without events only as much passes as changes something."""
        return max(due + self._interval, at - (HISTORY + 1) * self._interval - KEEP_ENDED)

    def _end_interval(self, now: float, on_tick: OnTick, lock: AbstractContextManager[Any]) -> None:
        if self._paced and self._stopped.wait(self._interval):
            return
        with lock:
            self.top.tick(now)
        on_tick(_utc(now))
        if self.top.ticks == self._count:
            self.stop()

    def stop(self) -> None:
        """End it, also while it waits."""
        self._stopped.set()

    def summary(self) -> str:
        """See Feed."""
        return _summary(self._monitor)

    def was_blind(self) -> bool:
        """See Feed."""
        return bool(self._monitor.losses.blind_ms)


NO_LOCK: AbstractContextManager[None] = nullcontext()


def _seconds(timestamp: str) -> float:
    """Return the Unix time of an event's time."""
    from datetime import datetime  # slow to import

    return datetime.fromisoformat(f"{timestamp[:-1]}+00:00").timestamp()


def _utc(seconds: float) -> str:
    """Return a time as events have it."""
    from datetime import datetime, timezone  # slow to import

    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Waking the reader: one file descriptor that is readable while there is something to do, for any event loop."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import lru_cache
from select import EPOLLIN

from netmon.errors import NetmonError
from netmon.unpatched import unpatched

MAX_TIMEOUT = 1_000_000.0  # seconds: poll(2) counts milliseconds in an int

# struct itimerspec: the interval, which is not used here, and the time, each in seconds and nanoseconds.
ITIMERSPEC = struct.Struct("@4l")
UNKNOWN_DUE = float("nan")  # equal to no time, not even to itself
TFD_TIMER_ABSTIME = 1  # sys/timerfd.h: the time is absolute
TFD_TIMER_CANCEL_ON_SET = 2  # and the timer ends when its clock is set
NEVER = 1 << 62  # seconds: later than any time
DESCRIPTORS = 4  # that are waited for at once: Python allocates memory for a thousand otherwise
NSEC_PER_SEC = 1_000_000_000

NO_ASYNCIO = (
    "`async for` needs asyncio's event loop; in trio, await trio.lowlevel.wait_readable(monitor.fileno()) "
    "and call monitor.poll(0)"
)

(_epoll,) = unpatched(select, "epoll")


class Wakeup:
    """A descriptor that is readable while the ring buffer has records, from a set time on, and for ever after wake().

    It becomes readable when the system's clock is set, too; wait() and pause() deal with that and go on.

    The descriptors are closed with the last reference. So a thread that waits or wakes while another thread closes the
    monitor never uses a number that the kernel has given to another file.
    """

    def __init__(self, ring_fd: int, on_clock_set: Callable[[], None]) -> None:
        """Watch a ring buffer's descriptor.

        Args:
            ring_fd: The descriptor.
            on_clock_set: Is called when CLOCK_REALTIME has been set: at once, if a thread waits or pauses.

        Raises:
            OSError: The process has no more file descriptors.
        """
        with ExitStack() as made:
            self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            made.callback(os.close, self._wake_fd)
            self._timer_fd = _make_timer(time.CLOCK_MONOTONIC)
            made.callback(os.close, self._timer_fd)
            self._clock_fd = _make_timer(time.CLOCK_REALTIME)
            made.callback(os.close, self._clock_fd)
            _watch_clock(self._clock_fd)
            self._epoll = _make_epoll(ring_fd, self._wake_fd, self._timer_fd, self._clock_fd)
            self._pausing = _make_epoll(self._wake_fd, self._clock_fd)
            weakref.finalize(self, made.pop_all().close).atexit = False
        self._on_clock_set = on_clock_set
        self._timer_due: float | None = None
        self._awaited = False

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._epoll.fileno()

    def wake(self) -> None:
        """Make it readable for ever; from any thread or signal handler."""
        os.eventfd_write(self._wake_fd, 1)

    def set_timer(self, due: float | None) -> None:
        """Make it readable from a time on (time.monotonic()), in place of the time set before; None: at no time."""
        if due != self._timer_due:
            self._timer_due = UNKNOWN_DUE  # until it is set: a signal handler may raise in between
            _set_timer(self._timer_fd, due)
            self._timer_due = due

    def wait(self, seconds: float | None) -> bool:
        """Wait until it is readable, so many seconds at most; return whether it is."""
        return self._wait(self._epoll, seconds)

    def pause(self, seconds: float) -> None:
        """Sleep until wake(), so many seconds at most."""
        self._wait(self._pausing, seconds)

    async def wait_async(self, seconds: float | None) -> bool:
        """Wait like wait(), in asyncio's event loop. Raises NetmonError when there is none."""
        return await self._wait_async(self._epoll, seconds)

    async def pause_async(self, seconds: float) -> None:
        """Sleep like pause(), in asyncio's event loop."""
        await self._wait_async(self._pausing, seconds)

    def _wait(self, epoll: select.epoll, seconds: float | None) -> bool:
        """Wait until one of the descriptors but the clock's is readable; return whether one is."""
        deadline = deadline_in(seconds)
        while self._clock_fd in (ready := dict(epoll.poll(seconds, DESCRIPTORS))):
            with suppress(OSError):  # ECANCELED: the clock was set
                os.read(self._clock_fd, 8)
            _watch_clock(self._clock_fd)
            self._on_clock_set()
            seconds = left_until(deadline)
        return bool(ready)

    async def _wait_async(self, epoll: select.epoll, seconds: float | None) -> bool:
        deadline = deadline_in(seconds)
        while await self._await(epoll.fileno(), left_until(deadline)):
            if self._wait(epoll, 0):
                return True
        return False

    async def _await(self, fd: int, seconds: float | None) -> bool:
        """Wait until a descriptor is readable; return whether it is."""
        import asyncio  # slow to import

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise NetmonError(NO_ASYNCIO) from None
        if self._awaited:  # the loop keeps one reader for each descriptor
            raise NetmonError("another task iterates over this monitor: read in one task, and pass the events on")
        readable: asyncio.Future[bool] = loop.create_future()
        loop.add_reader(fd, lambda: None if readable.done() else readable.set_result(True))
        self._awaited = True
        try:
            await asyncio.wait((readable,), timeout=seconds)
        finally:
            self._awaited = False
            loop.remove_reader(fd)
        return readable.done()


def bounded(timeout: float | None) -> float | None:
    """Return a timeout within what the kernel takes."""
    return None if timeout is None else min(max(timeout, 0.0), MAX_TIMEOUT)


def deadline_in(seconds: float | None) -> float | None:
    """Return the time (time.monotonic()) in so many seconds; None: no deadline."""
    return None if seconds is None else time.monotonic() + seconds


def left_until(deadline: float | None) -> float | None:
    """Return the seconds until a deadline, 0 once it is over; None: no deadline."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _make_epoll(*fds: int) -> select.epoll:
    epoll: select.epoll = _epoll()
    for fd in fds:
        epoll.register(fd, EPOLLIN)
    return epoll


def _make_timer(clock: int) -> int:
    """Return a timer's descriptor. Python has os.timerfd_create from 3.13 on only."""
    fd = int(_libc().timerfd_create(clock, os.O_CLOEXEC | os.O_NONBLOCK))
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def _set_timer(fd: int, due: float | None) -> None:
    # All zeros disarm a timer.
    due_ns = max(1, int(due * NSEC_PER_SEC)) if due is not None else 0
    _libc().timerfd_settime(fd, TFD_TIMER_ABSTIME, ITIMERSPEC.pack(0, 0, *divmod(due_ns, NSEC_PER_SEC)), None)


def _watch_clock(fd: int) -> None:
    """Make a timer of CLOCK_REALTIME readable once the clock is set."""
    flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
    _libc().timerfd_settime(fd, flags, ITIMERSPEC.pack(0, 0, NEVER, 0), None)

"""Reading the ring buffer batch by batch, and the forms in which a monitor hands on what is read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

from netmon.batch import Batch
from netmon.decode.clock import Clock
from netmon.decode.processes import ProcessTable
from netmon.errors import NetmonError
from netmon.kernel.probes import Probes
from netmon.losses import Losses
from netmon.reader.reporters import Report, Reporter
from netmon.reader.wakeup import Readiness, deadline_in, left_until

T = TypeVar("T")

MAX_TIMEOUT = 1_000_000.0  # seconds: poll(2) counts milliseconds in an int
# How long (seconds) a record that a program has begun may take, when the probes are detached, and how often to look.
FINISH_LIMIT, FINISH_STEP = 1.0, 0.001
# Bytes read at once: a bound on memory whatever the kernel's pace.
BATCH_LIMIT = 256 << 10
# Beside other tasks: a batch is decoded in one go, and the others wait.
ASYNC_BATCH_LIMIT = 64 << 10


class Turn:
    """Held by one thread at a time, which may take it again. Entering raises NetmonError in another one."""

    __slots__ = ("_depth", "thread")

    def __init__(self) -> None:
        self._depth = 0
        self.thread: int | None = None

    def __enter__(self) -> None:
        # No lock: a signal handler that raises could leave it locked.
        me = threading.get_ident()
        if self.thread not in (None, me):
            raise NetmonError("this monitor is being read by another thread: one at a time may")
        self.thread = me
        self._depth += 1

    def __exit__(self, *_error: object) -> None:
        self._depth -= 1
        if not self._depth:
            self.thread = None


class Reader:
    """Waits for records, lets others join them, and reads them; once stopped, until all that was reported is read.

    For one thread at a time, but for stop(), close() and what only looks.
    """

    def __init__(
        self,
        probes: Probes,
        clock: Clock,
        processes: ProcessTable,
        reporters: Sequence[Reporter],
        ring_size: int,
        batch_delay: float,
    ) -> None:
        """Take over the probes: close() closes them. Raises OSError."""
        # None once closed: those who still wait have their own reference.
        self._readiness: Readiness | None = Readiness(probes.ring.fileno())
        self.probes = probes
        self.reporters = reporters
        self.stopping = False
        self._pid = os.getpid()
        self._clock = clock
        self._processes = processes
        self._ring_size = ring_size
        self._batch_delay = batch_delay
        self._delay = batch_delay
        # Now, as far as there is room: what is closed before the walk has come to it is not told.
        self._walking = probes.report_existing()
        self._more = self._walking  # there is more to read for sure
        self._read_since_wait = 0  # bytes
        self._closed = False
        # Held while the probes' memory is used: close() may come from another thread.
        self._lock = threading.RLock()
        self._turn = Turn()

    @property
    def forked(self) -> bool:
        """Whether this is a copy in a forked child, which shares the ring buffer's positions with the original."""
        return os.getpid() != self._pid

    def require_own(self) -> None:
        """Raise NetmonError in a forked child."""
        if self.forked:
            raise NetmonError(
                "this monitor is the parent process's: a forked child can only close it, and start its own"
            )

    @property
    def _reading(self) -> Turn:
        """Held, this thread waits or reads. Raises NetmonError in a forked child."""
        self.require_own()
        return self._turn

    @property
    def usable(self) -> AbstractContextManager[object]:
        """Held, the probes are not closed meanwhile. A forked child may have been left a lock that nobody opens."""
        return nullcontext() if self.forked else self._lock

    @property
    def batch(self) -> Batch:
        """What was read last."""
        return self.probes.ring.batch

    @property
    def finished(self) -> bool:
        """Whether nothing will follow this batch: closed, or stopped and all read."""
        return self._closed or (self.stopping and not self.probes.attached and not self._more)

    @property
    def must_wait(self) -> bool:
        """Whether it is not known that there is something to read."""
        return not (self._more or self.stopping or self._closed)

    @property
    def waiting(self) -> int:
        """How many bytes of records wait."""
        with self.usable:
            return 0 if self._closed else self.probes.ring.waiting

    def set_oldest(self, process_id: int) -> None:
        """Have the kernel describe again the processes whose id is below this one."""
        with self.usable:
            if not self._closed and not self.forked:
                self.probes.set_oldest_process_id(process_id)

    def read_losses(self, unknown_process: int) -> Losses | None:
        """Return the losses so far; None once closed."""
        with self.usable:
            return None if self._closed else self.probes.read_losses(unknown_process)

    def collect(self) -> list[Report]:
        """Return what the reporters have to say, the batch being decoded."""
        with self.usable:
            if self._closed:
                return []
            return [report for reporter in self.reporters for report in reporter.collect(not self._more, self.stopping)]

    def stop(self) -> None:
        """Have it finish; from any thread or signal handler. A forked child leaves the original alone."""
        self.stopping = True
        readiness = self._readiness
        if readiness is not None and not self.forked:
            readiness.wake()

    def close(self) -> None:
        """Detach the probes and free everything, at once; whoever waits finds that there is nothing more."""
        self.stop()
        with self.usable:
            self._closed = True
            self._readiness = None
            self.probes.close()

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is something to do. Raises NetmonError once closed."""
        readiness = self._readiness
        if readiness is None:
            raise NetmonError("this monitor is closed")
        return readiness.fileno()

    def set_timer(self, reporters: Sequence[Reporter]) -> None:
        """Be ready when one of them has to report, and at once when there is more to read."""
        due = [due for reporter in reporters if (due := reporter.due()) is not None]
        due += [0.0] * self._more
        if (readiness := self._readiness) is not None:
            readiness.set_timer(min(due, default=None))

    def wait(self, reporters: Sequence[Reporter], deadline: float | None, gather_until: float | None = None) -> bool:
        """Wait for records, then for others to join them, or for a report to be due. False when the deadline passes.

        gather_until: the deadline of waiting for the others, if there is one.
        """
        with self._reading:
            self.set_timer(reporters)
            if (readiness := self._readiness) is None:
                return True
            if not readiness.wait(left_until(deadline)):
                return False
            left = left_until(gather_until)
            readiness.pause(self._delay if left is None else min(self._delay, left))
            return True

    async def wait_async(self, reporters: Sequence[Reporter], deadline: float | None) -> bool:
        """Wait as wait() does, in asyncio's event loop."""
        with self._reading:
            self.set_timer(reporters)
            if (readiness := self._readiness) is None:
                return True
            if not await readiness.wait_async(left_until(deadline)):
                return False
            await readiness.pause_async(self._delay)
            return True

    def read(self, reporters: Sequence[Reporter], limit: int = BATCH_LIMIT) -> bool:
        """Read the next batch, of some limit bytes at most. False when nothing follows: see finished."""
        with self._reading, self.usable:
            if self.finished:
                return False
            if self.stopping and self.probes.attached:
                self.probes.detach()
                self._finish_by = time.monotonic() + FINISH_LIMIT
            for reporter in reporters:
                reporter.prepare(self.stopping)
            if self._walking:
                self._walking = self.probes.report_existing() and not self.stopping
            self._more = self.probes.ring.fill(limit) or self._walking
            if self.stopping and not self._more:
                self._more = self._wait_for_unfinished()
            size = self.batch.size
            self._clock.refresh()
            self._processes.note_consumed(size)
            self._adapt_delay(size)
        return True

    def _wait_for_unfinished(self) -> bool:
        """Give a program that was preempted while it writes a record time to finish. Whether there is one."""
        if not self.probes.ring.waiting or time.monotonic() > self._finish_by:
            return False
        time.sleep(FINISH_STEP)
        return True

    def _adapt_delay(self, size: int) -> None:
        """Wait less the next time when a wait has let much of the ring buffer fill, longer again when not."""
        self._read_since_wait += size
        if self._more:
            return
        if self._read_since_wait > self._ring_size // 4:
            self._delay = max(self._delay / 2, min(0.001, self._batch_delay))
        else:
            self._delay = min(self._batch_delay, self._delay * 2)
        self._read_since_wait = 0


class Stream(Generic[T]):
    """What a monitor tells, in one form: iterate by `for`, or by `async for` in asyncio.

    An iteration that is broken off, or cancelled, can be taken up again by another one: nothing is lost between them.
    """

    def __init__(
        self,
        reader: Callable[[], Reader],
        decode: Callable[[Batch], Iterator[T]],
        timeout: float | None,
        *,
        reporting: bool = True,
    ) -> None:
        """reader: asked when an iteration begins. decode: also of the batch that another iteration has left.

        reporting: decode() reports, too, so that reports that are due end the waiting.
        """
        self._reader = reader
        self._decode = decode
        self._timeout = bounded(timeout)
        self._reporting = reporting

    def _begin(self) -> tuple[Reader, Sequence[Reporter]]:
        reader = self._reader()
        return reader, reader.reporters if self._reporting else ()

    def __iter__(self) -> Iterator[T]:
        reader, reporters = self._begin()
        deadline = deadline_in(self._timeout)
        while True:
            batch = reader.batch
            yield from self._decode(batch)
            if batch.size:
                deadline = deadline_in(self._timeout)
            if reader.must_wait and not reader.wait(reporters, deadline):
                return
            if not reader.read(reporters):
                return

    async def __aiter__(self) -> AsyncIterator[T]:
        import asyncio  # slow to import

        reader, reporters = self._begin()
        deadline = deadline_in(self._timeout)
        while True:
            batch = reader.batch
            for item in self._decode(batch):
                yield item
            if batch.size:
                deadline = deadline_in(self._timeout)
            if not reader.must_wait:
                await asyncio.sleep(0)  # let others run
            elif not await reader.wait_async(reporters, deadline):
                return
            if not reader.read(reporters, ASYNC_BATCH_LIMIT):
                return


def bounded(timeout: float | None) -> float | None:
    """Return a timeout that the kernel takes."""
    return None if timeout is None else min(max(timeout, 0.0), MAX_TIMEOUT)

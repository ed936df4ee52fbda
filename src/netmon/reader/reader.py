"""Reads the source's records batch by batch, waits for more, and ends cleanly."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from netmon.batch import Batch
from netmon.decode.clock import Clock
from netmon.errors import NetmonError
from netmon.losses import Losses
from netmon.reader.progress import Progress
from netmon.reader.reporters import Reporter
from netmon.reader.wakeup import Wakeup, left_until

if TYPE_CHECKING:
    from netmon.kernel.bpf import ProgramInfo
    from netmon.reader.reporters import ReportedEvent
    from netmon.reader.source import Source

# Seconds: how long to wait, after detaching, for a program that has begun to write a record, and how often to look.
FINISH_LIMIT, FINISH_STEP = 1.0, 0.001
# Bytes of a batch: bounds the memory, however fast the kernel writes.
BATCH_LIMIT = 256 << 10


class SingleReader:
    """A guard that one thread at a time holds, as often as it likes. Entering it in another raises NetmonError."""

    __slots__ = ("_depth", "thread")

    def __init__(self) -> None:
        self._depth = 0
        self.thread: int | None = None

    def __enter__(self) -> None:
        # Not a lock: a signal handler that raises could leave it locked.
        me = threading.get_ident()
        if self.thread not in (None, me):
            raise NetmonError("another thread reads this monitor: one thread at a time can")
        self.thread = me
        self._depth += 1

    def __exit__(self, *_error: object) -> None:
        self._depth -= 1
        if not self._depth:
            self.thread = None


class Reader:
    """Waits for records and reads them in batches; once stopped, until the last record is read.

    One thread at a time waits and reads. Any thread may call stop() and close(), and read the counts.
    """

    def __init__(
        self,
        source: Source,
        clock: Clock,
        note_read: Callable[[int], None],
        reporters: Sequence[Reporter],
        ring_size: int,
        batch_delay: float,
        progress: float | None = None,
        record: Callable[[Batch], None] = lambda _batch: None,
    ) -> None:
        """Take over an attached source, which close() closes.

        Args:
            source: Where the records come from.
            clock: Is refreshed with each batch, and at once when UTC is set.
            note_read: Is called with the size of each batch, in bytes.
            reporters: Report beside the events, in this order.
            ring_size: Size of the source's buffer, in bytes.
            batch_delay: Seconds that a first record waits for others to be read with it, at most.
            progress: Seconds between two reports of what open connections have carried; None: there are none.
            record: Is called with each batch before it is decoded; with the same one again, if an exception, such as a
                signal handler's, came in between.

        Raises:
            OSError: The process has no more file descriptors.
        """
        # None once closed: a thread that still waits has a reference of its own.
        self._wakeup: Wakeup | None = Wakeup(source.ring.fileno(), clock.refresh)
        self.source = source
        self.reporters = reporters
        self.stopping = False
        self._pid = os.getpid()
        self._clock = clock
        self._note_read = note_read
        self._ring_size = ring_size
        self._batch_delay = batch_delay
        self._delay = batch_delay
        self._record = record
        # Begun here, not at the first read: a connection that is closed before the walk finds it is not reported.
        self._walking = source.report_existing()
        self._more = self._walking  # whether there is certainly more to read
        self._read_since_wait = 0  # bytes
        self._finish_by: float | None = None  # until when (time.monotonic()) to wait for the last records
        self._progress = Progress(source, progress)
        self._closed = False
        # Held while the source's memory is used: another thread may call close().
        self._lock = threading.RLock()
        self._single_reader = SingleReader()

    @property
    def forked(self) -> bool:
        """Whether this is a copy in a forked child, which shares the ring buffer's positions with the original."""
        return os.getpid() != self._pid

    def require_own(self) -> None:
        """Raise NetmonError in a forked child."""
        if self.forked:
            raise NetmonError("this monitor belongs to the parent process: a forked child can only close it")

    @property
    def _reading(self) -> SingleReader:
        """The guard to hold while waiting or reading. Raises NetmonError in a forked child."""
        self.require_own()
        return self._single_reader

    @property
    def _open(self) -> AbstractContextManager[object]:
        """The lock to hold so that the source is not closed meanwhile. In a forked child it may be locked for ever."""
        return nullcontext() if self.forked else self._lock

    @property
    def batch(self) -> Batch:
        """The batch that was read last."""
        return self.source.ring.batch

    @property
    def finished(self) -> bool:
        """Whether no batch will follow this one: closed, or stopped and all read."""
        return self._closed or (self._finish_by is not None and not self._more)

    @property
    def must_wait(self) -> bool:
        """Whether there may be nothing to read."""
        return not (self._more or self.stopping or self._closed)

    @property
    def waiting(self) -> int:
        """How many bytes of records have not been read."""
        with self._open:
            return 0 if self._closed else self.source.ring.waiting

    def set_oldest(self, process_id: int) -> None:
        """Make the source describe the processes whose id is below this one again."""
        with self._open:
            if not self._closed and not self.forked:
                self.source.set_oldest_process_id(process_id)

    def read_losses(self) -> Losses | None:
        """Return the source's losses so far; None once closed."""
        with self._open:
            return None if self._closed else self.source.read_losses()

    def program_infos(self) -> list[ProgramInfo]:
        """Return what the kernel reports about each loaded program; nothing once closed."""
        with self._open:
            return [] if self._closed else self.source.program_infos()

    @property
    def blind(self) -> str:
        """Why the source writes no records although it is attached; "" if it writes them, and once closed."""
        with self._open:
            return "" if self._closed or self.forked else self.source.blind

    @property
    def inexact(self) -> str:
        """Why the bytes of closes may be off; "" if they are exact or not counted, and once closed."""
        with self._open:
            return "" if self._closed or self.forked else self.source.inexact

    def collect(self, reports: deque[ReportedEvent]) -> None:
        """Append the reports that are due, the batch being decoded."""
        with self._open:
            for reporter in () if self._closed else self.reporters:
                # One by one: an exception in a reporter, such as a signal handler's, does not lose another's reports.
                reports.extend(reporter.collect(not self._more, self._finish_by is not None))

    def stop(self) -> None:
        """Make reading end after the last record; from any thread or signal handler. No effect in a forked child."""
        self.stopping = True
        wakeup = self._wakeup
        if wakeup is not None and not self.forked:
            wakeup.wake()

    def close(self) -> None:
        """Detach and free the source at once; a thread that waits finds that there is nothing more. Idempotent."""
        self.stop()
        with self._open:
            self._closed = True
            self._wakeup = None
            self.source.close()

    def fileno(self) -> int:
        """Return a descriptor that is readable while there is something to do. Raises NetmonError once closed."""
        wakeup = self._wakeup
        if wakeup is None:
            raise NetmonError("this monitor is closed")
        return wakeup.fileno()

    def set_timer(self, reporters: Sequence[Reporter]) -> None:
        """Make fileno() readable when a report is due, and at once when there is more to read."""
        times = [self._progress.due(), *(reporter.due() for reporter in reporters)]
        due = [time for time in times if time is not None]
        due += [0.0] * self._more
        if (wakeup := self._wakeup) is not None:
            wakeup.set_timer(min(due, default=None))

    def wait(self, reporters: Sequence[Reporter], deadline: float | None, gather_until: float | None = None) -> bool:
        """Wait for records, then for others to join them, or for a due report. Return False if the deadline passes.

        deadline, gather_until: of waiting for the first and for the others (time.monotonic()); None: no deadline.
        """
        with self._reading:
            self.set_timer(reporters)
            if (wakeup := self._wakeup) is None:
                return True
            if not wakeup.wait(left_until(deadline)):
                return False
            left = left_until(gather_until)
            wakeup.pause(self._delay if left is None else min(self._delay, left))
            return True

    async def wait_async(self, reporters: Sequence[Reporter], deadline: float | None) -> bool:
        """Wait like wait(), in asyncio's event loop."""
        with self._reading:
            self.set_timer(reporters)
            if (wakeup := self._wakeup) is None:
                return True
            if not await wakeup.wait_async(left_until(deadline)):
                return False
            await wakeup.pause_async(self._delay)
            return True

    def read(self, reporters: Sequence[Reporter], limit: int = BATCH_LIMIT) -> bool:
        """Read the next batch, some limit bytes at most. Return False when finished."""
        with self._reading, self._open:
            if self.finished:
                return False
            self._record(self.batch)
            stopping = self.stopping  # stop() may be called at any moment: after this one, the next batch ends it
            if stopping and self._finish_by is None:
                self._more = True  # until the last batch is read: an exception may come first
                if not self._progress.finish():  # while closes are still seen
                    self.source.detach()
                    self._finish_by = time.monotonic() + FINISH_LIMIT
            detached = self._finish_by is not None
            for reporter in reporters:
                reporter.prepare(detached)
            if self._walking:
                self._walking = self.source.report_existing() and not stopping
            looking = not detached if stopping else self._progress.look()
            self._more = self.source.ring.fill(limit) or self._walking or looking
            if self._finish_by is not None and not self._more:
                self._more = self._wait_for_unfinished(self._finish_by)
            size = self.batch.size
            self._clock.refresh()
            self._record(self.batch)
            self._note_read(size)
            self._adapt_delay(size)
        return True

    def _wait_for_unfinished(self, until: float) -> bool:
        """Give a program that was preempted while writing a record time to finish; return whether there is one."""
        if not self.source.ring.waiting or time.monotonic() > until:
            return False
        time.sleep(FINISH_STEP)
        return True

    def _adapt_delay(self, size: int) -> None:
        """Shorten the delay if the ring buffer filled much during it; else lengthen it again."""
        self._read_since_wait += size
        if self._more:
            return
        if self._read_since_wait > self._ring_size // 4:
            self._delay = max(self._delay / 2, min(0.001, self._batch_delay))
        else:
            self._delay = min(self._batch_delay, self._delay * 2)
        self._read_since_wait = 0

"""The kernel's ring buffer, read in place: what waits there is one copy, whatever the number of records.

The layout is that of kernel/bpf/ringbuf.c: a page with the consumer's position, one with the producer's, and the data,
mapped twice in a row so that no record is ever split. libbpf would call back for each record, which costs Python
more than to decode it.
"""

from __future__ import annotations

import mmap
from threading import Lock
from types import TracebackType
from typing import Any

from netmon.batch import ALIGNMENT, HEADER, Batch
from netmon.errors import NetmonError

BUSY = 1 << 31
DISCARDED = 1 << 30
_WORD = 4
LONG_RUN = 16  # records of one length: there will be more


def _barrier() -> None:
    """Order what was read before it against what is read and written after it.

    x86 does so by itself, for what Python does. arm64 orders all that precedes a release, the release before a later
    acquire, and that before all that follows. A system call would not do: entering the kernel is no barrier there.
    """
    lock = Lock()
    lock.acquire()
    lock.release()
    lock.acquire()


def _count_first(words: memoryview[Any], value: int) -> int:
    """Return how many of the words, from the first on, have this value: quicker than to look at each in turn."""
    count, window = 0, 16
    while count < len(words):
        some = words[count : count + window].tolist()
        if some.count(value) < len(some):
            return count + next(i for i, word in enumerate(some) if word != value)
        count += len(some)
        window *= 4
    return count


class RingBuffer:
    """Reads a ring-buffer map: for one thread at a time.

    An exception that interrupts reading, such as a signal handler's, loses no record and repeats none.
    """

    def __init__(self, map_fd: int, size: int) -> None:
        """size: the map's, in bytes. The descriptor stays the caller's. Raises OSError when it cannot be mapped."""
        self._fd = map_fd
        self._mask = size - 1
        page = mmap.PAGESIZE
        self._consumer = memoryview(mmap.mmap(map_fd, page)).cast("L")
        pages = memoryview(mmap.mmap(map_fd, page + 2 * size, prot=mmap.PROT_READ, offset=page))
        self._producer = pages[:page].cast("L")
        self._data = pages[page:]
        self._words = self._data.cast("I")
        self._views: tuple[memoryview[Any], ...] = (self._words, self._data, self._producer, pages, self._consumer)
        self.batch = Batch(b"", (), self._consumer[0], 0)

    def fileno(self) -> int:
        """Return a file descriptor that is readable when records wait. Raises NetmonError after close()."""
        self._require_open()
        return self._fd

    def _require_open(self) -> None:
        if not self._views:
            raise NetmonError("RingBuffer is closed")

    @property
    def waiting(self) -> int:
        """How many bytes of records wait, unfinished ones among them."""
        return int(self._producer[0]) - self.batch.end

    def fill(self, limit: int) -> bool:
        """Take the records that wait, up to the one in which they come to limit bytes, into self.batch. Never blocks.

        The batch before it, whose records are to have been taken, is dropped. Returns whether the limit was reached.
        Raises NetmonError after close().
        """
        self._require_open()
        # The last batch knows it for sure: storing the position may have been interrupted.
        start = self.batch.end
        waiting = self._producer[0] - start
        _barrier()  # the producer's position before the headers below it
        begin = start & self._mask
        words = self._words
        offsets: list[int] = []
        append = offsets.append
        at, end, last = 0, min(waiting, limit), -1
        while at < end:
            length = words[(begin + at) // _WORD]
            if length != last:
                if length & BUSY:
                    break
                step = HEADER.size + ((length & ~DISCARDED) + ALIGNMENT - 1 & -ALIGNMENT)
                last, long_run = length, at + LONG_RUN * step
            elif at >= long_run:
                same = _count_first(words[(begin + at) // _WORD : -(-(begin + end) // _WORD) : step // _WORD], length)
                if length < DISCARDED:
                    offsets.extend(range(at, at + same * step, step))
                at += same * step
                continue
            if length < DISCARDED:
                append(at)
            at += step
        _barrier()  # the headers before the records that they declare complete
        data = self._data[begin : begin + at].tobytes()
        _barrier()  # the copy before the kernel may write there again
        self.batch = Batch(data, offsets, start + at, self.batch.count + len(offsets))
        self._consumer[0] = start + at
        return at >= limit

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unmap it; the batch stays. Twice is fine."""
        views, self._views = self._views, ()
        for view in views:
            view.release()

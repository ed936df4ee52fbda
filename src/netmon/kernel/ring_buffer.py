"""Reads the kernel's ring buffer in place: all waiting records are copied at once, not one by one.

The layout is that of kernel/bpf/ringbuf.c: a page with the consumer's position, a page with the producer's position,
and the data, mapped twice in a row so that no record is split. libbpf calls back for each record, which takes Python
longer than decoding the record.
"""

from __future__ import annotations

import mmap
from threading import Lock
from typing import Any

from netmon.batch import ALIGNMENT, BUSY, DISCARDED, HEADER, Batch
from netmon.errors import NetmonError

_WORD = 4
LONG_RUN = 16  # after so many records of one length, expect more of it


def _barrier() -> None:
    """Order the memory reads before it with the reads and writes after it.

    x86 orders them by itself. arm64 orders all accesses before a release, the release before a later acquire, and the
    acquire before all later accesses: a lock does both. A system call is no barrier on arm64.
    """
    lock = Lock()
    lock.acquire()
    lock.release()
    lock.acquire()


def _count_first(words: memoryview[Any], value: int) -> int:
    """Return how many words at the beginning have this value; faster than a loop over them."""
    count, window = 0, 16
    while count < len(words):
        some = words[count : count + window].tolist()
        if some.count(value) < len(some):
            return count + next(i for i, word in enumerate(some) if word != value)
        count += len(some)
        window *= 4
    return count


class RingBuffer:
    """Reads a ring-buffer map, for one thread at a time.

    An exception amid reading, such as a signal handler's, neither loses nor repeats a record.
    """

    def __init__(self, map_fd: int, size: int) -> None:
        """Map the ring buffer.

        Args:
            map_fd: The map's file descriptor, which the caller keeps open.
            size: The map's size in bytes: a power of two.

        Raises:
            ValueError: The size is not a power of two.
            OSError: The map cannot be mapped.
        """
        if size.bit_count() != 1:
            raise ValueError(f"ring buffer of {size} bytes: not a power of two")
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
        """Return a file descriptor that is readable while records wait. Raises NetmonError after close()."""
        self._require_open()
        return self._fd

    def _require_open(self) -> None:
        if not self._views:
            raise NetmonError("RingBuffer is closed")

    @property
    def waiting(self) -> int:
        """How many bytes of records have not been read, unfinished records included."""
        return int(self._producer[0]) - self.batch.end

    def fill(self, limit: int) -> bool:
        """Read the waiting records into self.batch, which drops the previous batch. Never blocks.

        Args:
            limit: Stop after the record that makes it so many bytes.

        Returns:
            Whether the limit was reached: more records may wait.

        Raises:
            NetmonError: After close().
        """
        self._require_open()
        # Not the consumer's position: an exception may have prevented storing it.
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

    def close(self) -> None:
        """Unmap it; the batch stays valid. Idempotent."""
        views, self._views = self._views, ()
        for view in views:
            view.release()

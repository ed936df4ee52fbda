"""Reading a ring buffer in memory that is laid out as the kernel does; test_libbpf.py reads real ones."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netmon.batch import BUSY, DISCARDED, HEADER
from netmon.kernel.ring_buffer import RingBuffer
from tests.support.records import records_of

SIZE = 1 << 14  # bytes
PAGE = mmap.PAGESIZE


@contextmanager
def ring_of(start: int, records: list[tuple[int, bytes]]) -> Iterator[RingBuffer]:
    """Yield a ring buffer that was read up to start, where records wait, each with the length in its header."""
    data = bytearray(SIZE)
    at = start
    for length, record in records:
        for i, byte in enumerate(HEADER.pack(length) + record):
            data[(at + i) % SIZE] = byte
        at += room(record)
    fd = os.memfd_create("ring")
    try:
        os.pwrite(fd, struct.pack("=L", start), 0)
        os.pwrite(fd, struct.pack("=L", at), PAGE)
        os.pwrite(fd, data + data, 2 * PAGE)
        with closing(RingBuffer(fd, SIZE)) as ring:
            yield ring
    finally:
        os.close(fd)


def room(record: bytes) -> int:
    """Return the bytes that a record takes."""
    return HEADER.size + -(-len(record) // 8) * 8


# Runs of records: how many in a row, of which length, and whether they were discarded.
runs = st.tuples(st.integers(1, 90), st.sampled_from([0, 5, 48, 72, 200]), st.sampled_from([0, 0, 0, DISCARDED]))


@given(
    runs=st.lists(runs, max_size=12),
    start=st.integers(0, 3 * SIZE // 8).map(lambda words: 8 * words),
    limit=st.integers(1, SIZE),
    busy=st.booleans(),
)
@example(runs=[(150, 48, 0)], start=0, limit=SIZE, busy=False)
@example(runs=[(150, 48, 0)], start=SIZE - 24, limit=56 * 100 - 3, busy=True)
@example(runs=[(40, 48, DISCARDED), (40, 48, 0)], start=8, limit=SIZE, busy=True)
def test_reads_each_record_once(runs: list[tuple[int, int, int]], start: int, limit: int, busy: bool) -> None:
    sent: list[bytes] = []
    waiting: list[tuple[int, bytes]] = []
    size = 0
    for length, flag in [(length, flag) for count, length, flag in runs for _ in range(count)]:
        record = os.urandom(length)
        size += room(record)
        if size > SIZE - 56:
            break
        waiting.append((length | flag, record))
        if not flag:
            sent.append(record)
    if busy:
        waiting.append((48 | BUSY, bytes(48)))
    seen: list[bytes] = []
    with ring_of(start, waiting) as ring:
        more = True
        while more:
            more = ring.fill(limit)
            batch = list(records_of(ring.batch))
            assert sum(map(room, batch[:-1])) < limit
            seen += batch
    assert seen == sent


@pytest.mark.parametrize("size", [0, 3 << 12, SIZE - 1])
def test_refuses_a_size_that_is_no_power_of_two(size: int) -> None:
    """Positions are masked by the size."""
    with pytest.raises(ValueError, match=f"ring buffer of {size} bytes: not a power of two"):
        RingBuffer(-1, size)

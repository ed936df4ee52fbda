"""A batch of the ring buffer's records: what the reader hands to the decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import length_hint
from struct import Struct

from netmon.errors import DecodeError

# The kernel puts a header before each record: its length, with two flags, and a word of the kernel's own.
HEADER = Struct("=I4x")
ALIGNMENT = 8  # of each header
BUSY, DISCARDED = 1 << 31, 1 << 30  # flags in the length: the record is being written; it is to be skipped


def offsets_in(data: bytes) -> list[int]:
    """Return where in a batch's data the header of each record begins that was not discarded.

    Raises:
        DecodeError: The records do not fill the data.
    """
    offsets, at = [], 0
    while at < len(data):
        if len(data) - at < HEADER.size:
            raise DecodeError(f"a record's header is cut off at byte {at} of the batch")
        length = HEADER.unpack_from(data, at)[0]
        size = length & ~DISCARDED
        if size > len(data) - at - HEADER.size:
            raise DecodeError(f"a record of {size} bytes is cut off at byte {at} of the batch")
        if length == size:
            offsets.append(at)
        at += HEADER.size + (size + ALIGNMENT - 1 & -ALIGNMENT)
    return offsets


class Batch:
    """Records as one piece of memory, and where each of them begins.

    `offsets` is an iterator: iterating over it takes the records, and the next iteration continues with those left.
    """

    __slots__ = ("count", "data", "end", "offsets", "size")

    def __init__(self, data: bytes, offsets: Sequence[int], end: int, count: int) -> None:
        """Make a batch.

        Args:
            data: The records, each preceded by a HEADER.
            offsets: Where in data each header begins.
            end: The position in the ring buffer that follows the batch.
            count: How many records were read up to there, those of earlier batches included.
        """
        self.data = data
        self.offsets: Iterator[int] = iter(offsets)
        self.end = end
        self.count = count
        self.size = len(data)

    @property
    def left(self) -> int:
        """How many of its records are not yet taken."""
        return length_hint(self.offsets)

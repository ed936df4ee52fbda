"""A batch of the ring buffer's records: what the reader hands to the decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import length_hint
from struct import Struct

# The kernel puts a header before each record: its length, with two flags, and a word of the kernel's own.
HEADER = Struct("=I4x")
ALIGNMENT = 8  # of each header


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

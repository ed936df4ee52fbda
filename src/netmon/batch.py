"""A batch of the ring buffer's records, as one piece of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import length_hint
from struct import Struct

# Before each record: its length, with two flags, and a word of the kernel's own.
HEADER = Struct("=I4x")
ALIGNMENT = 8


class Batch:
    """Records in one piece. offsets: where each begins in data, with its HEADER; those not yet taken."""

    __slots__ = ("count", "data", "end", "offsets", "size")

    def __init__(self, data: bytes, offsets: Sequence[int], end: int, count: int) -> None:
        """end: the position in the ring buffer that follows. count: of all records read up to there."""
        self.data = data
        self.offsets: Iterator[int] = iter(offsets)
        self.end = end
        self.count = count
        self.size = len(data)

    @property
    def left(self) -> int:
        """How many of its records were not yet taken."""
        return length_hint(self.offsets)

    @classmethod
    def of(cls, records: Iterable[bytes]) -> Batch:
        """Return these records as the kernel would have laid them."""
        data, offsets = b"", []
        for record in records:
            offsets.append(len(data))
            data += HEADER.pack(len(record)) + record + bytes(-len(record) % ALIGNMENT)
        return cls(data, offsets, len(data), len(offsets))

    def __iter__(self) -> Iterator[bytes]:
        """Yield the records that were not yet taken."""
        for at in self.offsets:
            start = at + HEADER.size
            yield self.data[start : start + HEADER.unpack_from(self.data, at)[0]]

"""What keeps events until the collector has taken them: in memory. spool.py has one on disk."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections import deque
from typing import NamedTuple, Protocol

MEMORY_LIMIT = 8 << 20  # bytes: some 16,000 events


class Mark(NamedTuple):
    """How far the events of one run of netmon have been received.

    Attributes:
        run: Names the run; "" if the source has no greeting.
        events: How many of the run's events there have been, the lost ones among them.
    """

    run: str = ""
    events: int = 0


class Batch(NamedTuple):
    """Lines that are to be sent next.

    Attributes:
        lines: Whole lines.
        size: How far they reach in the store: for done().
    """

    lines: bytes
    size: int


class Store(Protocol):
    """Keeps lines in their order. One thread at a time calls it.

    Attributes:
        mark: How far events were received when the last lines were put.
        size: Bytes that are kept.
    """

    mark: Mark

    @property
    def size(self) -> int: ...

    def put(self, lines: bytes, mark: Mark | None) -> bool:
        """Keep whole lines; return whether there was room for all of them: else none is kept.

        Args:
            lines: Whole lines.
            mark: The new mark; None: the one before.

        Raises:
            OSError: They cannot be kept, as for lack of space; none is kept.
        """

    def first(self, limit: int) -> Batch:
        """Return the first lines, the same ones again until done() is called: at most limit bytes, or one line.

        There may be no line in what they take in the store: then call done() and try again.
        """

    def done(self, size: int) -> None:
        """Forget the first lines."""

    def close(self) -> None:
        """Close what is open."""


class Memory:
    """Keeps lines in memory: what waits at the end of the process is lost."""

    def __init__(self, limit: int = MEMORY_LIMIT) -> None:
        self.mark = Mark()
        self.size = 0
        self._limit = limit
        self._pieces: deque[bytes] = deque()
        self._sent = 0  # bytes of the first piece

    def put(self, lines: bytes, mark: Mark | None) -> bool:
        """Keep whole lines, as Store.put()."""
        if self.size and self.size + len(lines) > self._limit:
            return False
        self.mark = mark or self.mark
        if lines:
            self._pieces.append(lines)
        self.size += len(lines)
        return True

    def first(self, limit: int) -> Batch:
        """Return the first lines, as Store.first()."""
        if not self._pieces:
            return Batch(b"", 0)
        found, size = [memoryview(self._pieces[0])[self._sent :]], len(self._pieces[0]) - self._sent
        for piece in list(self._pieces)[1:] if size < limit else ():
            found.append(memoryview(piece))
            size += len(piece)
            if size >= limit:
                break
        lines = whole_lines(b"".join(found), limit)
        return Batch(lines, len(lines))

    def done(self, size: int) -> None:
        """Forget the first lines."""
        self.size -= size
        self._sent += size
        while self._pieces and self._sent >= len(self._pieces[0]):
            self._sent -= len(self._pieces.popleft())

    def close(self) -> None:
        """Do nothing."""


def whole_lines(data: bytes, limit: int) -> bytes:
    """Return the first lines of data that have at most limit bytes together, but at least one of them."""
    if len(data) <= limit:
        return data[: data.rfind(b"\n") + 1]
    return data[: data.rfind(b"\n", 0, limit) + 1 or data.find(b"\n") + 1]

"""Streams: a monitor's events in one form, for `for` and for `async for`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from netmon.reader.wakeup import bounded, deadline_in

if TYPE_CHECKING:
    from netmon.batch import Batch
    from netmon.reader.reader import Reader
    from netmon.reader.reporters import Reporter

T = TypeVar("T")

# Bytes of a batch in asyncio: decoding a batch holds up the other tasks.
ASYNC_BATCH_LIMIT = 64 << 10


class Stream(Generic[T]):
    """A monitor's events in one form: iterate by `for`, or by `async for` in asyncio.

    An iteration that is broken off or cancelled can be resumed by another one: nothing is lost between them.
    """

    def __init__(
        self,
        reader: Callable[[], Reader],
        decode: Callable[[Batch], Iterator[T]],
        timeout: float | None,
        *,
        reporting: bool = True,
    ) -> None:
        """Make a stream; nothing is read before an iteration begins.

        Args:
            reader: Returns the reader when an iteration begins.
            decode: Decodes what is left of a batch: all of it, or what an earlier iteration left.
            timeout: Seconds without records after which an iteration ends; None: never.
            reporting: Whether decode() yields reports, too: then waiting ends when a report is due.
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
                await asyncio.sleep(0)  # let other tasks run
            elif not await reader.wait_async(reporters, deadline):
                return
            if not reader.read(reporters, ASYNC_BATCH_LIMIT):
                return

"""Hands the lines of a run to all of its outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from netmon.outputs.base import Output

if TYPE_CHECKING:
    from netmon.outputs.queue import OutputQueue

# How often (seconds), at most, to check that the outputs still have readers while there is nothing to write.
CHECK_INTERVAL = 0.5


class Fanout:
    """Writes lines to one or several outputs, each isolated from the others.

    A single output is written to in the calling thread, since a thread of its own takes 25 to 60 % more CPU per event.
    While the output takes nothing the caller waits: events stay in the ring buffer, and those without room are counted.

    Several outputs have a queue and a thread each. The caller waits for none of them, and each loses alone, counted
    under its name, what it does not take in time.

    Use it as a context manager. Leaving it waits until the queues are written.
    """

    def __init__(self, outputs: Sequence[Output], report: Callable[[str], None]) -> None:
        """Take over the outputs: one that breaks while others go on is closed.

        Args:
            outputs: At least one, with different names.
            report: Takes a message that an output was closed, and why.
        """
        self._report = report
        self._only = outputs[0] if len(outputs) == 1 else None
        self._queues: list[OutputQueue] = []
        if self._only is None:
            from netmon.outputs.queue import OutputQueue

            self._queues = [OutputQueue(output) for output in outputs]
        self._broken: list[OutputQueue] = []
        self._next_check = 0.0

    def losses(self) -> Mapping[str, int]:
        """Return how many events single outputs have lost, by the output's name; without those that lost none."""
        return {queue.output.name: queue.lost for queue in self._queues if queue.lost}

    def write(self, lines: Sequence[str]) -> None:
        """Write lines to all outputs.

        Args:
            lines: Each with its newline. Without lines, check that the outputs still have readers.

        Raises:
            OutputError: The last output that was left has broken.
        """
        if not lines:
            self._check_readers()
            return
        data = "".join(lines).encode()
        if self._only is not None:
            self._only.write(data)
        for queue in self._queues:
            queue.put(data)
        self._close_broken()

    def _check_readers(self) -> None:
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + CHECK_INTERVAL
        if self._only is not None:
            self._only.require_reader()
        self._close_broken()

    def _close_broken(self) -> None:
        """Report and close the outputs that broke since the last call. Raises OutputError when none is left."""
        for queue in self._queues:
            if queue.error is not None and queue not in self._broken:
                self._broken.append(queue)
                if len(self._broken) == len(self._queues):
                    raise queue.error
                self._report(f"{queue.error}; closed")
                # On some file systems close() fails as the write did; the descriptor is closed all the same.
                with suppress(OSError):
                    queue.output.close()

    def __enter__(self) -> Fanout:
        for queue in self._queues:
            queue.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for queue in self._queues:
            queue.finish()
        for queue in self._queues:
            queue.join()
        if kind is None:
            self._close_broken()

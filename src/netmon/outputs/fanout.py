"""Hands a run's lines to all of its outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from netmon.outputs.base import Output

if TYPE_CHECKING:
    from netmon.outputs.queue import OutputQueue

# How often (seconds) to look, at most, whether the outputs still have readers: when there is nothing to write.
LOOK_INTERVAL = 0.5


class Fanout:
    """The outputs of a run.

    One output is written to in the reading thread: while it takes nothing, reading waits, and events stay in the ring
    buffer, which counts what finds no room. Of several, each has a queue and a thread of its own: reading waits for
    none, and each loses alone what it does not take in time.

    Use it as a context manager: leaving it writes what is queued.
    """

    def __init__(self, outputs: Sequence[Output], report: Callable[[str], None]) -> None:
        """outputs: at least one, with different names. report: takes a message when one of several cannot go on."""
        self._report = report
        self._only = outputs[0] if len(outputs) == 1 else None
        self._queues: list[OutputQueue] = []
        if self._only is None:
            from netmon.outputs.queue import OutputQueue

            self._queues = [OutputQueue(output) for output in outputs]
        self._broken: list[OutputQueue] = []
        self._next_look = 0.0

    def losses(self) -> Mapping[str, int]:
        """Return how many events each output has lost, by its name: those that have lost some."""
        return {queue.output.name: queue.lost for queue in self._queues if queue.lost}

    def write(self, lines: Sequence[str]) -> None:
        """Hand lines, each with its line end, to all outputs; without lines, look whether they still have readers.

        Raises OutputError when no output is left that can be written to.
        """
        if not lines:
            self._look()
            return
        data = "".join(lines).encode()
        if self._only is not None:
            self._only.write(data)
        for queue in self._queues:
            queue.put(data)
        self._close_broken()

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_INTERVAL
        if self._only is not None:
            self._only.require_reader()
        self._close_broken()

    def _close_broken(self) -> None:
        """Report and close the outputs that have just broken. Raises OutputError when none is left."""
        for queue in self._queues:
            if queue.error is not None and queue not in self._broken:
                self._broken.append(queue)
                if len(self._broken) == len(self._queues):
                    raise queue.error
                self._report(f"{queue.error}; closed")
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

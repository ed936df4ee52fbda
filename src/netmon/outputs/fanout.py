"""Hands the lines of a run to all of its outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from netmon.outputs.base import Output
from netmon.outputs.direct import DirectOutput

if TYPE_CHECKING:
    from netmon.outputs.choice import Choice
    from netmon.outputs.state import OutputState
    from netmon.outputs.writer import Writer

# How often (seconds), at most, to check that the outputs still have readers while there is nothing to write.
CHECK_INTERVAL = 0.5


class Fanout:
    """Writes lines to one or several outputs, each isolated from the others.

    A single output is written to in the calling thread (DirectOutput), since a thread of its own takes 25 to 60 % more
    CPU per event. While the output takes nothing the caller waits.

    Several outputs, and files that rotate, have a queue and a thread each (OutputQueue); an output that is a Writer
    already, such as a socket with many readers, has its own. The caller waits for none of them, and each loses
    alone, counted under its name, what it does not take in time.

    Use it as a context manager. Leaving it waits until the queues are written.
    """

    def __init__(
        self,
        outputs: Sequence[Output | Writer],
        report: Callable[[str], None],
        ending: Callable[[], bool] = lambda: False,
        note: Callable[[Sequence[str]], object] | None = None,
    ) -> None:
        """Take over the outputs: one that breaks while others go on is closed.

        Args:
            outputs: At least one, with different names.
            report: Takes a message that an output was closed, and why.
            ending: Returns whether the run is to end: then a single output that takes nothing is given up.
            note: Is called with all lines before they are written.
        """
        self._report = report
        self._note = note
        self._writers: list[Writer] = []
        for output in outputs:
            if not isinstance(output, Output):
                self._writers.append(output)
            elif len(outputs) == 1 and not output.has_queue and output.render is None:
                self._writers.append(DirectOutput(output, ending))
            else:
                from netmon.outputs.queue import OutputQueue

                self._writers.append(OutputQueue(output))
        self._lines = [0] * len(self._writers)
        self._broken: list[Writer] = []
        self._next_check = 0.0

    def losses(self) -> Mapping[str, int]:
        """Return how many events single outputs have lost, by the output's name; without those that lost none."""
        return {writer.output.name: writer.lost for writer in self._writers if writer.lost}

    def states(self) -> list[OutputState]:
        """Return how each output fares. Any thread may call it."""
        from netmon.outputs.state import OutputState  # few runs are asked

        return [
            OutputState(
                writer.output.name,
                count,
                writer.lost,
                writer.waiting,
                writer.readers,
                "" if writer.error is None else str(writer.error),
            )
            for writer, count in zip(self._writers, self._lines, strict=True)
        ]

    def write(self, lines: Sequence[str]) -> None:
        """Write lines to all outputs.

        Args:
            lines: Each with its newline. Without lines, check that the outputs still have readers.

        Raises:
            OutputError: The last output that was left has broken. It is raised once; lines that are written later are
                counted as lost.
        """
        if self._note is not None:
            self._note(lines)
        pieces: dict[Choice | None, tuple[bytes, int]] = {}
        for at, writer in enumerate(self._writers):
            output = writer.output
            if output.view is not None:
                chosen = _chosen(lines, output.choice)
                data, count = "".join(output.view.lines(chosen)).encode(), len(chosen)
            elif (found := pieces.get(output.choice)) is None:
                chosen = _chosen(lines, output.choice)
                data, count = pieces[output.choice] = "".join(chosen).encode(), len(chosen)
            else:
                data, count = found
            self._lines[at] += count
            if data:
                writer.put(data)
        if lines:
            self._close_broken()
        else:
            self._check_readers()

    def finish_views(self) -> None:
        """Write the last lines of the views. Raises OutputError."""
        for writer in self._writers:
            if (view := writer.output.view) is not None and (lines := view.finish()):
                writer.put("".join(lines).encode())
        self._close_broken()

    def _check_readers(self) -> None:
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + CHECK_INTERVAL
        for writer in self._writers:
            writer.check_reader()
        self._close_broken()

    def _close_broken(self) -> None:
        """Report and close the outputs that broke since the last call. Raises OutputError when none is left."""
        for writer in self._writers:
            if writer.error is not None and writer not in self._broken:
                self._broken.append(writer)
                if len(self._broken) == len(self._writers):
                    raise writer.error
                self._report(f"{writer.error}; closed")
                # On some file systems close() fails as the write did; the descriptor is closed all the same.
                with suppress(OSError):
                    writer.output.close()

    def __enter__(self) -> Fanout:
        for writer in self._writers:
            writer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for writer in self._writers:
            writer.finish()
        for writer in self._writers:
            writer.join()
        for writer in self._writers:
            writer.output.settle()
        if kind is None:
            self._close_broken()


def _chosen(lines: Sequence[str], choice: Choice | None) -> Sequence[str]:
    return lines if choice is None else choice.of(lines)

"""Writes a run's only output in the reading thread."""

from __future__ import annotations

import time
from collections.abc import Callable

from netmon.errors import OutputError
from netmon.outputs.base import DRAIN_LIMIT, ROOM_INTERVAL, Output, end_of_lines, reports_in


class DirectOutput:
    """Writes lines to an output in the calling thread, without a queue.

    While the output takes nothing the caller waits: events stay in the ring buffer, and those without room are counted.
    Once the run is to end, an output that takes nothing is given up. What it did not get is counted.

    Attributes:
        output: The output.
        lost: How many events could not be written.
        error: Why the output cannot be written to any more; None while it can.
    """

    def __init__(self, output: Output, ending: Callable[[], bool]) -> None:
        """Make it. ending: returns whether the run is to end."""
        self.output = output
        self.lost = 0
        self.error: OutputError | None = None
        self._given_up = False
        self._ending = ending
        self._give_up_at: float | None = None  # time.monotonic(), set while the run is to end and nothing is taken

    @property
    def waiting(self) -> int:
        """Nothing waits: what is not written is in the ring buffer."""
        return 0

    @property
    def readers(self) -> None:
        """It has one reader."""

    def put(self, data: bytes) -> None:
        """Write lines; wait as long as that takes, unless the run is to end.

        Args:
            data: Whole lines.
        """
        written = 0
        try:
            while not self._given_up:
                taken = self.output.write(data, written, ROOM_INTERVAL)
                written += taken
                if written == len(data):
                    return
                self._given_up = self._is_stuck(taken)
        except OSError as error:
            self._break(OutputError(self.output.name, error))
            self.output.remove_torn_line(data, written)
        rest = data[end_of_lines(data, written) :]
        self.lost += rest.count(b"\n") - len(reports_in(rest))

    def _is_stuck(self, taken: int) -> bool:
        """Return whether to give up an output that has just taken so many bytes."""
        now = time.monotonic()
        if taken or not self._ending():
            self._give_up_at = None
        elif self._give_up_at is None:
            self._give_up_at = now + DRAIN_LIMIT
        return self._give_up_at is not None and now >= self._give_up_at

    def start(self) -> None:
        """Do nothing: there is no thread."""

    def finish(self) -> None:
        """Do nothing: there is no queue."""

    def join(self) -> None:
        """Do nothing: there is no thread."""

    def check_reader(self) -> None:
        """Find out whether the output still has a reader."""
        if self._given_up:
            return
        try:
            self.output.require_reader()
        except OutputError as error:
            self._break(error)

    def _break(self, error: OutputError) -> None:
        self.error = error
        self._given_up = True

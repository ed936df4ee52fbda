"""What takes the lines of one output. Only type checkers import this: making a protocol delays the start."""

from __future__ import annotations

from typing import Protocol

from netmon.errors import OutputError
from netmon.outputs.base import Sink


class Writer(Protocol):
    """Takes the lines of one output from the reading thread.

    Attributes:
        output: The output.
        lost: How many events it has lost.
        error: Why it cannot be written to any more; None while it can.
        waiting: How many bytes of lines wait for it.
        readers: How many readers are connected; None if it is not one that readers connect to.
    """

    lost: int
    error: OutputError | None

    @property
    def output(self) -> Sink: ...

    @property
    def waiting(self) -> int: ...

    @property
    def readers(self) -> int | None: ...

    def start(self) -> None:
        """Start the thread, if there is one."""

    def put(self, data: bytes) -> None:
        """Take whole lines."""

    def check_reader(self) -> None:
        """Find out whether the output still has a reader."""

    def finish(self) -> None:
        """End once all is written, or once the output has taken nothing for a while."""

    def join(self) -> None:
        """Wait for that end."""

"""Standard output, the first of the outputs, and standard error."""

from __future__ import annotations

import os

from netmon.outputs.base import Output

STDOUT_FILENO, STDERR_FILENO = 1, 2


class StandardOutput(Output):
    """Writes to standard output."""

    def __init__(self, name: str = "standard output", fd: int = STDOUT_FILENO) -> None:
        super().__init__(name, fd)

    def _close_fd(self) -> None:
        """Replace it by /dev/null, so that no other file gets the descriptor that Python's print() writes to."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._fd)
        os.close(null)


class StandardError(StandardOutput):
    """Writes to standard error."""

    def __init__(self) -> None:
        super().__init__("standard error", STDERR_FILENO)

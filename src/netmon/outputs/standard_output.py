"""Standard output, the first of the outputs."""

from __future__ import annotations

import os

from netmon.outputs.base import Output

STDOUT_FILENO = 1


class StandardOutput(Output):
    """Writes to standard output."""

    def __init__(self) -> None:
        super().__init__("standard output", STDOUT_FILENO)

    def _close_fd(self) -> None:
        """Replace it by /dev/null, so that no other file gets the descriptor that Python's print() writes to."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._fd)
        os.close(null)

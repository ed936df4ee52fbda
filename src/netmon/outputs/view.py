"""What outputs ask of a view."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class View(Protocol):
    """Makes the lines that an output gets of all lines, in their order."""

    def lines(self, events: Iterable[str]) -> list[str]:
        """Return lines, each with its newline. events: lines of JSON; none while nothing happens."""

    def finish(self) -> list[str]:
        """Return the last lines."""

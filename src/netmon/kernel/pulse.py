"""How long the kernel did not run netmon's programs although they were attached."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL = 1.0  # seconds between two looks, at least


class Pulse:
    """Looks now and then whether the programs run, and adds up the time in which they may not have.

    Attributes:
        failed: Whether they did not run at the last look.
    """

    def __init__(self, runs: Callable[[], bool]) -> None:
        """runs: returns whether the kernel runs the programs now."""
        self._runs = runs
        self._blind = 0.0
        self.failed = False
        self.begin()

    def begin(self) -> None:
        """Begin now: the programs run."""
        self._last = time.monotonic()

    def look(self) -> None:
        """Look, if the last look is a second ago. All the time between two looks counts if one of them failed."""
        now = time.monotonic()
        if now < self._last + INTERVAL:
            return
        failed = not self._runs()
        if failed or self.failed:
            self._blind += now - self._last
        self.failed = failed
        self._last = now

    @property
    def blind_ms(self) -> int:
        """How many milliseconds the programs did not run, at most."""
        return round(self._blind * 1000)

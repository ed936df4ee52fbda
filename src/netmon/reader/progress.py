"""When the source reports what open connections have carried: now and then, and at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netmon.reader.source import Source

LAST_LIMIT = 10.0  # seconds for the walk at the end: under load it takes turns with writing what it reports


class Progress:
    """Has the source look at open connections, some at a time: other records are read in between."""

    def __init__(self, source: Source, interval: float | None) -> None:
        """Begin an interval now.

        Args:
            source: Reports the connections.
            interval: Seconds from the beginning of one walk through all of them to that of the next; None: only the
                last walk is made here.
        """
        self._source = source
        self._interval = interval
        self._next = time.monotonic() + (interval or 0.0)
        self._walking = False
        self._finish_by: float | None = None

    def due(self) -> float | None:
        """Return the time (time.monotonic()) at which look() has something to do; None: never."""
        return None if self._interval is None else 0.0 if self._walking else self._next

    def look(self) -> bool:
        """Look at some connections, if it is time; return whether there are more."""
        if self._interval is None:
            return False
        if not self._walking:
            now = time.monotonic()
            if now < self._next:
                return False
            self._next = now + self._interval
        self._walking = self._source.report_open()
        return self._walking

    def finish(self) -> bool:
        """Look at all connections a last time, some at each call; return whether there are more.

        It gives up after a while, if nobody makes room for the reports.
        """
        first = self._finish_by is None
        if self._finish_by is None:
            self._finish_by = time.monotonic() + LAST_LIMIT
        return self._source.report_open(anew=first) and time.monotonic() < self._finish_by

"""Who opened a connection: its opening event says it, its later ones do not."""

from __future__ import annotations

import re
from collections.abc import Iterable

from netmon.report import DIRECTION_OF

OPEN_LIMIT = 1 << 18  # connections: some 40 MB
CLOSED_LIMIT = 1 << 16  # more than wait in the queue of an output

# The text of an argument cannot look so: its quotation marks are escaped.
_OPENINGS = re.compile(
    r'"network_event":\{"type":"TcpConnection(Establish|Accept|Existing|Close|Fail)",[^{}]*?"cookie":(\d+)'
    r'(?:,"direction":"(ingress|egress)")?'
)
_OF_TYPES = {event.title(): direction for event, direction in DIRECTION_OF.items()}


class Directions:
    """The directions of the open connections, by their cookies, and of those that were closed last.

    The reading thread calls note(); any thread may call of().
    """

    def __init__(self) -> None:
        self._open: dict[int, str] = {}
        self._closed: dict[int, str] = {}

    def note(self, lines: Iterable[str]) -> None:
        """Note what lines of netmon's JSON say, in their order."""
        for line in lines:
            if (found := _OPENINGS.search(line)) is None:
                continue
            kind, cookie = found[1], int(found[2])
            if kind == "Close":
                if (direction := self._open.pop(cookie, None)) is not None:
                    _keep(self._closed, cookie, direction, CLOSED_LIMIT)
            elif direction := _OF_TYPES.get(kind) or found[3]:
                _keep(self._open, cookie, direction, OPEN_LIMIT)

    def of(self, cookie: int) -> str:
        """Return the direction of a connection; "" if its opening was not among the lines, or is forgotten."""
        return self._open.get(cookie) or self._closed.get(cookie, "")


def _keep(directions: dict[int, str], cookie: int, direction: str, limit: int) -> None:
    """Keep a direction as the newest, and forget the oldest one if there are too many."""
    directions.pop(cookie, None)
    directions[cookie] = direction
    if len(directions) > limit:
        del directions[next(iter(directions))]

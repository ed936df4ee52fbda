"""Remembers openings until their connections end: what a close does not repeat, and lines that wait for the end."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from netmon.terminal.row import UNKNOWN, Row

PATIENCE = 1.0  # seconds that an opening's line waits for the end
# Openings that are remembered. The oldest are forgotten: of their closes the direction is not known.
REMEMBERED = 16_384
WAITING = 2048  # rows that wait: of more, the oldest is shown at once


class Opening(NamedTuple):
    """What is remembered of an opening.

    Attributes:
        arrow: The direction.
        handshake_us: How long the handshake took, if that is known and was not shown yet.
    """

    arrow: str = UNKNOWN
    handshake_us: int | None = None


class Connections:
    """The open connections, by their cookies, and the rows about those that have opened just now. Both are bounded."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        """Make it. now: the clock, in seconds."""
        self._now = now
        self._openings: dict[int, Opening] = {}
        self._waiting: dict[int, tuple[float, Row]] = {}  # when to show a row, and the row; the oldest first

    def opened(self, cookie: int, opening: Opening) -> None:
        """Remember an opening."""
        if len(self._openings) >= REMEMBERED:
            del self._openings[next(iter(self._openings))]
        self._openings[cookie] = opening

    def wait(self, cookie: int, row: Row) -> None:
        """Let an opening's row wait for the connection's end."""
        self._waiting[cookie] = self._now() + PATIENCE, row

    def rename(self, cookie: int, peer: str) -> bool:
        """Call a connection's peer by another name in its row, if that still waits; return whether it does."""
        if cookie not in self._waiting:
            return False
        since, row = self._waiting[cookie]
        self._waiting[cookie] = since, row._replace(peer=peer)
        return True

    def ended(self, cookie: int) -> tuple[Opening, Row | None]:
        """Forget a connection; return what was remembered, and its row if that still waits."""
        _, row = self._waiting.pop(cookie, (0.0, None))
        return self._openings.pop(cookie, Opening()), row

    def looked_up(self, cookie: int) -> tuple[Opening, Row | None]:
        """Return what is remembered of a connection, and its row if that still waits, which is taken to be shown."""
        opening = self._openings.get(cookie, Opening())
        _, row = self._waiting.pop(cookie, (0.0, None))
        if row and cookie in self._openings:
            self._openings[cookie] = Opening(opening.arrow)  # the row shows the handshake
        return opening, row

    def due(self, *, everything: bool = False) -> list[Row]:
        """Return the rows that have waited long enough, or all."""
        now, rows = self._now(), []
        while self._waiting:
            cookie = next(iter(self._waiting))
            since, row = self._waiting[cookie]
            if not everything and since > now and len(self._waiting) <= WAITING:
                break
            del self._waiting[cookie]
            rows.append(row)
            if opening := self._openings.get(cookie):
                self._openings[cookie] = Opening(opening.arrow)  # the row shows the handshake
        return rows

"""The view for a person: a line a connection, or a line an event."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from netmon.terminal import describe
from netmon.terminal.cells import shorten
from netmon.terminal.connections import Connections, Opening
from netmon.terminal.describe import CLOSE, EXISTING, FAIL, NAME, PROGRESS, Describer, Json, local_time
from netmon.terminal.row import IN, Row
from netmon.terminal.totals import Totals
from netmon.terminal.view import Event, loss_line
from netmon.text import escape_for_terminal

SHORT_NAME = 24  # cells of a process's name in the summary


class LineView:
    """Shows each connection in one line, once it has ended or failed; in another one before if it is open for a second.

    With `each`, it shows each event in one line.
    """

    def __init__(
        self,
        user_name: Callable[[int], str],
        *,
        width: Callable[[], int | None] = lambda: None,
        coloured: bool = False,
        ascii_only: bool = False,
        each: bool = False,
        totals: bool = True,
        connections: Connections | None = None,
    ) -> None:
        """Make it.

        Args:
            user_name: Returns a user's name, harmless, by the number.
            width: Returns the terminal's width in cells, now; None without one.
            coloured: Whether to use colours.
            ascii_only: Escape all characters beyond ASCII.
            each: Whether to show each event. It is needed where an event says neither whether the connection was
                established nor how it ended: without `outcome` or `statistics`.
            totals: Whether to count for a summary.
            connections: The open connections; for tests, which bring a clock.
        """
        self._describer = Describer(user_name, ascii_only)
        self._width = width
        self._coloured = coloured
        self._each = each
        self._connections = connections or Connections()
        self._totals = Totals() if totals else None

    def lines(self, events: Iterable[str]) -> list[str]:
        """Return lines of text, each with its newline."""
        from orjson import loads  # slow to import

        width, lines = self._width(), []
        for event in events:
            lines += self._lines_of(loads(event), width)
        return lines + self._render(self._connections.due(), width)

    def finish(self) -> list[str]:
        """Return the lines of connections that have opened just now."""
        return self._render(self._connections.due(everything=True), self._width())

    def summary(self) -> list[str]:
        """Return who connected where, how often, what failed, how much was carried."""
        return self._totals.lines() if self._totals is not None else []

    def _count(self, row: Row, *counts: int) -> None:
        """Count for the summary. counts: as of Totals.add()."""
        if self._totals is not None:
            self._totals.add(who(row), *counts)

    def _lines_of(self, event: Event, width: int | None) -> list[str]:
        kind = event["type"]
        if kind == "NetworkEvent":
            return self._render(self._rows_of(event), width)
        if kind == "NetworkSummary":
            return self._render([self._flow_row(event)], width)
        time = local_time(event["timestamp"])
        if kind == "LostEvents":
            return [loss_line(event, time, coloured=self._coloured)]
        return [f"{time} {escape_for_terminal(str(kind))}\n"]  # of a newer netmon

    def _render(self, rows: list[Row], width: int | None) -> list[str]:
        return [row.render(width, coloured=self._coloured) for row in rows]

    def _flow_row(self, event: Event) -> Row:
        row, flow = self._describer.flow_row(event), event["flow"]
        self._count(row, flow["opened"], flow["failed"], flow["bytes_sent"], flow["bytes_received"])
        return row

    def _rows_of(self, event: Event) -> list[Row]:
        """Return the rows to show now; an opening may wait."""
        network = event["network_event"]
        if network["type"] == CLOSE:
            return self._close_rows(event, network)
        if network["type"] == PROGRESS:
            return self._progress_rows(event, network)
        if network["type"] == NAME:
            return self._name_rows(event, network)
        arrow = describe.arrow_of(network, "")
        if network["type"] == FAIL:
            row = self._describer.row(event, arrow, *describe.failed(network))
            self._count(row, 0, 1)
            return [row]
        row = self._describer.row(event, arrow, *describe.opened(network))
        self._count(row, 1)
        cookie = network["cookie"]
        self._connections.opened(cookie, Opening(arrow, network.get("handshake_us")))
        if self._each or network["type"] == EXISTING:
            return [row]
        self._connections.wait(cookie, row)
        return []

    def _progress_rows(self, event: Event, network: Json) -> list[Row]:
        """Return the rows of the opening, if that still waits, and of the progress. The summary counts the close."""
        opening, waiting = self._connections.looked_up(network["cookie"])
        row = self._describer.row(event, opening.arrow, *describe.progressed(network))
        return [waiting, row] if waiting else [row]

    def _name_rows(self, event: Event, network: Json) -> list[Row]:
        """Return the row of a name; none if a row waits that can show the name."""
        row = self._describer.row(event, describe.arrow_of(network, ""), *describe.announced(network))
        return [] if self._connections.rename(network["cookie"], row.peer) else [row]

    def _close_rows(self, event: Event, network: Json) -> list[Row]:
        opening, waiting = self._connections.ended(network["cookie"])
        if self._each:
            row = self._describer.row(event, opening.arrow, *describe.closed(network, None, "closed"))
        else:
            # The handshake belongs to the first line about the connection: this one, if its opening still waits.
            outcome, style = describe.closed(network, opening.handshake_us, "ok")
            row = self._describer.row(event, opening.arrow, outcome, style)
            if waiting:  # the process that opened it, as the opening's own line would have
                row = waiting._replace(time=row.time, outcome=row.outcome, style=style)
        self._count(waiting or row, 0, 0, network.get("bytes_sent", 0), network.get("bytes_received", 0))
        return [row]


def who(row: Row) -> str:
    """Return the program and the peer of a row, for the summary: clients of a server count together."""
    where = f"on{row.peer.partition(' on')[2]}" if row.arrow == IN else row.peer
    return f"{shorten(row.name, SHORT_NAME)} {row.arrow} {where}"

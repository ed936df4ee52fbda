"""The view of what is open now: an aligned line for each connection, with a header."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from netmon.terminal.cells import cells, pad, pad_left, shorten
from netmon.terminal.describe import ARROWS, Json, endpoint, serving, short_name, workload_name
from netmon.terminal.row import IN, MAX_NAME, MAX_USER, MIN_NAME, UNKNOWN
from netmon.terminal.style import BOLD, CYAN, DIM, MAGENTA, YELLOW, paint
from netmon.terminal.units import duration, size
from netmon.terminal.view import Event
from netmon.text import escape_for_terminal

ABSENT = "-"
CONTAINER_DIGITS = 12
MIN_ARGS = 16  # cells: where there are fewer, the column is left out
US_PER_MS = 1000
# As ss writes them.
_STATES = {
    "established": "estab",
    "syn_sent": "syn-sent",
    "syn_recv": "syn-recv",
    "close_wait": "close-wait",
    "last_ack": "last-ack",
    "fin_wait1": "fin-wait-1",
    "fin_wait2": "fin-wait-2",
}
_ARROW_STYLES = {IN: MAGENTA}


class Column(NamedTuple):
    """A column.

    Attributes:
        name: Its header.
        is_number: Whether it is aligned at the right.
        style: Its style.
    """

    name: str
    is_number: bool = False
    style: str = ""


PROCESS, USER, ARROW, PEER = Column("PROCESS", style=BOLD), Column("USER", style=DIM), Column(""), Column("PEER")
STATE, AGE, IDLE = Column("STATE"), Column("AGE", is_number=True), Column("IDLE", is_number=True)
SENT, RECEIVED, RTT = (Column(name, is_number=True) for name in ("SENT", "RECV", "RTT"))
CONTAINER, ARGS = Column("CONTAINER", style=DIM), Column("ARGUMENTS")

COLUMNS = (PROCESS, USER, ARROW, PEER, STATE, AGE, IDLE, SENT, RECEIVED, RTT, CONTAINER, ARGS)
# Those that are left out where a line is too long, the first one first. The arguments get what the others leave.
OPTIONAL = (CONTAINER, AGE, USER, RTT, IDLE)

Texts = dict[Column, str]


class ListView:
    """Shows connections that are open. It is given all of them at once, since the columns take what they need."""

    def __init__(
        self,
        user_name: Callable[[int], str],
        *,
        width: int | None = None,
        coloured: bool = False,
        ascii_only: bool = False,
    ) -> None:
        """Make it.

        Args:
            user_name: Returns a user's name, harmless, by the number.
            width: The terminal's, in cells; None without one: no column is left out or shortened.
            coloured: Whether to use colours.
            ascii_only: See escape_for_terminal().
        """
        self._user_name = user_name
        self._width = width
        self._coloured = coloured
        self._ascii_only = ascii_only

    def lines(self, events: Iterable[str]) -> list[str]:
        """Return a header, and a line for each connection; nothing without any."""
        from orjson import loads  # slow to import

        rows = [self._texts_of(loads(event)) for event in events]
        if not rows:
            return []
        rows.insert(0, {column: column.name for column in COLUMNS})
        widths = self._fit({column: max(cells(row[column]) for row in rows) for column in COLUMNS}, rows)
        header, *lines = [self._join(row, widths) for row in rows]
        return [self._join(rows[0], widths, is_header=True) if self._coloured else header, *lines]

    def finish(self) -> list[str]:
        """Return no lines."""
        return []

    def summary(self) -> list[str]:
        """Return no lines."""
        return []

    def _texts_of(self, event: Event) -> Texts:
        process, network = event["process"], event["network_event"]
        arrow = ARROWS.get(network.get("direction", ""), UNKNOWN)
        is_in = arrow == IN
        others = network.get("holders", 1) - 1
        name = short_name(process["filename"], MAX_NAME, self._ascii_only)
        return {
            PROCESS: f"{name}[{process['pid']}]{f'+{others}' if others else ''}",
            USER: shorten(self._user_name(process["uid"]), MAX_USER),
            ARROW: arrow,
            PEER: serving(network["daddr"], network["sport"])
            if is_in
            else endpoint(network["daddr"], network["dport"]),
            CONTAINER: shorten(workload_name(process, self._ascii_only), MAX_USER)
            or process.get("container_id", ABSENT)[:CONTAINER_DIGITS],
            ARGS: escape_for_terminal(process["args"], self._ascii_only),
            **_counts(network),
        }

    def _fit(self, widths: dict[Column, int], rows: Sequence[Texts]) -> dict[Column, int]:
        """Return the widths of the columns that are shown; shorten the processes' names if need be."""
        if all(row[CONTAINER] == ABSENT for row in rows[1:]):
            del widths[CONTAINER]
        args = widths.pop(ARGS)
        if self._width is None:
            return {**widths, ARGS: args}
        room = self._width
        for column in OPTIONAL:
            if column in widths and _sum(widths) > room:
                if _sum(widths) - room <= widths[PROCESS] - MIN_NAME:
                    break
                del widths[column]
        if _sum(widths) > room:
            widths[PROCESS] = max(MIN_NAME, widths[PROCESS] - (_sum(widths) - room))
            for row in rows:
                row[PROCESS] = _shorten_process(row[PROCESS], widths[PROCESS])
        left = room - _sum(widths) - 1
        if left < min(MIN_ARGS, args):
            return widths
        for row in rows:
            row[ARGS] = shorten(row[ARGS], left)
        return {**widths, ARGS: min(args, left)}

    def _join(self, row: Texts, widths: dict[Column, int], *, is_header: bool = False) -> str:
        last = next(reversed(widths))
        parts = []
        for column in COLUMNS:
            if column in widths:
                text = row[column]
                if column.is_number:
                    text = pad_left(text, widths[column])
                elif column is not last:
                    text = pad(text, widths[column])
                parts.append(_painted(text, column, is_header=is_header) if self._coloured else text)
        return " ".join(parts).rstrip() + "\n"


def _counts(network: Json) -> Texts:
    """Return the texts of the columns that tell of the connection itself; of unknown values, ABSENT."""
    state = network.get("state", "")
    is_established = state != "syn_sent"
    return {
        STATE: _STATES.get(state, state) or ABSENT,
        AGE: duration(network["duration_us"]) if "duration_us" in network else ABSENT,
        IDLE: _idle(network["idle_ms"]) if "idle_ms" in network else ABSENT,
        SENT: size(network["bytes_sent"]) if is_established and "bytes_sent" in network else ABSENT,
        RECEIVED: size(network["bytes_received"]) if is_established and "bytes_received" in network else ABSENT,
        RTT: duration(network["rtt_us"]) if network.get("rtt_us") else ABSENT,
    }


def _idle(ms: int) -> str:
    return duration(ms * US_PER_MS) if ms else "0s"


def _sum(widths: dict[Column, int]) -> int:
    return sum(widths.values()) + len(widths) - 1  # a space between two columns


def _shorten_process(text: str, width: int) -> str:
    """Return a process with its name shortened, not its id; the id may make it longer than that."""
    name, bracket, pid = text.rpartition("[")
    if cells(text) <= width:
        return text
    return shorten(name or text, max(4, width - len(bracket) - len(pid))) + bracket + (pid if name else "")


def _painted(text: str, column: Column, *, is_header: bool) -> str:
    if is_header:
        return paint(text, BOLD)
    if column is PROCESS:
        name, bracket, pid = text.rpartition("[")
        return paint(name, BOLD) + bracket + pid
    if column is ARROW:
        return paint(text, _ARROW_STYLES.get(text, CYAN))
    if column is STATE:
        return paint(text, "" if text.startswith("estab") else YELLOW)
    return paint(text, column.style)

"""What `netmon top` writes into its columns. All texts are harmless in a terminal; none is markup of any kind."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text.

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from netmon.terminal.cells import pad, pad_left, shorten
from netmon.terminal.describe import endpoint, local_time, serving, short_name
from netmon.terminal.row import IN, MAX_NAME, MAX_USER
from netmon.terminal.units import duration, size
from netmon.text import escape_for_terminal
from netmon.top.counts import CONNECTIONS, FAILURES, RECEIVED, SENT, Connection, Row, Top
from netmon.top.order import Choice, Line

ABSENT = "-"
CONTAINER_DIGITS = 12
HOST = "(host)"
BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.:-=+*#"
INDENT = 2  # cells of each level of the tree

NARROWEST, WIDEST = 16, 48  # cells of the first column
USUAL_TREND, WIDE_TREND = 8, 30


class Column(NamedTuple):
    """A column.

    Attributes:
        name: Its header.
        width: Its cells.
        is_number: Whether it is aligned at the right.
    """

    name: str
    width: int
    is_number: bool = True


TITLES = {"process": "PROCESS", "peer": "PEER", "port": "PORT", "container": "CONTAINER"}
USER = Column("USER", 8, is_number=False)
OPEN, CONNS_S, FAILS_S, SENT_S, RECEIVED_S, CONNS = (
    Column(name, width)
    for name, width in (("OPEN", 5), ("CONN/s", 6), ("FAIL/s", 6), ("SENT/s", 6), ("RECV/s", 6), ("CONNS", 6))
)
FAILS, SENT_ALL, RECEIVED_ALL = Column("FAILED", 6), Column("SENT", 6), Column("RECV", 6)
TREND = Column("TREND", USUAL_TREND, is_number=False)
ARGUMENTS = Column("ARGUMENTS", 24, is_number=False)
WIDE = 110  # cells from which on there are further columns


def columns_for(by: str, width: int) -> list[Column]:
    """Return the columns of a dimension that fit into a width."""
    user = [USER] if by == "process" else []
    columns = [*user, OPEN, CONNS_S, FAILS_S, SENT_S, RECEIVED_S, CONNS, TREND]
    if width >= WIDE:
        columns = [*user, OPEN, CONNS_S, FAILS_S, SENT_S, RECEIVED_S, CONNS, FAILS, SENT_ALL, RECEIVED_ALL]
        columns.append(TREND._replace(width=WIDE_TREND if width >= WIDE + WIDE_TREND else USUAL_TREND))
    left = width - sum(column.width + 1 for column in columns)
    first = min(max(NARROWEST, left), WIDEST)
    if by == "process" and left > 2 * ARGUMENTS.width:
        first = min(left // 2, WIDEST)
        columns.append(ARGUMENTS._replace(width=left - first - 1))
    return [Column(TITLES[by], first, is_number=False), *columns]


class Presenter:
    """Makes the texts."""

    def __init__(
        self,
        user_name: Callable[[int], str],
        *,
        ascii_only: bool = False,
        knows_failures: bool = True,
        knows_bytes: bool = True,
    ) -> None:
        """Make it.

        Args:
            user_name: Returns a user's name, harmless, by the number.
            ascii_only: See escape_for_terminal().
            knows_failures: Whether events say which attempts failed.
            knows_bytes: Whether events say how many bytes connections have carried.
        """
        self._user_name = user_name
        self._ascii_only = ascii_only
        self._knows_failures = knows_failures
        self._knows_bytes = knows_bytes

    def cells_of(self, line: Line, columns: Sequence[Column], top: Top, choice: Choice) -> list[str]:
        """Return the texts of a row, none longer than its column."""
        row, texts = line.row, self._numbers(line, top.seconds)
        first, *others = columns
        indent = min(INDENT * line.depth, first.width // 2)
        texts[first.name] = " " * indent + self.label(row, first.width - indent)
        if row.who is not None:
            texts[USER.name] = shorten(self._user_name(row.who.uid), min(MAX_USER, USER.width))
        for column in others:
            if column.name == TREND.name:
                texts[TREND.name] = self.trend(line, choice.sort, column.width)
            elif column.name == ARGUMENTS.name and row.who is not None:
                texts[ARGUMENTS.name] = shorten(escape_for_terminal(row.who.args, self._ascii_only), column.width)
        if row.ended_at is not None and not line.open and top.knows_ends:
            texts[OPEN.name] = "ended"
        return [texts[column.name] for column in columns]

    def _numbers(self, line: Line, seconds: float) -> dict[str, str]:
        failed, carried = self._knows_failures, self._knows_bytes
        return {
            OPEN.name: amount(line.open),
            CONNS_S.name: rate(line.last[CONNECTIONS], seconds),
            FAILS_S.name: rate(line.last[FAILURES], seconds) if failed else ABSENT,
            SENT_S.name: size_rate(line.last[SENT], seconds) if carried else ABSENT,
            RECEIVED_S.name: size_rate(line.last[RECEIVED], seconds) if carried else ABSENT,
            CONNS.name: amount(line.total[CONNECTIONS]),
            FAILS.name: amount(line.total[FAILURES]) if failed else ABSENT,
            SENT_ALL.name: size(line.total[SENT]) if carried else ABSENT,
            RECEIVED_ALL.name: size(line.total[RECEIVED]) if carried else ABSENT,
        }

    def label(self, row: Row, width: int) -> str:
        """Return what a row is called."""
        if row.who is not None:
            pid = f"[{row.who.pid}]"
            return short_name(row.who.name, max(4, min(MAX_NAME, width - len(pid))), self._ascii_only) + pid
        if isinstance(row.key, tuple):
            arrow, port = row.key
            return f"{arrow} {'on ' if arrow == IN else ''}:{port}"
        key = row.key[:CONTAINER_DIGITS] or HOST if row.dimension == "container" else row.key
        return shorten(escape_for_terminal(key, self._ascii_only), max(4, width))

    def trend(self, line: Line, sort: str, width: int) -> str:
        """Return a sparkline of what rows are sorted by, the newest interval at the end."""
        return sparkline([_measure(measures, sort) for measures in line.history], width, self._ascii_only)

    def totals(self, top: Top, width: int) -> list[str]:
        """Return the lines about all rows together."""
        last, total, seconds = top.total.last, top.total.total, top.seconds
        bars = max(8, min(30, (width - 50) // 2))
        opened = [measures[CONNECTIONS] for measures in top.total.history]
        carried = [measures[SENT] + measures[RECEIVED] for measures in top.total.history]
        failures = rate(last[FAILURES], seconds) if self._knows_failures else ABSENT
        lines = [
            f"{pad_left(rate(last[CONNECTIONS], seconds), 5)} conn/s {sparkline(opened, bars, self._ascii_only)}  "
            f"{failures} fail/s  {amount(top.open)} open  {amount(total[CONNECTIONS])} opened"
        ]
        if self._knows_bytes:
            sent, received = (size_rate(last[measure], seconds) for measure in (SENT, RECEIVED))
            lines.append(
                f"{pad_left(size_rate(last[SENT] + last[RECEIVED], seconds), 5)} B/s    "
                f"{sparkline(carried, bars, self._ascii_only)}  >{sent}/s <{received}/s  (open: sampled)"
            )
        return lines

    def connection(self, connection: Connection) -> str:
        """Return the line of a connection in a row's details."""
        peer = (serving if connection.arrow == IN else endpoint)(connection.address, connection.port)
        words = [connection.state if connection.state != "closed" else "ok"]
        if connection.handshake_us is not None:
            words.append(duration(connection.handshake_us))
        if self._knows_bytes:
            words.append(f">{size(connection.sent)} <{size(connection.received)}")
        if connection.duration_us is not None:
            words.append(duration(connection.duration_us))
        name = short_name(connection.who.name, MAX_NAME, self._ascii_only)
        return (
            f"{local_time(connection.time)} {pad(f'{name}[{connection.who.pid}]', 16)} {connection.arrow} "
            f"{pad(peer, 22)} {' '.join(words)}"
        )

    def details(self, row: Row) -> list[str]:
        """Return what is known of a row, and its last connections, the newest first."""
        lines = []
        if (who := row.who) is not None:
            texts = {
                "process": f"{who.name}[{who.pid}]",
                "started": who.start_time,
                "parent": str(who.ppid),
                "user": self._user_name(who.uid),
                "path": who.path,
                "arguments": who.args,
                "container": who.container or HOST,
            }
            lines = [f"{name:<10} {escape_for_terminal(text, self._ascii_only)}" for name, text in texts.items()]
        else:
            lines = [self.label(row, 255)]
        total = row.tally.total
        failed = f", {total[FAILURES]} failed" if self._knows_failures else ""
        carried = f", {size(total[SENT])} sent, {size(total[RECEIVED])} received" if self._knows_bytes else ""
        lines += ["", f"{total[CONNECTIONS]} connections, {row.open} open{failed}{carried}", "", "last connections"]
        return lines + [self.connection(connection) for connection in reversed(row.last)]


def _measure(measures: tuple[int, ...], sort: str) -> int:
    chosen = {
        "bytes": (SENT, RECEIVED),
        "sent": (SENT,),
        "received": (RECEIVED,),
        "failures": (FAILURES,),
    }.get(sort, (CONNECTIONS,))
    return sum(measures[measure] for measure in chosen)


def sparkline(values: Sequence[int], width: int, ascii_only: bool = False) -> str:
    """Return a bar for each of the last values, relative to the largest of these."""
    shown = list(values)[-width:]
    bars, highest = (ASCII_BARS if ascii_only else BARS), max(shown, default=0)
    if not highest:
        return pad_left(bars[0] * len(shown), width)
    steps = len(bars) - 1
    texts = (bars[-(-value * steps // highest)] for value in shown)
    return pad_left("".join(texts), width)


def amount(count: float) -> str:
    """Return a number in at most five characters: 0.5, 12, 1.2k."""
    if count < 1000:
        return f"{count:.1f}" if count < 9.95 and count != int(count) else f"{count:.0f}"
    return size(round(count)).removesuffix("B")


def rate(count: int, seconds: float) -> str:
    """Return how many there were in a second."""
    return amount(count / seconds) if seconds > 0 else ABSENT


def size_rate(count: int, seconds: float) -> str:
    """Return how many bytes there were in a second."""
    return size(round(count / seconds)) if seconds > 0 else ABSENT


def join(texts: Iterable[str], columns: Sequence[Column]) -> str:
    """Return a line of text in which the columns are aligned."""
    parts = [
        pad_left(text, column.width) if column.is_number else pad(text, column.width)
        for text, column in zip(texts, columns, strict=True)
    ]
    return " ".join(parts).rstrip()

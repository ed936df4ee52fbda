"""What `netmon top` counts, from events: by process, peer, port and container. Its memory is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from netmon.terminal.describe import CLOSE, EXISTING, FAIL, NAME, PROGRESS, arrow_of
from netmon.terminal.row import IN, UNKNOWN

Json = Mapping[str, Any]

DIMENSIONS = ("process", "peer", "port", "container")
MEASURES = ("connections", "failures", "sent", "received")
CONNECTIONS, FAILURES, SENT, RECEIVED = range(len(MEASURES))
NOTHING = (0,) * len(MEASURES)

KEEP_ENDED = 30.0  # seconds that an ended process stays
HISTORY = 60  # intervals that a row's history has
LAST = 10  # connections that a row's details show
MOST_ROWS = 2048  # of a dimension: of more, those that were quiet for longest are counted as others
EVICTED = MOST_ROWS // 8
MOST_OPEN = 65_536  # open connections that are followed: the bytes of further ones are not counted


class Who(NamedTuple):
    """A process, as it was at its first event.

    Attributes:
        pid: Its id.
        start_time: When it started: no other process with its id has this time.
        ppid: Its parent's id.
        uid: Its user.
        name: The executable's file name.
        path: The executable's path.
        args: Its arguments.
        container: Its container's id; "" on the host.
    """

    pid: int
    start_time: str
    ppid: int
    uid: int
    name: str
    path: str
    args: str
    container: str

    @property
    def key(self) -> tuple[int, str]:
        """What no other process has."""
        return self.pid, self.start_time


class Connection:
    """A connection, or an attempt to make one, for the details of a row.

    Attributes:
        who: Its process.
        arrow: Its direction.
        address: The peer's address.
        port: The server's port.
        time: When it was opened, as the event says.
        sent: Payload bytes sent so far, as far as they are known.
        received: Payload bytes received, likewise.
        duration_us: How long it was open; None while it is, or if that is unknown.
        handshake_us: How long the handshake took, if that is known.
        state: `open`, `closed`, or how it ended or failed.
    """

    __slots__ = (
        "address",
        "arrow",
        "duration_us",
        "handshake_us",
        "port",
        "received",
        "rows",
        "sent",
        "state",
        "time",
        "who",
    )

    def __init__(self, who: Who, network: Json, arrow: str, time: str) -> None:
        """Make an open one of its first event."""
        self.who = who
        self.arrow = arrow
        self.address: str = network["daddr"]
        self.port: int = network["sport" if arrow == IN else "dport"]
        self.time = time
        self.sent: int = network.get("bytes_sent", 0)
        self.received: int = network.get("bytes_received", 0)
        self.duration_us: int | None = None
        self.handshake_us: int | None = network.get("handshake_us")
        self.state = "open"
        self.rows: tuple[Row, ...] = ()


class Tally:
    """Sums since the start, in the interval that is not over yet, and in each of the last ones."""

    __slots__ = ("current", "history", "total")

    def __init__(self) -> None:
        self.total = [0] * len(MEASURES)
        self.current = [0] * len(MEASURES)
        self.history: deque[tuple[int, ...]] = deque(maxlen=HISTORY)

    def add(self, measure: int, count: int = 1) -> None:
        """Add to a measure."""
        self.total[measure] += count
        self.current[measure] += count

    def end_interval(self) -> None:
        """Put the interval into the history."""
        if self.current == [*NOTHING]:
            self.history.append(NOTHING)
        else:
            self.history.append(tuple(self.current))
            self.current = [*NOTHING]

    @property
    def last(self) -> tuple[int, ...]:
        """The sums of the last interval that is over."""
        return self.history[-1] if self.history else NOTHING


class Row:
    """One process, peer, port or container.

    Attributes:
        dimension: One of DIMENSIONS.
        key: What tells it from others of its dimension.
        who: The process, of a row of processes.
        parent: The key of its parent's row, if that is known.
        tally: What is counted.
        open: How many of its connections are open.
        last: Its last connections, the newest at the end.
        active_at: When its last event came.
        ended_at: When it was seen to have ended, of a process.
    """

    __slots__ = ("active_at", "dimension", "ended_at", "key", "last", "open", "parent", "tally", "who")

    def __init__(self, dimension: str, key: Any, now: float, who: Who | None = None) -> None:
        """Make a row without counts."""
        self.dimension = dimension
        self.key = key
        self.who = who
        self.parent: tuple[int, str] | None = None
        self.tally = Tally()
        self.open = 0
        self.last: deque[Connection] = deque(maxlen=LAST)
        self.active_at = now
        self.ended_at: float | None = None


class Top:
    """Counts events.

    Attributes:
        rows: Of each dimension the rows, by their keys.
        others: Of each dimension what the rows have counted that are gone.
        gone: Of each dimension how many these are.
        total: All together.
        open: How many connections are open.
        unfollowed: Closes and other events of connections that are not followed: their opening was not seen, or there
            were too many. Their bytes are not counted.
        lost: How many events netmon has lost.
        ticks: How many intervals are over.
        seconds: How long the last one was.
        time: When it ended, by the clock.
        knows_ends: Whether a process that has ended is known to have.
    """

    def __init__(self, now: float, is_running: Callable[[Who], bool] | None = None) -> None:
        """Begin to count.

        Args:
            now: The time by a clock that tick() goes on with, in seconds.
            is_running: Tells whether a process runs. None: nobody can tell, as of a recording; then a process counts
                as ended when none of its connections is open.
        """
        self.rows: dict[str, dict[Any, Row]] = {dimension: {} for dimension in DIMENSIONS}
        self.others = {dimension: Tally() for dimension in DIMENSIONS}
        self.gone = dict.fromkeys(DIMENSIONS, 0)
        self.total = Tally()
        self.unfollowed = 0
        self.lost = 0
        self.ticks = 0
        self.seconds = 0.0
        self.time = now
        self.knows_ends = is_running is not None
        self._is_running = is_running
        self._connections: dict[int, Connection] = {}
        self._running_pids: dict[int, Row] = {}

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def add(self, event: Json) -> None:
        """Count an event, a dict with the keys of the JSON."""
        kind = event["type"]
        if kind == "LostEvents":
            self.lost += event["lost_events"]["count"]
        elif kind == "NetworkEvent":
            self._add(event, event["network_event"])

    def _add(self, event: Json, network: Json) -> None:
        kind, cookie = network["type"], network["cookie"]
        if kind == NAME:
            return
        if kind in (CLOSE, PROGRESS):
            connection = self._connections.get(cookie)
            if connection is None:
                self.unfollowed += 1
                return
            self._count_bytes(connection, network)
            if kind == CLOSE:
                self._close(cookie, connection, network)
            return
        connection = Connection(_who(event["process"]), network, arrow_of(network, UNKNOWN), event["timestamp"])
        connection.rows = self._rows_of(connection)
        for row in connection.rows:
            row.last.append(connection)
        if (parent := event.get("parent")) is not None:
            connection.rows[0].parent = self._process(_who(parent)).key
        if kind == FAIL:
            connection.state = f"failed: {network.get('reason', 'other')}"
            self._count(connection, FAILURES)
            return
        if kind != EXISTING:
            self._count(connection, CONNECTIONS)
            connection.sent = connection.received = 0
        self._follow(cookie, connection)

    def _follow(self, cookie: int, connection: Connection) -> None:
        if (previous := self._connections.pop(cookie, None)) is not None:  # its close was lost
            self._release(previous)
        if len(self._connections) >= MOST_OPEN:
            self.unfollowed += 1
            connection.state = "not followed"
            return
        self._connections[cookie] = connection
        for row in connection.rows:
            row.open += 1

    def _close(self, cookie: int, connection: Connection, network: Json) -> None:
        del self._connections[cookie]
        self._release(connection)
        ending = network.get("closed_by", "")
        connection.state = ending if ending in ("reset", "timeout") else "closed"
        connection.duration_us = network.get("duration_us")

    def _release(self, connection: Connection) -> None:
        connection.state = "closed"
        for row in connection.rows:
            row.open -= 1
            row.active_at = self.time

    def _count_bytes(self, connection: Connection, network: Json) -> None:
        """Count what a connection has carried since it was last looked at. A look in passing may be behind a close."""
        if "bytes_sent" not in network:
            return
        sent, received = network["bytes_sent"], network["bytes_received"]
        self._count(connection, SENT, max(0, sent - connection.sent))
        self._count(connection, RECEIVED, max(0, received - connection.received))
        connection.sent, connection.received = max(sent, connection.sent), max(received, connection.received)

    def _count(self, connection: Connection, measure: int, count: int = 1) -> None:
        if count:
            self.total.add(measure, count)
            for row in connection.rows:
                row.tally.add(measure, count)
                row.active_at = self.time

    def _rows_of(self, connection: Connection) -> tuple[Row, ...]:
        """Return the connection's rows, in the order of DIMENSIONS."""
        who = connection.who
        keys = (connection.address, (connection.arrow, connection.port), who.container)
        others = (self._row(dimension, key) for dimension, key in zip(DIMENSIONS[1:], keys, strict=True))
        return (self._process(who), *others)

    def _process(self, who: Who) -> Row:
        row = self._row("process", who.key, who)
        before = self._running_pids.get(who.pid)
        if before is not row:
            if before is not None and before.ended_at is None:
                before.ended_at = self.time  # its id was used again
            self._running_pids[who.pid] = row
        return row

    def _row(self, dimension: str, key: Any, who: Who | None = None) -> Row:
        rows = self.rows[dimension]
        row = rows.get(key)
        if row is None:
            if len(rows) >= MOST_ROWS:
                self._evict(dimension)
            row = rows[key] = Row(dimension, key, self.time, who)
        elif who is not None and row.who is not None and (who.name, who.args) != (row.who.name, row.who.args):
            row.who = who  # it has exec'd
        return row

    def _evict(self, dimension: str) -> None:
        """Remove many rows, as it is slow: those that were quiet for longest, first those without open connections."""
        ordered = sorted(self.rows[dimension].values(), key=lambda row: (row.open > 0, row.active_at))
        for row in ordered[:EVICTED]:
            self._remove(dimension, row)

    def _remove(self, dimension: str, row: Row) -> None:
        """Count a row among the others, and what its open connections will yet carry."""
        del self.rows[dimension][row.key]
        others = self.others[dimension]
        for measure, count in enumerate(row.tally.total):
            others.total[measure] += count
            others.current[measure] += row.tally.current[measure]
        row.tally = others
        if row.tally.total != [*NOTHING] or row.last:
            self.gone[dimension] += 1
        if row.who is not None and self._running_pids.get(row.who.pid) is row:
            del self._running_pids[row.who.pid]

    def tick(self, now: float) -> None:
        """End an interval, and forget the processes that have ended a while ago."""
        self.seconds, self.time = now - self.time, now
        self.ticks += 1
        for tally in self._tallies():
            tally.end_interval()
        for row in [*self.rows["process"].values()]:
            if row.ended_at is None and not self._runs(row):
                row.ended_at = now
            elif row.ended_at is not None and self._is_running is None and row.open:
                row.ended_at = None
            if row.ended_at is not None and not row.open and now - max(row.ended_at, row.active_at) >= KEEP_ENDED:
                self._remove("process", row)

    def _runs(self, row: Row) -> bool:
        if self._is_running is None or row.who is None:
            return row.open > 0
        return self._is_running(row.who)

    def _tallies(self) -> Iterator[Tally]:
        yield self.total
        yield from self.others.values()
        for rows in self.rows.values():
            for row in rows.values():
                yield row.tally


def _who(process: Json) -> Who:
    return Who(
        process["pid"],
        process["start_time"],
        process["ppid"],
        process["uid"],
        process["filename"],
        process["binary_path"],
        process["args"],
        process.get("container_id", ""),
    )

"""Puts names into events: reads answers and hellos among the records, and remembers the names of open connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from netmon.errors import DecodeError
from netmon.layout import (
    ANSWER_RECORD,
    HELLO_RECORD,
    AnswerRecord,
    Family,
    HelloRecord,
    ProcessRecord,
    RecordType,
    TableSize,
)
from netmon.names.addresses import IPV4_LENGTH, nameable
from netmon.names.answer import parse_answer
from netmon.names.cache import NameCache, Origin
from netmon.names.hello import Hello, HelloError, parse_hello
from netmon.names.patterns import NameFilter
from netmon.peer_names import SNI, ordered

if TYPE_CHECKING:
    from netmon.decode.raw_event import RawEvent
    from netmon.filters.compiled import NameRules

# As many as the kernel half keeps.
REJECTED_LIMIT = TableSize.CONNECTION_TABLE_SIZE + TableSize.CONNECTION_OVERFLOW_SIZE
INGRESS = "ingress"
OPEN_LIMIT = 65_536  # open connections whose names are remembered
HELLO_LIMIT = 1024  # connections of which a part of a hello was read, or a hello before their opening
NSEC_PER_MSEC, NSEC_PER_USEC = 1_000_000, 1000

# Plain ints: members of an enum are slow to look up.
_ESTABLISH, _FAIL = int(RecordType.ESTABLISH), int(RecordType.FAIL)
_ACCEPT, _NAME = int(RecordType.ACCEPT), int(RecordType.NAME)
_PASSED = object()
_CLOSE, _PROGRESS = int(RecordType.CLOSE), int(RecordType.PROGRESS)


class Naming:
    """The names of one run.

    Attributes:
        answers: How many answers were read.
        unused: How many of them gave no name: see Losses.answers_unused.
        hellos: How many records of hellos were read.
        unused_hellos: How many hellos gave no name: see Losses.hellos_unused.
        dropped: How many events the filter of names has dropped.
    """

    def __init__(self, cache: NameCache | None = None, *, reports_names: bool = True) -> None:
        """Begin without names.

        Args:
            cache: For tests, which bring a small one.
            reports_names: Whether a name that a client announces is an event of its own.
        """
        self._reports_names = reports_names
        self._pieces: dict[int, bytes] = {}  # of hellos, by cookie
        self._early: dict[int, Hello] = {}  # of connections whose opening is still to come, by cookie
        self._cache = cache if cache is not None else NameCache()
        self._open: dict[int, list[dict[str, Any]]] = {}  # by cookie
        self._filter: NameFilter | None = None
        self._rejected: dict[int, object] = {}  # cookies of open connections
        self._forgotten = 0
        self.answers = self.unused = self.dropped = self.hellos = self.unused_hellos = 0

    @property
    def evicted(self) -> int:
        """How many names were forgotten."""
        return self._cache.evicted + self._forgotten

    def note_process(self, record: ProcessRecord) -> Origin:
        """Remember whose child a process is, which was described. Return its origin."""
        origin = _origin_of(record)
        self._cache.note_process(origin)
        return origin

    def add_answer(self, record: bytes) -> None:
        """Read an answer.

        Args:
            record: A struct answer_record and the answer.

        Raises:
            DecodeError: The record is shorter than its length says.
        """
        if len(record) < ANSWER_RECORD.size:
            raise DecodeError(f"an answer has {len(record)} bytes, but needs at least {ANSWER_RECORD.size}")
        fixed = AnswerRecord._make(ANSWER_RECORD.unpack_from(record))
        end = ANSWER_RECORD.size + fixed.length
        if len(record) < end:
            raise DecodeError(f"an answer has {len(record)} bytes, but its length says {end}")
        self.answers += 1
        answer = parse_answer(record[ANSWER_RECORD.size : end])
        if answer is None:
            self.unused += 1
            return
        addresses = [address for packed in answer.addresses if (address := nameable(packed)) is not None]
        self._cache.add(_origin_of(fixed), answer.name, addresses, fixed.time_ns)

    def add_hello(self, record: bytes, cookie: int) -> tuple[dict[str, Any], bytes] | None:
        """Read a piece of a hello.

        Args:
            record: A struct hello_record and the piece.
            cookie: The connection's.

        Returns:
            The details and the addresses of the event that the connection has a name; None if there is none.

        Raises:
            DecodeError: The record is shorter than its length says.
        """
        if len(record) < HELLO_RECORD.size:
            raise DecodeError(f"a hello has {len(record)} bytes, but needs at least {HELLO_RECORD.size}")
        fixed = HelloRecord._make(HELLO_RECORD.unpack_from(record))
        piece = record[HELLO_RECORD.size : HELLO_RECORD.size + fixed.length]
        if len(piece) < fixed.length:
            raise DecodeError(
                f"a hello has {len(record)} bytes, but its length says {HELLO_RECORD.size + fixed.length}"
            )
        self.hellos += 1
        hello = self._read_hello(piece, fixed, cookie)
        if hello is None or not hello.name:
            return None
        if fixed.is_early:
            _put(self._early, cookie, hello)
            return None
        size = IPV4_LENGTH if fixed.family == Family.IPV4 else len(fixed.saddr)
        return {"names": [_announced(hello)]}, fixed.saddr[:size] + fixed.daddr[:size]

    def _read_hello(self, piece: bytes, fixed: HelloRecord, cookie: int) -> Hello | None:
        """Return what a hello says once all of it has come."""
        before = self._pieces.pop(cookie, None)
        if fixed.is_first:
            before = b""
        if before is None:  # its beginning was read already, or forgotten
            return None
        try:
            hello = parse_hello(before + piece, is_all=not fixed.left)
        except HelloError:
            self.unused_hellos += 1
            return None
        if hello is None:
            self.unused_hellos += _put(self._pieces, cookie, before + piece)
        return hello

    def filter_by(self, rules: NameRules | None) -> None:
        """Judge the connections that open from now on by their names. None: all pass."""
        self._filter = NameFilter(rules) if rules is not None else None

    def named(self, events: Iterator[RawEvent], offset: int) -> Iterator[RawEvent]:
        """Yield the events that pass the filter, with their names. offset: as of name()."""
        for event in events:
            hello = self._early.pop(event.cookie, None) if self._early and event.type in (_ESTABLISH, _FAIL) else None
            named = self.name(event, offset)
            if named is not None:
                yield named
            if hello is not None and event.type == _ESTABLISH:
                # It was announced before the opening was reported, and has the opening's time.
                event = event._replace(type=_NAME, details={"names": [_announced(hello)]})
                if (named := self.name(event, offset)) is not None:
                    yield named

    def name(self, event: RawEvent, offset: int) -> RawEvent | None:
        """Return an event with its names, if there are any; None if it does not pass the filter.

        Args:
            event: The event.
            offset: UTC's offset from CLOCK_BOOTTIME, in nanoseconds.
        """
        names = self._names_of(event, offset)
        if (self._filter is not None or self._rejected) and not self._passes(event, names):
            self.dropped += 1
            return None
        if event.type == _NAME and not self._reports_names:
            self.dropped += 1
            return None
        return event._replace(details={**event.details, "names": names}) if names else event

    def _names_of(self, event: RawEvent, offset: int) -> list[dict[str, Any]] | None:
        """Return the names of an event. Those of a connection are found once, when it is opened."""
        if event.type == _CLOSE:
            self._pieces.pop(event.cookie, None)
            return self._open.pop(event.cookie, None)
        if event.type == _NAME:
            names = ordered(self._open.get(event.cookie, ()), event.details["names"][0])
            self._remember(event.cookie, names)
            return names
        if event.type == _PROGRESS:
            return self._open.get(event.cookie)
        origin = event.process.origin
        if event.type not in (_ESTABLISH, _FAIL) or origin is None:
            return None
        asked_ns = event.timestamp_ns - offset - event.details.get("handshake_us", 0) * NSEC_PER_USEC
        peer = event.addresses[len(event.addresses) // 2 :]
        names = [
            {"name": name, "source": "dns", "scope": scope, "age_ms": (asked_ns - told_ns) // NSEC_PER_MSEC}
            for name, scope, told_ns in self._cache.names_of(origin, peer, asked_ns)
        ]
        if names and event.type == _ESTABLISH:
            self._remember(event.cookie, names)
        return names

    def _passes(self, event: RawEvent, names: list[dict[str, Any]] | None) -> bool:
        """Return whether an event passes the filter. A connection is judged when it opens, and when it has a name."""
        if event.type == _CLOSE:
            return self._rejected.pop(event.cookie, _PASSED) is _PASSED
        if event.type == _PROGRESS or (event.type == _NAME and self._filter is None):
            return event.cookie not in self._rejected
        self._rejected.pop(event.cookie, None)  # of a connection whose close was lost, or that has a name now
        if self._filter is None or event.type == _ACCEPT or event.details.get("direction") == INGRESS:
            return True
        passes = self._filter.passes(names or ())
        if not passes and event.type != _FAIL:
            if len(self._rejected) >= REJECTED_LIMIT:
                del self._rejected[next(iter(self._rejected))]
            self._rejected[event.cookie] = None
        return passes

    def _remember(self, cookie: int, names: list[dict[str, Any]]) -> None:
        if len(self._open) >= OPEN_LIMIT and cookie not in self._open:
            self._forgotten += len(self._open.pop(next(iter(self._open))))
        self._open[cookie] = names


def _origin_of(record: ProcessRecord | AnswerRecord) -> Origin:
    """Return where a process comes from."""
    return Origin(
        (record.pid, record.start_time_ns),
        (record.ppid, record.origin_parent_start_ns),
        record.origin_cgroup_id,
        record.origin_netns,
    )


def _announced(hello: Hello) -> dict[str, Any]:
    """Return the name in a hello as events have it."""
    return {"name": hello.name, "source": SNI, "scope": "connection", **({"ech": True} if hello.ech else {})}


def _put(waiting: dict[int, Any], cookie: int, value: Any) -> bool:
    """Keep a value. Return whether there were too many, so that the oldest one was forgotten."""
    waiting.pop(cookie, None)
    is_full = len(waiting) >= HELLO_LIMIT
    if is_full:
        del waiting[next(iter(waiting))]
    waiting[cookie] = value
    return is_full

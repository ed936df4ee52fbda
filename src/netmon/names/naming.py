"""Puts names into events: reads the answers among the records, and remembers the names of open connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netmon.errors import DecodeError
from netmon.layout import ANSWER_RECORD, AnswerRecord, ProcessRecord, RecordType, TableSize
from netmon.names.addresses import nameable
from netmon.names.answer import parse_answer
from netmon.names.cache import NameCache, Origin
from netmon.names.patterns import NameFilter

if TYPE_CHECKING:
    from typing import TypeVar

    from netmon.decode.known_process import KnownProcess
    from netmon.decode.raw_event import Opener, Renderer
    from netmon.filters.compiled import NameRules

    T = TypeVar("T")

# As many as the kernel half keeps.
REJECTED_LIMIT = TableSize.CONNECTION_TABLE_SIZE + TableSize.CONNECTION_OVERFLOW_SIZE
INGRESS = "ingress"
OPEN_LIMIT = 65_536  # open connections whose names are remembered
NSEC_PER_MSEC, NSEC_PER_USEC = 1_000_000, 1000

# Plain ints: members of an enum are slow to look up.
_ESTABLISH, _FAIL = int(RecordType.ESTABLISH), int(RecordType.FAIL)
_ACCEPT = int(RecordType.ACCEPT)
_PASSED = object()
_CLOSE, _PROGRESS = int(RecordType.CLOSE), int(RecordType.PROGRESS)


class Naming:
    """The names of one run.

    Attributes:
        answers: How many answers were read.
        unused: How many of them gave no name: see Losses.answers_unused.
        dropped: How many events the filter of names has dropped.
    """

    def __init__(self, cache: NameCache | None = None) -> None:
        """Begin without names. cache: for tests, which bring a small one."""
        self._cache = cache if cache is not None else NameCache()
        self._open: dict[int, list[dict[str, Any]]] = {}  # by cookie
        self._filter: NameFilter | None = None
        self._rejected: dict[int, object] = {}  # cookies of open connections
        self._forgotten = 0
        self.answers = self.unused = self.dropped = 0

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

    def filter_by(self, rules: NameRules | None) -> None:
        """Judge the connections that open from now on by their names. None: all pass."""
        self._filter = NameFilter(rules) if rules is not None else None

    def naming(self, render: Renderer[T], offset: int) -> Renderer[T | None]:
        """Return a renderer that adds names, and renders as another one does; None if the event does not pass.

        Args:
            render: The other one.
            offset: UTC's offset from CLOCK_BOOTTIME, in nanoseconds.
        """

        def render_named(
            process: KnownProcess,
            tid: int,
            type_: int,
            sport: int,
            dport: int,
            cookie: int,
            addresses: bytes,
            timestamp: str,
            timestamp_ns: int,
            details: dict[str, Any],
            opener: Opener | None,
        ) -> T | None:
            names = self._names_of(process, type_, cookie, addresses, timestamp_ns - offset, details)
            if (self._filter is not None or self._rejected) and not self._passes(type_, cookie, names, details):
                self.dropped += 1
                return None
            if names:
                details = {**details, "names": names}
            return render(
                process, tid, type_, sport, dport, cookie, addresses, timestamp, timestamp_ns, details, opener
            )

        return render_named

    def _names_of(
        self,
        process: KnownProcess,
        type_: int,
        cookie: int,
        addresses: bytes,
        time_ns: int,
        details: dict[str, Any],
    ) -> list[dict[str, Any]] | None:
        """Return the names of an event. Those of a connection are found once, when it is opened."""
        if type_ == _CLOSE:
            return self._open.pop(cookie, None)
        if type_ == _PROGRESS:
            return self._open.get(cookie)
        if type_ not in (_ESTABLISH, _FAIL) or process.origin is None:
            return None
        asked_ns = time_ns - details.get("handshake_us", 0) * NSEC_PER_USEC
        names = [
            {"name": name, "source": "dns", "scope": scope, "age_ms": (asked_ns - told_ns) // NSEC_PER_MSEC}
            for name, scope, told_ns in self._cache.names_of(process.origin, addresses[len(addresses) // 2 :], asked_ns)
        ]
        if names and type_ == _ESTABLISH:
            self._remember(cookie, names)
        return names

    def _passes(self, type_: int, cookie: int, names: list[dict[str, Any]] | None, details: dict[str, Any]) -> bool:
        """Return whether an event passes the filter. A connection is judged once, when it opens."""
        if type_ == _CLOSE:
            return self._rejected.pop(cookie, _PASSED) is _PASSED
        if type_ == _PROGRESS:
            return cookie not in self._rejected
        self._rejected.pop(cookie, None)  # of a connection whose close was lost
        if self._filter is None or type_ == _ACCEPT or details.get("direction") == INGRESS:
            return True
        passes = self._filter.passes(names or ())
        if not passes and type_ != _FAIL:
            if len(self._rejected) >= REJECTED_LIMIT:
                del self._rejected[next(iter(self._rejected))]
            self._rejected[cookie] = None
        return passes

    def _remember(self, cookie: int, names: list[dict[str, Any]]) -> None:
        if len(self._open) >= OPEN_LIMIT:
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

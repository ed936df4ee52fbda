"""Ring-buffer records to events: as pydantic models for the library, as JSON lines for the command."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from netmon.batch import HEADER, Batch
from netmon.decode.clock import Clock
from netmon.decode.details import context_of, details_of, unpack_context, unpack_detailed
from netmon.decode.format import ADDRESSES_KEPT, format_address, format_timestamp
from netmon.decode.processes import KnownProcess, ProcessTable
from netmon.errors import DecodeError
from netmon.layout import DETAILED_EVENT, EVENT_CONTEXT, IPV4_EVENT, IPV6_EVENT, EventContext, RecordType

if TYPE_CHECKING:
    from netmon.events import NetworkEvent

T = TypeVar("T")


class Opener(NamedTuple):
    """The thread that opened a connection which another process closes."""

    process: KnownProcess
    tid: int


# Makes an event of what a RawEvent holds.
Make = Callable[[KnownProcess, int, int, int, int, int, bytes, str, int, dict[str, Any], Opener | None], T]

NO_DETAILS: dict[str, Any] = {}

# Plain ints: an enum's members are slow to reach on a hot path.
EVENT_TYPES = {
    int(RecordType.ESTABLISH): "TcpConnectionEstablish",
    int(RecordType.ACCEPT): "TcpConnectionAccept",
    int(RecordType.CLOSE): "TcpConnectionClose",
    int(RecordType.FAIL): "TcpConnectionFail",
    int(RecordType.EXISTING): "TcpConnectionExisting",
}
CHUNK_LINES = 100  # some 64 KiB: all that a pipe takes, and little enough to stay in the heap and the caches
CHUNK_EVENTS = 1000
NSEC_PER_MSEC = 1_000_000
_PROCESS = int(RecordType.PROCESS)
_IPV4_SIZE = IPV4_EVENT.size
_IPV6_SIZE = IPV6_EVENT.size
_DETAILED_SIZE = DETAILED_EVENT.size
_DETAILED_SIZES = (_DETAILED_SIZE, _DETAILED_SIZE + EVENT_CONTEXT.size)


def _unpacker(event: struct.Struct) -> Callable[[bytes, int], tuple[Any, ...]]:
    """Return what unpacks a record: the ring buffer's length, the event's fields, both addresses in one piece."""
    fields = re.sub(r"(\d+)s\1s$", lambda match: f"{2 * int(match[1])}s", event.format[1:])
    return struct.Struct(HEADER.format + fields).unpack_from


_unpack_ipv4 = _unpacker(IPV4_EVENT)
_unpack_ipv6 = _unpacker(IPV6_EVENT)


def _format_addresses(packed: bytes) -> tuple[str, str]:
    """Return source and destination as text."""
    half = len(packed) // 2
    return format_address(packed[:half]), format_address(packed[half:])


_addresses = lru_cache(maxsize=ADDRESSES_KEPT)(_format_addresses)


@lru_cache(maxsize=ADDRESSES_KEPT)
def _json_addresses(packed: bytes) -> str:
    saddr, daddr = _format_addresses(packed)
    return f'"saddr":"{saddr}","daddr":"{daddr}"'


def _make_json(
    process: KnownProcess,
    tid: int,
    kind: int,
    sport: int,
    dport: int,
    cookie: int,
    addresses: bytes,
    timestamp: str,
    _timestamp_ns: int,
    details: dict[str, Any],
    opener: Opener | None,
) -> str:
    more = _json_details(details) if details else ""
    other = f',"opener":{opener.process.json(opener.tid)}' if opener else ""
    return (
        f'{process.json_head}{tid}{process.json_tail}{other},"network_event":{{"type":"{EVENT_TYPES[kind]}",'
        f'{_json_addresses(addresses)},"sport":{sport},"dport":{dport},"cookie":{cookie}{more}}},"timestamp":"{timestamp}"}}\n'
    )


def _json_details(details: dict[str, Any]) -> str:
    import orjson  # slow to import, and mostly not needed

    return f",{orjson.dumps(details).decode()[1:-1]}"


@lru_cache(maxsize=1)
def _model_maker() -> Make[NetworkEvent]:
    # pydantic is slow to import, and not needed for JSON lines.
    from pydantic import TypeAdapter

    from netmon.events import NetworkEvent

    validate = TypeAdapter(NetworkEvent).validator.validate_python

    def make_model(
        process: KnownProcess,
        tid: int,
        kind: int,
        sport: int,
        dport: int,
        cookie: int,
        addresses: bytes,
        timestamp: str,
        _timestamp_ns: int,
        details: dict[str, Any],
        opener: Opener | None,
    ) -> NetworkEvent:
        saddr, daddr = _addresses(addresses)
        fields = {
            "type": "NetworkEvent",
            "process": process.model(tid),
            "network_event": {
                "type": EVENT_TYPES[kind],
                "saddr": saddr,
                "daddr": daddr,
                "sport": sport,
                "dport": dport,
                "cookie": cookie,
                **details,
            },
            "timestamp": timestamp,
        }
        if process.parent:
            fields["parent"] = process.parent_model
        if opener:
            fields["opener"] = opener.process.model(opener.tid)
        event: NetworkEvent = validate(fields)
        return event

    return make_model


class RawEvent(NamedTuple):
    """A connection event with little made of it, for those to whom speed matters more."""

    process: KnownProcess  # the same object for all events of a process
    tid: int
    type: int  # a RecordType
    sport: int
    dport: int
    cookie: int
    addresses: bytes  # saddr and daddr, packed, in one piece
    timestamp: str  # UTC, in milliseconds
    timestamp_ns: int  # since the epoch
    details: dict[str, Any]  # the further keys of a detailed event
    opener: Opener | None  # of a close by another process than the one that opened the connection

    @property
    def type_name(self) -> str:
        """The type as a NetworkEvent tells it."""
        return EVENT_TYPES[self.type]

    @property
    def saddr(self) -> str:
        """This host's address."""
        return _addresses(self.addresses)[0]

    @property
    def daddr(self) -> str:
        """The peer's address."""
        return _addresses(self.addresses)[1]


def _make_raw(*fields: Any) -> RawEvent:
    return tuple.__new__(RawEvent, fields)  # the type's own way takes twice as long


class Decoder:
    """Keeps what records tell of processes, and makes events of the others."""

    def __init__(self, clock: Clock, processes: ProcessTable) -> None:
        self._clock = clock
        self._processes = processes
        self.unknown_process = 0  # events dropped because their process was never described
        self.unknown_opener = 0  # closes told without their opener, which was let go

    def events(self, batch: Batch) -> Iterator[NetworkEvent]:
        """Yield the batch's connection events. Raises DecodeError for a record that is none of netmon's."""
        return self._decode(batch, _model_maker())

    def json_lines(self, batch: Batch) -> Iterator[list[str]]:
        """Yield the batch's connection events as lines of JSON, the same as the models' own, some at a time.

        Raises DecodeError for a record that is none of netmon's.
        """
        lines = self._decode(batch, _make_json)
        while chunk := list(islice(lines, CHUNK_LINES)):
            yield chunk

    def raw_events(self, batch: Batch) -> Iterator[list[RawEvent]]:
        """Yield the batch's connection events, some at a time.

        Raises DecodeError for a record that is none of netmon's.
        """
        events = self._decode(batch, _make_raw)
        while chunk := list(islice(events, CHUNK_EVENTS)):
            yield chunk

    def _decode(self, batch: Batch, make: Make[T]) -> Iterator[T]:
        """Yield what make() makes of each connection event."""
        data, known, offset = batch.data, self._processes.get, self._clock.event_time(0)
        begin = end = 0  # of the millisecond that timestamp tells: under load, many events share one
        timestamp = ""
        for at in batch.offsets:
            details, opener = NO_DETAILS, None
            try:
                size, kind, _, sport, dport, tid, time, process_id, cookie, addresses = _unpack_ipv4(data, at)
            except struct.error:
                raise _foreign(data, at) from None
            if size != _IPV4_SIZE or kind not in EVENT_TYPES:
                if kind == _PROCESS:
                    start = at + HEADER.size
                    self._processes.add(data[start : start + size])
                    continue
                if size == _IPV6_SIZE and kind in EVENT_TYPES:
                    size, kind, _, sport, dport, tid, time, process_id, cookie, addresses = _unpack_ipv6(data, at)
                elif size in _DETAILED_SIZES and kind in EVENT_TYPES:
                    event, addresses = unpack_detailed(data, at + HEADER.size)
                    kind, _, sport, dport, tid, time, process_id, cookie = event[:8]
                    details = details_of(event)
                    if size != _DETAILED_SIZE:
                        context = unpack_context(data, at + HEADER.size + _DETAILED_SIZE)
                        details = (details if context.has_details else {}) | context_of(context)
                        opener = self._opener(context)
                else:
                    raise _foreign(data, at)
            process = known(process_id)
            if process is None:
                self.unknown_process += 1
                continue
            if not begin <= time < end:
                timestamp = format_timestamp(time + offset)
                begin = time - (time + offset) % NSEC_PER_MSEC
                end = begin + NSEC_PER_MSEC
            yield make(process, tid, kind, sport, dport, cookie, addresses, timestamp, time + offset, details, opener)

    def _opener(self, context: EventContext) -> Opener | None:
        """Return who opened the connection, if that is to be told. A connection may outlive what is known of it."""
        if not context.opener_id:
            return None
        process = self._processes.get(context.opener_id)
        if process is None:
            self.unknown_opener += 1
            return None
        return Opener(process, context.opener_tid)


def _foreign(data: bytes, at: int) -> DecodeError:
    return DecodeError(
        f"a record of type {data[at + HEADER.size]} and {HEADER.unpack_from(data, at)[0]} bytes is none of netmon's"
    )

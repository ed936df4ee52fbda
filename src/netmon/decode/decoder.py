"""Decodes batches of records: process records go into the table, connection events come out, rendered."""

from __future__ import annotations

import struct
import sys
from itertools import islice
from typing import TYPE_CHECKING

from netmon.batch import HEADER, Batch
from netmon.decode.clock import Clock
from netmon.decode.format import EVENT_TYPES, format_timestamp
from netmon.decode.processes import LINE_REST, ProcessTable
from netmon.decode.raw_event import JSON_FORM, RAW_FORM, Opener, model_form
from netmon.decode.structs import offset_of
from netmon.errors import DecodeError
from netmon.layout import DETAILED_EVENT, EVENT_CONTEXT, FIELDS, IPV4_EVENT, IPV6_EVENT, RecordType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    from netmon.decode.raw_event import Form, RawEvent
    from netmon.events import NetworkEvent
    from netmon.names.naming import Naming
    from netmon.rules.apply import RuledEvents

    T = TypeVar("T")

# Lines that are made at once, at most: mostly about 64 KiB, what a pipe takes, and little enough for the heap and the
# CPU's caches. Long lines are fewer: of about so many characters together.
CHUNK_LINES = 100
CHUNK_SIZE = 256 << 10
ORDINARY = CHUNK_SIZE // CHUNK_LINES - LINE_REST  # characters of a process's JSON: up to so many, a chunk is full
CHUNK_EVENTS = 1000
NSEC_PER_MSEC = 1_000_000
_PROCESS = int(RecordType.PROCESS)
# The records that come before one of a process, and what takes them.
_BEFORE_PROCESS = {
    int(RecordType.EXEC): ProcessTable.add_exec,
    int(RecordType.ANCESTORS): ProcessTable.add_ancestors,
}
_ANSWER, _NAME = int(RecordType.ANSWER), int(RecordType.NAME)
_IPV4_SIZE = IPV4_EVENT.size
_IPV6_SIZE = IPV6_EVENT.size
_DETAILED_SIZE = DETAILED_EVENT.size
_CONTEXT_SIZE = _DETAILED_SIZE + EVENT_CONTEXT.size  # of a detailed event with its context
# Where a context has has_details, from the offset of the header on.
_HAS_DETAILS_AT = (
    HEADER.size + _DETAILED_SIZE + offset_of("has_details", (EVENT_CONTEXT.format, FIELDS["EventContext"]))
)


def chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """Yield an iterator's items in lists of this size; the last may be shorter."""
    while chunk := list(islice(items, size)):
        yield chunk


def _lines_at_once(longest: int) -> int:
    """Return how many lines to make at once. longest: characters of a process's JSON."""
    return CHUNK_SIZE // (longest + LINE_REST)


# A record, with the header before it: its length, the event's fields, both addresses in one piece.
_unpack_ipv4 = struct.Struct(f"{HEADER.format}{IPV4_EVENT.format[1:].removesuffix('4s4s')}8s").unpack_from
# An IPv6 event's addresses, which follow the same fields.
_unpack_ipv6_addresses = struct.Struct(f"={HEADER.size + _IPV6_SIZE - 32}x32s").unpack_from


class Decoder:
    """Decodes batches, in one of three forms: models, lines of JSON, RawEvents.

    An iteration may end early. The next one, of any form, continues with the batch's next record.
    """

    def __init__(self, clock: Clock, processes: ProcessTable, naming: Naming | None = None) -> None:
        """Make a decoder.

        Args:
            clock: Converts the events' times.
            processes: Receives the processes, and gives them back for the events. The aggregates use it, too.
            naming: Reads answers of name servers, and adds names to events.
        """
        self._naming = naming
        self._clock = clock
        self._processes = processes
        self.unknown_process = 0  # events that were dropped: their process was never described
        self.unknown_opener = 0  # closes without their opener, which was evicted
        self.ruled: RuledEvents | None = None  # what leaves events out, and names the rules of the others

    def events(self, batch: Batch) -> Iterator[NetworkEvent]:
        """Yield the batch's connection events as models.

        Raises:
            DecodeError: A record has no known type, not that type's length, or an unknown value.
        """
        if self.ruled is not None:
            return self.ruled.models(self._rendered(batch, RAW_FORM))
        return self._rendered(batch, model_form())

    def json_lines(self, batch: Batch) -> Iterator[list[str]]:
        """Yield the batch's connection events as lines of JSON, up to CHUNK_LINES at a time.

        Each says what the model's model_dump_json() does, and ends in a newline.

        Raises:
            DecodeError: A record has no known type, not that type's length, or an unknown value.
        """
        while True:
            longest = max(self._processes.longest, ORDINARY)
            lines, count = self._lines(batch, longest), _lines_at_once(longest)
            while chunk := list(islice(lines, count)):
                yield chunk
            if not batch.left:
                return

    def _lines(self, batch: Batch, longest: int) -> Iterator[str]:
        if self.ruled is not None:
            return self.ruled.lines(self._rendered(batch, RAW_FORM, longest))
        return self._rendered(batch, JSON_FORM, longest)

    def chunks_of_lines(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Yield lines about known processes, as json_lines() does: as many at a time."""
        return chunks(lines, _lines_at_once(max(self._processes.longest, ORDINARY)))

    def raw_events(self, batch: Batch) -> Iterator[list[RawEvent]]:
        """Yield the batch's connection events as RawEvents, up to CHUNK_EVENTS at a time.

        Raises:
            DecodeError: A record has no known type, not that type's length, or an unknown value.
        """
        events = self._rendered(batch, RAW_FORM)
        yield from chunks(events if self.ruled is None else self.ruled.raw(events), CHUNK_EVENTS)

    def _rendered(self, batch: Batch, form: Form[T], longest: int = sys.maxsize) -> Iterator[T]:
        """Yield each connection event, rendered, with names if there are any. longest: as of _decode()."""
        if (naming := self._naming) is None:
            return self._decode(batch, form, longest)
        offset = self._clock.event_time(0)
        return map(form.of_raw, naming.named(self._decode(batch, RAW_FORM, longest), offset))

    def _decode(self, batch: Batch, form: Form[T], longest: int = sys.maxsize) -> Iterator[T]:
        """Yield each connection event, rendered. This is the hot path.

        It ends early after a process whose JSON has more characters than the longest that the caller expects.
        """
        data, known, offset = batch.data, self._processes.get, self._clock.event_time(0)
        render, plain, readers = form.render, form.plain, form.readers
        begin = end = 0  # of the millisecond that timestamp names: under load, many events share one
        timestamp = ""
        for at in batch.offsets:
            details, opener = plain, None
            try:  # as if it was an IPv4 event: all have the same head, and most are
                size, type_, family, sport, dport, tid, time, process_id, cookie, addresses = _unpack_ipv4(data, at)
            except struct.error:
                raise _unknown_record(data, at) from None
            if size != _IPV4_SIZE or type_ not in EVENT_TYPES:
                if type_ == _PROCESS:
                    start = at + HEADER.size
                    self._processes.add(data[start : start + size])
                    if self._processes.longest > longest:
                        return
                    continue
                if type_ in _BEFORE_PROCESS:
                    start = at + HEADER.size
                    _BEFORE_PROCESS[type_](self._processes, data[start : start + size])
                    continue
                if type_ == _ANSWER and self._naming is not None:
                    start = at + HEADER.size
                    self._naming.add_answer(data[start : start + size])
                    continue
                if type_ not in EVENT_TYPES:
                    raise _unknown_record(data, at)
                try:
                    if type_ == _NAME and self._naming is not None:
                        start = at + HEADER.size
                        hello = self._naming.add_hello(data[start : start + size], cookie)
                        if hello is None:
                            continue
                        details, addresses = hello
                    elif size == _CONTEXT_SIZE:
                        read = readers[type_, family, data[at + _HAS_DETAILS_AT], True]
                        details, addresses, opener_id, opener_tid = read(data, at)
                        opener = self._opener(opener_id, opener_tid) if opener_id else None
                    elif size == _DETAILED_SIZE:
                        details, addresses, _, _ = readers[type_, family, 1, False](data, at)
                    elif size == _IPV6_SIZE:
                        (addresses,) = _unpack_ipv6_addresses(data, at)
                    else:
                        raise _unknown_record(data, at)
                except (struct.error, LookupError):  # it ends too early, or an enum has no such number
                    raise _unknown_record(data, at) from None
            process = known(process_id)
            if process is None:
                self.unknown_process += 1
                continue
            if not begin <= time < end:
                timestamp = format_timestamp(time + offset)
                begin = time - (time + offset) % NSEC_PER_MSEC
                end = begin + NSEC_PER_MSEC
            yield render(process, tid, type_, sport, dport, cookie, addresses, timestamp, time, offset, details, opener)

    def _opener(self, process_id: int, tid: int) -> Opener | None:
        """Return the thread that opened the connection, if its process is still known."""
        process = self._processes.get(process_id)
        if process is None:  # connections may outlive it in the table
            self.unknown_opener += 1
            return None
        return Opener(process.alone, tid)


def _unknown_record(data: bytes, at: int) -> DecodeError:
    left = len(data) - at
    if left <= HEADER.size:
        return DecodeError(f"a record is cut off after {max(left, 0)} bytes")
    return DecodeError(f"unknown record: type {data[at + HEADER.size]}, {HEADER.unpack_from(data, at)[0]} bytes")

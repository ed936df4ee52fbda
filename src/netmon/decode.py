"""Ring-buffer records to events: as pydantic models for the library, as JSON lines for the command."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from netmon.clock import Clock
from netmon.errors import DecodeError
from netmon.layout import IPV4_EVENT, IPV6_EVENT, RecordType
from netmon.processes import KnownProcess, ProcessTable
from netmon.ring import HEADER, Batch
from netmon.texts import format_timestamp

if TYPE_CHECKING:
    from netmon.events import NetworkEvent

# Plain ints: an enum's members are slow to reach on a hot path.
EVENT_TYPES = {
    int(RecordType.ESTABLISH): "TcpConnectionEstablish",
    int(RecordType.ACCEPT): "TcpConnectionAccept",
    int(RecordType.CLOSE): "TcpConnectionClose",
}
CHUNK_SIZE = 1 << 20  # characters
NSEC_PER_MSEC = 1_000_000
_PROCESS = int(RecordType.PROCESS)
_IPV4_SIZE = IPV4_EVENT.size
_IPV6_SIZE = IPV6_EVENT.size

# With the ring buffer's header, so that one call tells the length, too.
_unpack_ipv4 = struct.Struct(HEADER.format + IPV4_EVENT.format[1:]).unpack_from
_unpack_ipv6 = struct.Struct(HEADER.format + IPV6_EVENT.format[1:]).unpack_from


@lru_cache(maxsize=4096)
def address_text(address: bytes) -> str:
    """Return an IPv4 (4 bytes) or IPv6 (16 bytes) address as text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


class Decoder:
    """Keeps what records tell of processes, and makes events of the others."""

    def __init__(self, clock: Clock, processes: ProcessTable) -> None:
        self._clock = clock
        self._processes = processes
        self.unknown_process = 0  # events dropped because their process was never described

    def events(self, batch: Batch) -> Iterator[NetworkEvent]:
        """Yield the batch's connection events. Raises DecodeError for a record that is none of netmon's."""
        from netmon.events import NetworkEvent  # pydantic: slow to import, and not needed for JSON lines

        make_event = NetworkEvent.model_validate
        for process, fields, timestamp in self._connections(batch):
            _, kind, _, sport, dport, tid, _, _, cookie, saddr, daddr = fields
            yield make_event(
                {
                    "type": "NetworkEvent",
                    "process": process.model(tid),
                    "network_event": {
                        "type": EVENT_TYPES[kind],
                        "saddr": address_text(saddr),
                        "daddr": address_text(daddr),
                        "sport": sport,
                        "dport": dport,
                        "cookie": cookie,
                    },
                    "timestamp": timestamp,
                }
            )

    def json_lines(self, batch: Batch) -> Iterator[list[str]]:
        """Yield the batch's connection events as lines of JSON, the same as the models' own, some 1 MiB at a time.

        Raises DecodeError for a record that is none of netmon's.
        """
        lines: list[str] = []
        size = 0
        for process, fields, timestamp in self._connections(batch):
            _, kind, _, sport, dport, tid, _, _, cookie, saddr, daddr = fields
            lines.append(
                f'{process.json(tid)}{EVENT_TYPES[kind]}","saddr":"{address_text(saddr)}",'
                f'"daddr":"{address_text(daddr)}","sport":{sport},"dport":{dport},"cookie":{cookie}}}'
                f',"timestamp":"{timestamp}"}}\n'
            )
            size += process.size
            if size >= CHUNK_SIZE:
                yield lines
                lines, size = [], 0
        if lines:
            yield lines

    def _connections(self, batch: Batch) -> Iterator[tuple[KnownProcess, tuple[Any, ...], str]]:
        """Yield each connection event's process, its fields (length, then as in Ipv4Event), and its time."""
        data, known, offset = batch.data, self._processes.get, self._clock.event_time(0)
        millisecond, timestamp = -1, ""
        for at in batch.offsets:
            try:
                fields = _unpack_ipv4(data, at)
            except struct.error:
                raise _foreign(data, at) from None
            if fields[0] != _IPV4_SIZE or fields[1] not in EVENT_TYPES:
                if fields[1] == _PROCESS:
                    start = at + HEADER.size
                    self._processes.add(data[start : start + fields[0]])
                    continue
                if fields[0] != _IPV6_SIZE or fields[1] not in EVENT_TYPES:
                    raise _foreign(data, at)
                fields = _unpack_ipv6(data, at)
            process = known(fields[7])
            if process is None:
                self.unknown_process += 1
                continue
            time = fields[6] + offset
            if time // NSEC_PER_MSEC != millisecond:  # under load, many events share one
                millisecond, timestamp = time // NSEC_PER_MSEC, format_timestamp(time)
            yield process, fields, timestamp


def _foreign(data: bytes, at: int) -> DecodeError:
    return DecodeError(
        f"a record of type {data[at + HEADER.size]} and {HEADER.unpack_from(data, at)[0]} bytes is none of netmon's"
    )

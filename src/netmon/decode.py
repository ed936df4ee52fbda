"""Ring-buffer records to events: as pydantic models for the library, as JSON lines for the command."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from netmon.clock import Clock
from netmon.errors import DecodeError
from netmon.layout import IPV4_EVENT, IPV6_EVENT, RecordType
from netmon.processes import KnownProcess, ProcessTable
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
_PROCESS = int(RecordType.PROCESS)
_IPV4_SIZE = IPV4_EVENT.size
_IPV6_SIZE = IPV6_EVENT.size

_unpack_ipv4 = IPV4_EVENT.unpack
_unpack_ipv6 = IPV6_EVENT.unpack


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

    def events(self, records: Iterable[bytes]) -> Iterator[NetworkEvent]:
        """Yield the records' connection events. Raises DecodeError for a record that is none of netmon's."""
        from netmon.events import NetworkEvent  # pydantic: slow to import, and not needed for JSON lines

        for fields, process in self._connections(records):
            kind, _, sport, dport, tid, timestamp_ns, _, cookie, saddr, daddr = fields
            yield NetworkEvent.model_validate(
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
                    "timestamp": format_timestamp(self._clock.event_time(timestamp_ns)),
                }
            )

    def json_lines(self, records: Iterable[bytes]) -> Iterator[list[str]]:
        """Yield the records' connection events as lines of JSON, the same as the models' own, some 1 MiB at a time."""
        lines: list[str] = []
        size = 0
        for fields, process in self._connections(records):
            kind, _, sport, dport, tid, timestamp_ns, _, cookie, saddr, daddr = fields
            line = (
                f"{process.json_head}{tid}{process.json_tail}{EVENT_TYPES[kind]}"
                f'","saddr":"{address_text(saddr)}","daddr":"{address_text(daddr)}"'
                f',"sport":{sport},"dport":{dport},"cookie":{cookie}}}'
                f',"timestamp":"{format_timestamp(self._clock.event_time(timestamp_ns))}"}}\n'
            )
            lines.append(line)
            size += len(line)
            if size >= CHUNK_SIZE:
                yield lines
                lines, size = [], 0
        if lines:
            yield lines

    def _connections(self, records: Iterable[bytes]) -> Iterator[tuple[tuple[Any, ...], KnownProcess]]:
        """Yield each connection event's fields, in the order of Ipv4Event, and its process."""
        for record in records:
            if record[0] == _PROCESS:
                self._processes.add(record)
                continue
            fields = _unpack_event(record)
            process = self._processes.get(fields[6])
            if process is None:
                self.unknown_process += 1
            else:
                yield fields, process


def _unpack_event(record: bytes) -> tuple[Any, ...]:
    if record[0] in EVENT_TYPES:
        if len(record) == _IPV4_SIZE:
            return _unpack_ipv4(record)
        if len(record) == _IPV6_SIZE:
            return _unpack_ipv6(record)
    raise DecodeError(f"a record of type {record[0]} and {len(record)} bytes is none of netmon's")

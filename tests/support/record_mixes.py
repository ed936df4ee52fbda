"""Mixes of records, as different hosts produce them, for benchmarks and tests of the Python half."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from netmon.layout import RecordType
from tests.support.records import detailed_event, event_context, ipv4_event, ipv6_event, process_record

CONTAINER_ID = b"0123456789abcdef" * 4
CGROUP = b"cri-containerd-" + CONTAINER_ID + b".scope/kubepods-burstable.slice/kubepods.slice/"
KINDS = (RecordType.ESTABLISH, RecordType.CLOSE)


class Mix(NamedTuple):
    """Records to send: `first` once, then `again` in rounds. The sender numbers cookies and ports, and sets times."""

    name: str
    first: list[tuple[int, bytes]]  # process id, record
    again: list[tuple[int, bytes]]
    new_processes: int = 0  # how many processes of `again` are new in each round


def _describe(process_id: int) -> tuple[int, bytes]:
    name = f"worker-{process_id % 50}".encode()
    record = process_record(
        cgroup=CGROUP if process_id % 2 else b"user.slice/",
        container_id=CONTAINER_ID if process_id % 2 else b"",
        path=b"/usr/local/lib/service/bin/" + name,
        argv=name + b"\0--config\0/etc/service/production.yaml\0--listen\0[::]:8443\0",
        pid=1000 + process_id,
        comm=name,
    )
    return process_id, record


def _event(process_id: int, peer: int, kind: int, *, ipv6: bool, thread: int = 0) -> tuple[int, bytes]:
    fields = {"type": kind, "tid": 1000 + process_id + thread}
    if ipv6:
        base = int(ipaddress.ip_address("2001:db8:85a3::8a2e:370:0"))
        return process_id, ipv6_event(**fields, saddr=base.to_bytes(16, "big"), daddr=(base + peer).to_bytes(16, "big"))
    return process_id, ipv4_event(**fields, daddr=(0x0A400000 + peer).to_bytes(4, "big"))


def _pairs(process_id: int, peers: range, *, ipv6: bool = False) -> list[tuple[int, bytes]]:
    return [_event(process_id, peer, kind, ipv6=ipv6) for peer in peers for kind in KINDS]


def _detailed(*, context: bytes = b"") -> list[tuple[int, bytes]]:
    """Return establishes and closes as they are with `outcome`, `statistics` and, with a context, `context`."""
    peers = [bytes([10, 64, 0, peer]) for peer in range(16)]
    handshake = {"type": RecordType.ESTABLISH, "handshake_ns": 350_000}
    return [
        (1, detailed_event(tid=1001, daddr=peer, **fields) + context) for peer in peers for fields in (handshake, {})
    ]


def _all() -> list[Mix]:
    many = range(1, 1001)
    threads = [_event(1, peer, kind, ipv6=False, thread=peer) for kind in KINDS for peer in range(16)]
    turns = [_event(p, p % 64, kind, ipv6=p % 4 == 0) for kind in KINDS for p in many]
    return [
        Mix("1 process, IPv4", [_describe(1)], _pairs(1, range(16))),
        Mix("1 process, IPv6", [_describe(1)], _pairs(1, range(16), ipv6=True)),
        Mix("1 process, 16 threads in turns", [_describe(1)], threads),
        Mix("1 process, 6,000 peers", [_describe(1)], _pairs(1, range(6000))),
        Mix("1 process, outcome and statistics", [_describe(1)], _detailed()),
        Mix("1 process, context, too", [_describe(1)], _detailed(context=event_context(has_details=1))),
        Mix("1,000 processes, IPv4 and IPv6", [_describe(process_id) for process_id in many], turns),
        _with_new_processes(20),
        _with_new_processes(2),
    ]


def _with_new_processes(events: int) -> Mix:
    """Return a mix in which each process is new and has this many events."""
    again = []
    for process_id in range(1, 101):
        again += [_describe(process_id), *_pairs(process_id, range(process_id % 50, process_id % 50 + events // 2))]
    return Mix(f"a new process every {events} events", [], again, new_processes=100)


MIXES = {mix.name: mix for mix in _all()}

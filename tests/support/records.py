"""Builds the kernel's records for tests of what reads them."""

from __future__ import annotations

from netmon.layout import (
    DETAILED_EVENT,
    EVENT_CONTEXT,
    IPV4_EVENT,
    IPV6_EVENT,
    PROCESS_RECORD,
    DetailedEvent,
    Ending,
    EventContext,
    Family,
    Ipv4Event,
    Ipv6Event,
    ProcessRecord,
    RecordType,
)

PROCESS = ProcessRecord(
    type=RecordType.PROCESS,
    flags=0,
    cgroup_length=0,
    path_length=0,
    args_length=0,
    process_id=7,
    image_source=0,
    start_time_ns=1_000_000_000,
    uid=1000,
    euid=0,
    gid=1001,
    egid=1,
    auid=1002,
    cap_inheritable=0,
    cap_permitted=1 << 13,
    cap_effective=(1 << 41) - 1,
    pid=4242,
    ppid=1,
    secureexec=1,
    comm=b"curl\0",
    parent_id=0,
)


def process_record(
    cgroup: bytes = b"", path: bytes = b"/usr/bin/curl", argv: bytes = b"curl\0", **changes: int | bytes
) -> bytes:
    """Return a process record; changes replace the fields of PROCESS."""
    lengths = {"cgroup_length": len(cgroup), "path_length": len(path), "args_length": len(argv)}
    fields = PROCESS._replace(**lengths, **changes)  # type: ignore[arg-type]
    return PROCESS_RECORD.pack(*fields) + cgroup + path + argv


IPV4_ESTABLISH = Ipv4Event(
    type=RecordType.ESTABLISH,
    family=Family.IPV4,
    sport=40000,
    dport=443,
    tid=4243,
    timestamp_ns=2_000_000_000,
    process_id=7,
    cookie=99,
    saddr=bytes([10, 0, 0, 1]),
    daddr=bytes([192, 0, 2, 1]),
)


def ipv4_event(**changes: int | bytes) -> bytes:
    """Return the record of an IPv4 establish; changes replace its fields."""
    return IPV4_EVENT.pack(*IPV4_ESTABLISH._replace(**changes))  # type: ignore[arg-type]


def ipv6_event(**changes: int | bytes) -> bytes:
    """Return the record of an IPv6 accept; changes replace its fields."""
    event = Ipv6Event(
        type=RecordType.ACCEPT,
        family=Family.IPV6,
        sport=80,
        dport=50000,
        tid=4242,
        timestamp_ns=2_000_000_000,
        process_id=7,
        cookie=100,
        saddr=bytes(15) + b"\1",
        daddr=b"\x20\x01\x0d\xb8" + bytes(11) + b"\2",
    )
    return IPV6_EVENT.pack(*event._replace(**changes))  # type: ignore[arg-type]


def detailed_event(**changes: int | bytes) -> bytes:
    """Return the record of an IPv4 close with statistics; changes replace its fields."""
    event = DetailedEvent(
        **IPV4_ESTABLISH._replace(type=RecordType.CLOSE)._asdict(),
        handshake_ns=0,
        error=0,
        killed=0,
        direction=0,
        duration_ns=1_234_567,
        bytes_sent=1 << 33,
        bytes_received=5,
        segments_retransmitted=2,
        rtt_us=350,
        closed_by=Ending.PEER,
    )
    return DETAILED_EVENT.pack(*event._replace(**changes))  # type: ignore[arg-type]


def event_context(**changes: int) -> bytes:
    """Return what follows a detailed event: of one that tells nothing but its context; changes replace its fields."""
    fields = EventContext(opener_id=0, opener_tid=0, netns=4026531840, ifindex=1, mark=42, has_details=0)
    return EVENT_CONTEXT.pack(*fields._replace(**changes))

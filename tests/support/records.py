"""Makes records and batches as the kernel would: for tests and benchmarks of what reads them.

Fields that a function does not set are 0. Its keyword arguments replace fields by their names in netmon.layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netmon.batch import ALIGNMENT, HEADER, Batch
from netmon.layout import (
    ANCESTOR,
    ANCESTORS_HEAD,
    ANSWER_RECORD,
    DETAILED_EVENT,
    EVENT_CONTEXT,
    EXEC_RECORD,
    HELLO_RECORD,
    IPV4_EVENT,
    IPV6_EVENT,
    PROCESS_RECORD,
    PROGRESS_EVENT,
    Ancestor,
    AncestorsHead,
    AnswerRecord,
    DetailedEvent,
    Ending,
    EventContext,
    ExecRecord,
    Family,
    HelloRecord,
    Ipv4Event,
    Ipv6Event,
    Limit,
    ProcessRecord,
    ProgressEvent,
    RecordType,
)


def batch_of(records: Iterable[bytes]) -> Batch:
    """Return a batch of records, laid out as in the ring buffer."""
    data, offsets = b"", []
    for record in records:
        offsets.append(len(data))
        data += HEADER.pack(len(record)) + record + bytes(-len(record) % ALIGNMENT)
    return Batch(data, offsets, len(data), len(offsets))


def records_of(batch: Batch) -> Iterator[bytes]:
    """Take a batch's records: yield each, without its header."""
    for at in batch.offsets:
        start = at + HEADER.size
        yield batch.data[start : start + HEADER.unpack_from(batch.data, at)[0]]


def process_record(
    cgroup: bytes = b"",
    path: bytes = b"/usr/bin/curl",
    argv: bytes = b"curl\0",
    **changes: int | bytes,
) -> bytes:
    """Return the record of process 7, a curl that is set-user-ID root, and its strings.

    container_id: the string of that name, empty by default.
    """
    container_id = changes.pop("container_id", b"")
    assert isinstance(container_id, bytes)
    fields: dict[str, int | bytes] = {
        **dict.fromkeys(ProcessRecord._fields, 0),
        "type": RecordType.PROCESS,
        "cgroup_length": len(cgroup),
        "container_length": len(container_id),
        "path_length": len(path),
        "args_length": len(argv),
        "process_id": 7,
        "start_time_ns": 1_000_000_000,
        "uid": 1000,
        "gid": 1001,
        "egid": 1,
        "auid": 1002,
        "cap_permitted": 1 << 13,
        "cap_effective": (1 << 41) - 1,
        "pid": 4242,
        "ppid": 1,
        "secureexec": 1,
        "comm": b"curl\0",
        "name_length": len(path.rpartition(b"/")[2]),
        **changes,
    }
    return PROCESS_RECORD.pack(*ProcessRecord(**fields)) + cgroup + container_id + path + argv  # type: ignore[arg-type]


def answer_record(answer: bytes, **changes: int) -> bytes:
    """Return the record of an answer that the process of process_record() has received, and the answer."""
    fields: dict[str, int] = {
        **dict.fromkeys(AnswerRecord._fields, 0),
        "type": RecordType.ANSWER,
        "length": len(answer),
        "pid": 4242,
        "start_time_ns": 1_000_000_000,
        "ppid": 1,
        "time_ns": 1_900_000_000,
        **changes,
    }
    return ANSWER_RECORD.pack(*AnswerRecord(**fields)) + answer


def hello_record(piece: bytes, **changes: int | bytes) -> bytes:
    """Return the record of a piece of a hello, sent on the connection of ipv4_event(), and the piece."""
    fields: dict[str, int | bytes] = {
        **dict.fromkeys(HelloRecord._fields, 0),
        **IPV4_ESTABLISH._asdict(),
        "type": RecordType.NAME,
        "timestamp_ns": 2_010_000_000,
        "length": len(piece),
        "is_first": 1,
        **changes,
    }
    return HELLO_RECORD.pack(*HelloRecord(**fields)) + piece  # type: ignore[arg-type]


def exec_record(path: bytes = b"/usr/bin/curl", argv: bytes = b"curl\0-s\0", **changes: int) -> bytes:
    """Return the record of exec 3, of a curl, and its strings."""
    fields: dict[str, int] = {
        **dict.fromkeys(ExecRecord._fields, 0),
        "type": RecordType.EXEC,
        "name_length": len(path.rpartition(b"/")[2]),
        "path_length": len(path),
        "args_length": len(argv),
        "exec_id": 3,
        "time_ns": 1_500_000_000,
        "inode": 1835126,
        "device": 8 << 20 | 1,
        **changes,
    }
    return EXEC_RECORD.pack(*ExecRecord(**fields)) + path + argv


def ancestors_record(*ancestors: Ancestor, process_id: int = 7) -> bytes:
    """Return the record of the ancestors of process 7."""
    head = AncestorsHead(RecordType.ANCESTORS, len(ancestors), process_id >> Limit.TEXTS_BITS)
    return ANCESTORS_HEAD.pack(*head) + b"".join(ANCESTOR.pack(*ancestor) for ancestor in ancestors)


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
    """Return the record of an IPv4 establish."""
    return IPV4_EVENT.pack(*IPV4_ESTABLISH._replace(**changes))  # type: ignore[arg-type]


def ipv6_event(**changes: int | bytes) -> bytes:
    """Return the record of an IPv6 accept."""
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
    """Return the record of an IPv4 close with statistics."""
    fields: dict[str, int | bytes] = {
        **dict.fromkeys(DetailedEvent._fields, 0),
        **IPV4_ESTABLISH._asdict(),
        "type": RecordType.CLOSE,
        "duration_ns": 1_234_567,
        "bytes_sent": 1 << 33,
        "bytes_received": 5,
        "segments_retransmitted": 2,
        "rtt_us": 350,
        "closed_by": Ending.PEER,
        **changes,
    }
    return DETAILED_EVENT.pack(*DetailedEvent(**fields))  # type: ignore[arg-type]


def progress_event(**changes: int | bytes) -> bytes:
    """Return the record of an open IPv4 connection that has carried something."""
    fields: dict[str, int | bytes] = {
        **dict.fromkeys(ProgressEvent._fields, 0),
        **IPV4_ESTABLISH._asdict(),
        "type": RecordType.PROGRESS,
        "duration_ns": 90_000_000,
        "interval_ns": 30_000_000,
        "bytes_sent": 1 << 33,
        "bytes_received": 5,
        "interval_bytes_sent": 1000,
        "interval_bytes_received": 2,
        "segments_retransmitted": 3,
        "rtt_us": 350,
        **changes,
    }
    return PROGRESS_EVENT.pack(*ProgressEvent(**fields))  # type: ignore[arg-type]


def event_context(**changes: int) -> bytes:
    """Return a context without an opener, as it follows a detailed event."""
    fields = {**dict.fromkeys(EventContext._fields, 0), "netns": 4026531840, "ifindex": 1, "mark": 42, **changes}
    return EVENT_CONTEXT.pack(*EventContext(**fields))

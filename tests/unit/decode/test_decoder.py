"""Records to events: the models and the JSON lines, and that they agree."""

from __future__ import annotations

import errno
import json
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.batch import Batch
from netmon.decode.clock import Clock
from netmon.decode.decoder import Decoder
from netmon.decode.format import format_timestamp
from netmon.decode.processes import ProcessTable
from netmon.errors import DecodeError
from netmon.events import NetworkEvent
from netmon.layout import (
    IPV4_EVENT,
    IPV6_EVENT,
    PROCESS_RECORD,
    Direction,
    Ending,
    Family,
    Ipv4Event,
    Ipv6Event,
    ProcessFlag,
    RecordType,
)
from tests.support.records import detailed_event, event_context, ipv4_event, ipv6_event, process_record

ID = "0123456789abcdef" * 4


class FixedClock(Clock):
    """Boot was 2025-11-23T00:00:00Z."""

    def event_time(self, boot_ns: int) -> int:
        return 1_763_856_000_000_000_000 + boot_ns

    start_time = event_time


def make_table(**options: object) -> ProcessTable:
    defaults = {
        "waiting": lambda: 0,
        "set_oldest": lambda oldest: None,
        "read_cmdline": lambda pid, start, exe, comm: None,
    }
    return ProcessTable(FixedClock(), 40, **{**defaults, **options})  # type: ignore[arg-type]


def make_decoder(**options: object) -> Decoder:
    return Decoder(FixedClock(), make_table(**options))


def only_process(record: bytes, **options: object) -> dict[str, object]:
    """Return the process of one event that follows a process record."""
    (event,) = make_decoder(**options).events(Batch.of([record, ipv4_event()]))
    return event.model_dump()["process"]  # type: ignore[no-any-return]


def test_an_event_has_the_references_keys_and_types() -> None:
    record = process_record(path=b"/usr/bin/curl", argv=b"curl\0-s\0example.org\0")
    (event,) = make_decoder().events(Batch.of([record, ipv4_event()]))
    assert json.loads(event.model_dump_json()) == {
        "type": "NetworkEvent",
        "process": {
            "start_time": "2025-11-23T00:00:01.000Z",
            "pid": 4242,
            "tid": 4243,
            "ppid": 1,
            "uid": 1000,
            "euid": 0,
            "gid": 1001,
            "egid": 1,
            "auid": 1002,
            "cap_inheritable": "",
            "cap_permitted": "CAP_NET_RAW",
            "cap_effective": "ALL_CAPS",
            "secureexec": "SETUID",
            "filename": "curl",
            "binary_path": "/usr/bin/curl",
            "args": "-s example.org",
        },
        "network_event": {
            "type": "TcpConnectionEstablish",
            "saddr": "10.0.0.1",
            "daddr": "192.0.2.1",
            "sport": 40000,
            "dport": 443,
            "cookie": 99,
        },
        "timestamp": "2025-11-23T00:00:02.000Z",
    }


def test_ipv6_accept() -> None:
    (event,) = make_decoder().events(Batch.of([process_record(), ipv6_event()]))
    connection = event.network_event
    assert connection.type == "TcpConnectionAccept"
    assert (connection.saddr, connection.daddr) == ("::1", "2001:db8::2")


def test_a_close_with_statistics() -> None:
    (event,) = make_decoder().events(Batch.of([process_record(), detailed_event()]))
    assert event.network_event.model_dump() == {
        "type": "TcpConnectionClose",
        "saddr": "10.0.0.1",
        "daddr": "192.0.2.1",
        "sport": 40000,
        "dport": 443,
        "cookie": 99,
        "duration_us": 1234,
        "bytes_sent": 1 << 33,
        "bytes_received": 5,
        "segments_retransmitted": 2,
        "rtt_us": 350,
        "closed_by": "peer",
    }
    assert (event.process.tid, event.timestamp) == (4243, "2025-11-23T00:00:02.000Z")


@pytest.mark.parametrize(
    ("kind", "fields", "details"),
    [
        (RecordType.ESTABLISH, {"handshake_ns": 1_234_567}, {"handshake_us": 1234}),
        (RecordType.FAIL, {"error": errno.ECONNREFUSED}, {"errno": "ECONNREFUSED", "reason": "refused"}),
        (RecordType.FAIL, {"error": errno.EHOSTUNREACH}, {"errno": "EHOSTUNREACH", "reason": "unreachable"}),
        (RecordType.FAIL, {"error": errno.EMFILE}, {"errno": "EMFILE", "reason": "other"}),
        (RecordType.FAIL, {"error": 524}, {"errno": "524", "reason": "other"}),
        (RecordType.FAIL, {}, {"reason": "closed"}),
        (RecordType.FAIL, {"killed": 1}, {"reason": "killed"}),
        (RecordType.EXISTING, {"direction": Direction.EGRESS}, {"direction": "egress"}),
    ],
)
def test_outcomes(kind: RecordType, fields: dict[str, int], details: dict[str, object]) -> None:
    (event,) = make_decoder().events(Batch.of([process_record(), detailed_event(type=kind, **fields)]))
    connection = event.network_event.model_dump()
    assert {key: connection[key] for key in list(connection)[6:]} == details


def test_details_are_only_their_own_events() -> None:
    records = [process_record(), detailed_event(family=Family.IPV6, daddr=bytes(15) + b"\1"), ipv4_event()]
    detailed, plain = make_decoder().events(Batch.of(records))
    assert detailed.network_event.daddr == "::1"
    assert plain.network_event.closed_by is None
    assert "closed_by" not in plain.model_dump()["network_event"]


@pytest.mark.parametrize(
    ("told", "fields", "details"),
    [
        (event_context(), {}, {"netns": 4026531840, "ifindex": 1, "mark": 42}),
        (event_context(ifindex=0, mark=0), {}, {"netns": 4026531840, "mark": 0}),
        (event_context(has_details=1), {"type": RecordType.ESTABLISH}, {"handshake_us": 0, "netns": 4026531840}),
        (event_context(has_details=1), {}, {"closed_by": "peer", "netns": 4026531840}),
        (event_context(netns=0), {}, {}),
        (event_context(netns=0, has_details=1), {"type": RecordType.FAIL}, {"reason": "closed"}),
    ],
)
def test_where_a_connection_lives(told: bytes, fields: dict[str, int], details: dict[str, object]) -> None:
    """With what else was asked for, and nothing that was not."""
    (event,) = make_decoder().events(Batch.of([process_record(), detailed_event(**fields) + told]))
    connection = event.network_event.model_dump()
    assert {key: connection[key] for key in details} == details
    if "handshake_us" not in details and "closed_by" not in details:
        assert list(connection)[6:] == list(details)


def test_who_opened_what_another_process_closes() -> None:
    records = [
        process_record(process_id=7, pid=1),
        process_record(process_id=8, pid=2, argv=b"other\0-x\0"),
        detailed_event(process_id=7, tid=10) + event_context(opener_id=8, opener_tid=20, netns=0),
        detailed_event(process_id=7, tid=10) + event_context(netns=0),
    ]
    passed_on, own = make_decoder().events(Batch.of(records))
    assert passed_on.opener is not None and own.opener is None
    assert (passed_on.process.pid, passed_on.process.tid) == (1, 10)
    assert (passed_on.opener.pid, passed_on.opener.tid, passed_on.opener.args) == (2, 20, "-x")
    ((first, second),) = make_decoder().raw_events(Batch.of(records))
    assert first.opener is not None and second.opener is None
    assert (first.opener.process.fields["pid"], first.opener.tid) == (2, 20)


def test_an_opener_that_was_let_go_is_counted() -> None:
    decoder = make_decoder()
    records = [process_record(), detailed_event() + event_context(opener_id=6, opener_tid=20)]
    (event,) = decoder.events(Batch.of(records))
    assert event.opener is None
    assert (decoder.unknown_opener, decoder.unknown_process) == (1, 0)


def test_a_parent() -> None:
    """As it was described; of its own parent nothing is told."""
    records = [
        process_record(process_id=6, pid=1, argv=b"init\0"),
        process_record(process_id=7, pid=2, argv=b"sh\0-c\0", parent_id=6, ppid=1),
        process_record(process_id=8, pid=3, argv=b"curl\0", parent_id=7, ppid=2),
        ipv4_event(process_id=8),
    ]
    (event,) = make_decoder().events(Batch.of(records))
    assert event.parent is not None
    assert (event.process.ppid, event.parent.pid, event.parent.tid, event.parent.args) == (2, 2, 2, "-c")
    assert list(event.model_dump()) == ["type", "process", "parent", "network_event", "timestamp"]
    ((raw,),) = make_decoder().raw_events(Batch.of(records))
    assert raw.process.parent == event.parent.model_dump()


@pytest.mark.parametrize("parent_id", [0, 5, 6], ids=["none", "unknown", "one that has left it to another since"])
def test_no_parent(parent_id: int) -> None:
    records = [
        process_record(process_id=6, pid=100),
        process_record(process_id=7, parent_id=parent_id, ppid=1),
        ipv4_event(),
    ]
    (event,) = make_decoder().events(Batch.of(records))
    assert event.parent is None
    assert "parent" not in event.model_dump()


@pytest.mark.parametrize(
    ("names", "path"),
    [(b"", "/"), (b"nginx.service/system.slice/", "/system.slice/nginx.service"), (b"\xff/", "/\\xff")],
)
def test_the_cgroup(names: bytes, path: str) -> None:
    assert only_process(process_record(cgroup=names), tell_cgroup=True)["cgroup"] == path
    assert "cgroup" not in only_process(process_record(cgroup=names))


texts = st.binary(max_size=40)
kinds = st.sampled_from([RecordType.ESTABLISH, RecordType.ACCEPT, RecordType.CLOSE])
packed_addresses = st.binary(min_size=16, max_size=16) | st.sampled_from(
    [bytes(16), bytes(10) + b"\xff\xff\x0a\0\0\1", bytes(12) + b"\x0a\0\0\1", b"\xfe\x80" + bytes(14)]
)


@st.composite
def process_records(draw: st.DrawFn, process_id: int) -> bytes:
    """A process: what its program and its container may be named."""
    return process_record(
        process_id=process_id,
        cgroup=f"docker-{ID}.scope/".encode() if draw(st.booleans()) else b"",
        path=b"/" + draw(texts).replace(b"\0", b""),
        argv=b"\0".join([b"argv0", *draw(st.lists(texts))]) + b"\0",
        pid=process_id,
        ppid=process_id - 1,
        parent_id=draw(st.integers(0, process_id - 1)),
        cap_permitted=draw(st.integers(0, 2**64 - 1)),
        secureexec=draw(st.integers(0, 15)),
    )


@st.composite
def event_records(draw: st.DrawFn) -> bytes:
    """An event of one of processes 1 to 3."""
    make, size = draw(st.sampled_from([(ipv4_event, 4), (ipv6_event, 16)]))
    ports = st.integers(0, 2**16 - 1)
    return make(
        type=draw(kinds),
        process_id=draw(st.integers(1, 3)),
        tid=draw(st.integers(0, 2**32 - 1)),
        sport=draw(ports),
        dport=draw(ports),
        cookie=draw(st.integers(0, 2**64 - 1)),
        timestamp_ns=draw(st.integers(0, 2**60) | st.integers(2_000_000_000, 2_002_000_000)),
        saddr=draw(packed_addresses)[:size],
        daddr=draw(packed_addresses)[:size],
    )


@st.composite
def detailed_records(draw: st.DrawFn) -> bytes:
    """An event with details of one of processes 1 to 3."""
    counts = st.integers(0, 2**64 - 1)
    numbers = st.integers(0, 2**32 - 1)
    told = event_context(
        opener_id=draw(st.integers(0, 4)),
        opener_tid=draw(numbers),
        netns=draw(numbers),
        ifindex=draw(numbers),
        mark=draw(numbers),
        has_details=draw(st.integers(0, 1)),
    )
    event = detailed_event(
        type=draw(
            st.sampled_from([kind for kind in RecordType if kind not in (RecordType.PROCESS, RecordType.ACCEPT)])
        ),
        handshake_ns=draw(counts),
        error=draw(st.integers(0, 600)),
        killed=draw(st.integers(0, 1)),
        process_id=draw(st.integers(1, 3)),
        family=draw(st.sampled_from(Family)),
        saddr=draw(packed_addresses),
        duration_ns=draw(counts),
        bytes_sent=draw(counts),
        rtt_us=draw(st.integers(0, 2**29 - 1)),
        closed_by=draw(st.sampled_from([ending for ending in Ending if ending != Ending.NONE])),
    )
    return event + told * draw(st.booleans())


@given(
    processes=st.tuples(*map(process_records, (1, 2, 3))),
    events=st.lists(event_records() | detailed_records(), min_size=1, max_size=12),
    tell_cgroup=st.booleans(),
)
def test_json_lines_are_the_models_own_json(
    processes: tuple[bytes, ...], events: list[bytes], tell_cgroup: bool
) -> None:
    records = [*processes, *events]
    models = list(make_decoder(tell_cgroup=tell_cgroup).events(Batch.of(records)))
    lines = [line for lines in make_decoder(tell_cgroup=tell_cgroup).json_lines(Batch.of(records)) for line in lines]
    assert lines == [model.model_dump_json() + "\n" for model in models]
    assert [NetworkEvent.model_validate_json(line) for line in lines] == models
    assert len(models) == len(events)


@given(st.lists(event_records(), min_size=1, max_size=12))
def test_events_tell_what_the_records_hold(events: list[bytes]) -> None:
    records = [*(process_record(process_id=number, pid=number) for number in (1, 2, 3)), *events]
    for record, event in zip(events, make_decoder().events(Batch.of(records)), strict=True):
        layout, fields = (IPV4_EVENT, Ipv4Event) if len(record) == IPV4_EVENT.size else (IPV6_EVENT, Ipv6Event)
        told = fields._make(layout.unpack(record))
        connection = event.network_event
        assert connection.type == f"TcpConnection{RecordType(told.type).name.title()}"
        assert ip_address(connection.saddr) == ip_address(told.saddr)
        assert ip_address(connection.daddr) == ip_address(told.daddr)
        assert (connection.sport, connection.dport, connection.cookie) == (told.sport, told.dport, told.cookie)
        assert (event.process.pid, event.process.tid) == (told.process_id, told.tid)
        assert event.timestamp == format_timestamp(FixedClock().event_time(told.timestamp_ns))


def test_a_batch_is_taken_up_again_where_it_was_left() -> None:
    records = [process_record(), *(ipv4_event(cookie=number) for number in range(1000))]
    decoder, batch = make_decoder(), Batch.of(records)
    events = decoder.events(batch)
    seen = [next(events).network_event.cookie for _ in range(10)]
    events.close()  # type: ignore[attr-defined]
    lines = decoder.json_lines(batch)
    seen += [json.loads(line)["network_event"]["cookie"] for line in next(lines)]
    lines.close()  # type: ignore[attr-defined]
    seen += [event.network_event.cookie for event in decoder.events(batch)]
    assert seen == list(range(1000))


def test_strings_with_the_keys_text_in_them() -> None:
    """The JSON is cut at the thread id's key: no argument can pass for it."""
    records = [process_record(argv=b'x\0"tid":0,\0'), ipv4_event()]
    ((line,),) = make_decoder().json_lines(Batch.of(records))
    assert json.loads(line)["process"]["args"] == '"tid":0,'
    assert json.loads(line)["process"]["tid"] == 4243


def test_an_unlinked_executable() -> None:
    process = only_process(process_record(path=b"/tmp/x", flags=ProcessFlag.UNLINKED))
    assert process["binary_path"] == "/tmp/x (deleted)"
    assert process["filename"] == "x"


def test_the_innermost_cgroup_comes_first_in_the_record() -> None:
    names = f"init.scope/docker-{ID}.scope/system.slice/".encode()
    assert only_process(process_record(cgroup=names))["container_id"] == ID


@pytest.mark.parametrize(
    ("cmdline", "args"),
    [
        (b"curl\0-s\0long\0", "-s long"),
        (b"other\0-s\0long\0", "-s"),  # has exec'd something else since
        (None, "-s"),  # gone
    ],
)
def test_incomplete_arguments_come_from_proc(cmdline: bytes | None, args: str) -> None:
    asked = []

    def read_cmdline(pid: int, start_time_ns: int, exe: str | None, comm: bytes) -> bytes | None:
        asked.append((pid, start_time_ns, exe, comm))
        return cmdline

    record = process_record(argv=b"curl\0-s\0", flags=ProcessFlag.ARGS_INCOMPLETE)
    assert only_process(record, read_cmdline=read_cmdline)["args"] == args
    assert asked == [(4242, 1_000_000_000, None, b"curl")]


@pytest.mark.parametrize(
    ("flags", "cmdline", "args", "unread"),
    [
        (ProcessFlag.ARGS_UNREAD, b"curl\0-s\0", "-s", 0),
        (ProcessFlag.ARGS_UNREAD, None, "", 1),
        (ProcessFlag.ARGS_INCOMPLETE, None, "", 0),  # counted by the kernel
    ],
)
def test_arguments_that_nobody_has_told_are_counted(flags: int, cmdline: bytes | None, args: str, unread: int) -> None:
    table = make_table(read_cmdline=lambda pid, start, exe, comm: cmdline)
    table.add(process_record(argv=b"", flags=flags))
    process = table.get(7)
    assert process is not None
    assert (process.fields["args"], table.args_unread) == (args, unread)


def test_a_process_without_an_image_borrows_the_one_it_was_forked_from() -> None:
    decoder = make_decoder()
    source = process_record(argv=b"curl\0-s\0", process_id=7)
    borrower = process_record(path=b"", argv=b"", process_id=8, image_source=7, pid=5, flags=ProcessFlag.NO_IMAGE)
    (event,) = decoder.events(Batch.of([source, borrower, ipv4_event(process_id=8)]))
    assert event.process.pid == 5
    assert (event.process.binary_path, event.process.args) == ("/usr/bin/curl", "-s")


def test_no_image_is_borrowed_from_a_program_of_another_name() -> None:
    source = process_record(process_id=7)
    borrower = process_record(
        path=b"", argv=b"", process_id=8, image_source=7, flags=ProcessFlag.NO_IMAGE, comm=b"cat\0"
    )
    (event,) = make_decoder().events(Batch.of([source, borrower, ipv4_event(process_id=8)]))
    assert (event.process.filename, event.process.binary_path) == ("cat", "")


def test_a_process_without_an_image_and_nobody_to_borrow_from() -> None:
    process = only_process(process_record(path=b"", argv=b"", flags=ProcessFlag.NO_IMAGE))
    assert (process["filename"], process["binary_path"], process["args"]) == ("curl", "", "")


def test_an_event_of_an_unknown_process_is_counted() -> None:
    decoder = make_decoder()
    assert list(decoder.events(Batch.of([ipv4_event()]))) == []
    assert decoder.unknown_process == 1


@pytest.mark.parametrize(
    "record",
    [
        b"\xff" + bytes(47),
        bytes(48),
        ipv4_event() + b"x",
        ipv6_event()[:-1],
        detailed_event()[:-1],
        detailed_event() + event_context()[:-1],
        detailed_event() + event_context() + b"x",
        ipv4_event() + event_context(),
        detailed_event(type=0),
        process_record()[:-1],
        process_record()[: PROCESS_RECORD.size - 1],
        bytes([RecordType.PROCESS]),
    ],
)
def test_records_that_are_not_netmons(record: bytes) -> None:
    with pytest.raises(DecodeError, match="bytes"):
        list(make_decoder().events(Batch.of([record])))


def test_the_table_is_bounded_and_the_kernel_told_first() -> None:
    told: list[int] = []
    table = make_table(limit=100, waiting=lambda: 10_000, set_oldest=told.append)
    for process_id in range(1, 3001):
        table.add(process_record(process_id=process_id))
        table.note_consumed(200)
        # What the kernel may still name is still known, as is everything in what waits of records.
        assert table.get(max(told, default=1)) is not None
        assert table.get(max(1, process_id - 49)) is not None
        assert len(table) <= 1200  # some three times what 10,000 and LATE_RECORDS bytes hold
    assert told == sorted(told)
    assert len(told) > 5

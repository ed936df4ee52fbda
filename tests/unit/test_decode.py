"""Records to events: the models and the JSON lines, and that they agree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.clock import Clock
from netmon.decode import Decoder
from netmon.errors import DecodeError
from netmon.layout import PROCESS_RECORD, ProcessFlag, RecordType
from netmon.processes import ProcessTable
from netmon.ring import Batch
from tests.unit.records import ipv4_event, ipv6_event, process_record

ID = "0123456789abcdef" * 4


class FixedClock(Clock):
    """Boot was 2025-11-23T00:00:00Z."""

    def event_time(self, boot_ns: int) -> int:
        return 1_763_856_000_000_000_000 + boot_ns

    start_time = event_time


def make_table(**options: object) -> ProcessTable:
    defaults = {
        "ring_size": 4096,
        "set_oldest": lambda oldest: None,
        "read_cmdline": lambda pid, start, exe: None,
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


texts = st.binary(max_size=40)


@given(
    path=texts.map(lambda text: b"/" + text.replace(b"\0", b"")),
    argv=st.lists(texts).map(lambda words: b"\0".join([b"argv0", *words]) + b"\0"),
    container=st.booleans(),
    tid=st.integers(0, 2**32 - 1),
    kind=st.sampled_from([RecordType.ESTABLISH, RecordType.ACCEPT, RecordType.CLOSE]),
    addresses=st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16)),
    cookie=st.integers(0, 2**64 - 1),
    timestamp_ns=st.integers(0, 2**60),
)
def test_json_lines_are_the_models_own_json(
    path: bytes,
    argv: bytes,
    container: bool,
    tid: int,
    kind: int,
    addresses: tuple[bytes, bytes],
    cookie: int,
    timestamp_ns: int,
) -> None:
    cgroup = f"docker-{ID}.scope/".encode() if container else b""
    common = {"type": kind, "tid": tid, "cookie": cookie, "timestamp_ns": timestamp_ns}
    saddr, daddr = addresses
    records = [
        process_record(cgroup=cgroup, path=path, argv=argv),
        ipv6_event(**common, saddr=saddr, daddr=daddr),
        ipv4_event(**common, saddr=saddr[:4], daddr=daddr[:4]),
    ]
    models = [event.model_dump_json() + "\n" for event in make_decoder().events(Batch.of(records))]
    assert [line for lines in make_decoder().json_lines(Batch.of(records)) for line in lines] == models
    assert len(models) == 2


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

    def read_cmdline(pid: int, start_time_ns: int, exe: str | None) -> bytes | None:
        asked.append((pid, start_time_ns, exe))
        return cmdline

    record = process_record(argv=b"curl\0-s\0", flags=ProcessFlag.ARGS_INCOMPLETE)
    assert only_process(record, read_cmdline=read_cmdline)["args"] == args
    assert asked == [(4242, 1_000_000_000, None)]


def test_a_process_without_an_image_borrows_the_one_it_was_forked_from() -> None:
    decoder = make_decoder()
    lender = process_record(argv=b"curl\0-s\0", process_id=7)
    borrower = process_record(path=b"", argv=b"", process_id=8, image_of=7, pid=5, flags=ProcessFlag.NO_IMAGE)
    (event,) = decoder.events(Batch.of([lender, borrower, ipv4_event(process_id=8)]))
    assert event.process.pid == 5
    assert (event.process.binary_path, event.process.args) == ("/usr/bin/curl", "-s")


def test_no_image_is_borrowed_from_a_program_of_another_name() -> None:
    lender = process_record(process_id=7)
    borrower = process_record(path=b"", argv=b"", process_id=8, image_of=7, flags=ProcessFlag.NO_IMAGE, comm=b"cat\0")
    (event,) = make_decoder().events(Batch.of([lender, borrower, ipv4_event(process_id=8)]))
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
    table = make_table(limit=100, ring_size=10_000, set_oldest=told.append)
    for process_id in range(1, 1001):
        table.add(process_record(process_id=process_id))
        table.note_consumed(200)
        # What the kernel may still name is still known, as is everything in a ring's length of records.
        assert table.get(max(told, default=1)) is not None
        assert table.get(max(1, process_id - 49)) is not None
        assert len(table) <= 300
    assert told == sorted(told)
    assert len(told) > 5

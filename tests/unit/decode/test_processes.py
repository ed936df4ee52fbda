"""Processes: from their records, from /proc, and how long the table keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from netmon.decode.processes import ProcessTable, split_record
from netmon.layout import Limit, ProcessFlag
from tests.support.decoders import make_decoder, make_table
from tests.support.records import batch_of, ipv4_event, process_record
from tests.support.strategies import ID


def process_of(record: bytes, **options: Any) -> dict[str, Any]:
    """Return the process of an event that follows a process record."""
    (event,) = make_decoder(**options).events(batch_of([record, ipv4_event()]))
    process: dict[str, Any] = event.model_dump()["process"]
    return process


def test_a_parent() -> None:
    """An event has its process's parent, but not the parent's own."""
    records = [
        process_record(process_id=6, pid=1, argv=b"init\0"),
        process_record(process_id=7, pid=2, argv=b"sh\0-c\0", parent_id=6, ppid=1),
        process_record(process_id=8, pid=3, argv=b"curl\0", parent_id=7, ppid=2),
        ipv4_event(process_id=8),
    ]
    (event,) = make_decoder().events(batch_of(records))
    assert event.parent is not None
    assert (event.process.ppid, event.parent.pid, event.parent.tid, event.parent.args) == (2, 2, 2, "-c")
    assert list(event.model_dump()) == ["type", "process", "parent", "network_event", "timestamp"]
    ((raw,),) = make_decoder().raw_events(batch_of(records))
    assert raw.process.parent == event.parent.model_dump()


@pytest.mark.parametrize("parent_id", [0, 5, 6], ids=["none", "unknown", "ended since"])
def test_no_parent(parent_id: int) -> None:
    records = [
        process_record(process_id=6, pid=100),
        process_record(process_id=7, parent_id=parent_id, ppid=1),
        ipv4_event(),
    ]
    (event,) = make_decoder().events(batch_of(records))
    assert event.parent is None
    assert "parent" not in event.model_dump()


@pytest.mark.parametrize(
    ("names", "path"),
    [(b"", "/"), (b"nginx.service/system.slice/", "/system.slice/nginx.service"), (b"\xff/", "/\\xff")],
)
def test_the_cgroup(names: bytes, path: str) -> None:
    assert process_of(process_record(cgroup=names), with_cgroup=True)["cgroup"] == path
    assert "cgroup" not in process_of(process_record(cgroup=names))


def test_the_innermost_cgroup_comes_first_in_the_record() -> None:
    names = f"init.scope/docker-{ID}.scope/system.slice/".encode()
    assert process_of(process_record(cgroup=names))["container_id"] == ID


def test_an_unlinked_executable() -> None:
    process = process_of(process_record(path=b"/tmp/x", flags=ProcessFlag.UNLINKED))
    assert process["binary_path"] == "/tmp/x (deleted)"
    assert process["filename"] == "x"


def test_arguments_that_the_kernel_half_could_not_read_come_from_proc() -> None:
    asked = []

    def read_cmdline(pid: int, start_time_ns: int, exe: str, comm: bytes) -> bytes:
        asked.append((pid, start_time_ns, exe, comm))
        return b"curl\0-s\0"

    flags = ProcessFlag.ARGS_UNREAD | ProcessFlag.UNLINKED
    record = process_record(argv=b"", path=b"/tmp/x", flags=flags)
    assert process_of(record, read_cmdline=read_cmdline)["args"] == "-s"
    assert asked == [(4242, 1_000_000_000, "/tmp/x (deleted)", b"curl")]


def test_the_rest_of_long_arguments_is_not_read_from_proc() -> None:
    def read_cmdline(*_: object) -> bytes:
        raise AssertionError

    record = process_record(argv=b"curl\0-s\0", flags=ProcessFlag.ARGS_INCOMPLETE)
    assert process_of(record, read_cmdline=read_cmdline)["args"] == "-s"


LONGEST = b"curl\0" + b"x" * (Limit.ARGS_SIZE - 6) + b"\0"


@pytest.mark.parametrize(
    ("flags", "cmdline", "args", "unread"),
    [
        (ProcessFlag.ARGS_UNREAD, b"curl\0-s\0", "-s", 0),
        (ProcessFlag.ARGS_UNREAD, None, "", 1),
        (ProcessFlag.ARGS_UNREAD, LONGEST, "x" * (Limit.ARGS_SIZE - 6), 0),
        (ProcessFlag.ARGS_UNREAD, LONGEST[:-1] + b"xx", "x" * (Limit.ARGS_SIZE - 5), 1),
        (ProcessFlag.ARGS_INCOMPLETE, None, "", 0),  # the kernel half counts it
    ],
)
def test_arguments_that_could_not_be_read_are_counted(
    flags: int, cmdline: bytes | None, args: str, unread: int
) -> None:
    table = make_table(read_cmdline=lambda pid, start, exe, comm: cmdline)
    table.add(process_record(argv=b"", flags=flags))
    process = table.get(7)
    assert process is not None
    assert (process.fields["args"], table.args_incomplete) == (args, unread)


@pytest.mark.parametrize(
    ("record", "truncated"),
    [
        (process_record(), None),
        (process_record(flags=ProcessFlag.PATH_INCOMPLETE), "binary_path"),
        (process_record(flags=ProcessFlag.ARGS_INCOMPLETE), "args"),
        (process_record(argv=b"", flags=ProcessFlag.ARGS_UNREAD), "args"),
        (process_record(argv=b"x\0" + b"\x01" * 3000), "args"),
        (process_record(path=b"/" + b"\x01" * 3000 + b"/x"), "binary_path"),
        (process_record(path=b"/x/" + b"\x01" * 600), "filename"),
        (process_record(cgroup=b"\x01" * 600 + b"/"), "cgroup"),
        (process_record(argv=b"x\0" + b"a" * 8190, flags=ProcessFlag.ARGS_INCOMPLETE), "args"),
        (process_record(argv=b"x\0" + b"\x01" * 3000, flags=ProcessFlag.PATH_INCOMPLETE), "binary_path | args"),
    ],
)
def test_what_was_cut_is_named_and_counted_once(record: bytes, truncated: str | None) -> None:
    table = make_table(with_cgroup=True)
    table.add(record)
    process = table.get(7)
    assert process is not None
    assert process.fields.get("truncated") == truncated
    assert process.model(1).truncated == truncated
    keys = (truncated or "").split(" | ")
    flags = split_record(record)[0].flags
    assert table.path_incomplete == (
        not flags & ProcessFlag.PATH_INCOMPLETE and bool({"filename", "binary_path"} & {*keys})
    )
    assert table.args_incomplete == (not flags & ProcessFlag.ARGS_INCOMPLETE and "args" in keys)
    assert table.cgroup_incomplete == ("cgroup" in keys)


def test_arguments_that_were_paged_out_and_come_from_proc_are_whole() -> None:
    record = process_record(argv=b"", flags=ProcessFlag.ARGS_INCOMPLETE)
    assert "truncated" not in process_of(record, read_cmdline=lambda pid, start, exe, comm: b"curl\0-s\0x\0")


def test_the_end_of_a_path_and_the_beginning_of_arguments_are_kept() -> None:
    process = process_of(process_record(path=b"/" + b"\x01" * 3000 + b"/x", argv=b"x\0-s " + b"\x01" * 3000))
    assert process["filename"] == "x"
    assert process["binary_path"].endswith("\x01/x")
    assert process["args"].startswith("-s \x01")


def test_a_process_whose_source_has_more_room_has_less_of_its_image() -> None:
    """It has more capabilities, whose names take the room."""
    records = [
        process_record(process_id=7, argv=b"curl\0" + b"a" * 8000, path=b"/" + b"p" * 2000 + b"/curl"),
        process_record(
            *(b"", b"", b""), process_id=8, image_source=7, flags=ProcessFlag.NO_IMAGE, cap_effective=2**40 - 2
        ),
        ipv4_event(process_id=8),
    ]
    for roles, truncated in ((1, None), (3, "binary_path | args")):
        (event,) = make_decoder(roles=roles).events(batch_of(records))
        assert event.process.truncated == truncated
        assert event.process.binary_path.endswith("p/curl")
        assert event.process.args.startswith("aaaa")


def test_a_process_without_an_image_has_that_of_its_source() -> None:
    source = process_record(argv=b"curl\0-s\0", process_id=7)
    exiting = process_record(path=b"", argv=b"", process_id=8, image_source=7, pid=5, flags=ProcessFlag.NO_IMAGE)
    (event,) = make_decoder().events(batch_of([source, exiting, ipv4_event(process_id=8)]))
    assert event.process.pid == 5
    assert (event.process.binary_path, event.process.args) == ("/usr/bin/curl", "-s")


def test_a_source_of_another_name_is_ignored() -> None:
    source = process_record(process_id=7)
    exiting = process_record(
        path=b"", argv=b"", process_id=8, image_source=7, flags=ProcessFlag.NO_IMAGE, comm=b"cat\0"
    )
    (event,) = make_decoder().events(batch_of([source, exiting, ipv4_event(process_id=8)]))
    assert (event.process.filename, event.process.binary_path) == ("cat", "")


def test_a_process_without_an_image_or_a_source_has_only_a_name() -> None:
    process = process_of(process_record(path=b"", argv=b"", flags=ProcessFlag.NO_IMAGE))
    assert (process["filename"], process["binary_path"], process["args"]) == ("curl", "", "")


def test_the_table_is_bounded_and_the_kernel_learns_of_an_eviction_first() -> None:
    oldest: list[int] = []
    table = make_table(limit=100, bytes_waiting=lambda: 10_000, set_oldest=oldest.append)
    for process_id in range(1, 3001):
        table.add(process_record(process_id=process_id))
        table.note_consumed(200)
        # Ids that the kernel may still use are known, and so are those in records that wait.
        assert table.get(max(oldest, default=1)) is not None
        assert table.get(max(1, process_id - 49)) is not None
        assert len(table) <= 1200  # about three times the records in 10,000 and LATE_RECORDS bytes
    assert oldest == sorted(oldest)
    assert len(oldest) > 5


def fill(table: ProcessTable, ids: range) -> None:
    for process_id in ids:
        table.add(process_record(process_id=process_id))


def test_a_table_can_evict_on_request_only() -> None:
    """What one call marks as old the next one drops: flows of the period between may still refer to it."""
    oldest: list[int] = []
    set_oldest: Callable[[int], None] = oldest.append
    table = make_table(limit=10, evict_on_add=False, set_oldest=set_oldest)
    fill(table, range(1, 101))
    assert table.over_limit
    assert len(table) == 100
    assert oldest == []
    table.evict()
    assert len(table) == 100
    assert oldest == [51]
    table.evict()
    assert len(table) == 50
    assert table.get(50) is None
    assert table.get(51) is not None

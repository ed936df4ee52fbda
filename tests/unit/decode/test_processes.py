"""Processes: from their records, from /proc, and how long the table keeps them."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.decode import processes
from netmon.decode.known_process import KnownProcess
from netmon.decode.processes import EXECS_SIZE, HARD_SIZE_LIMIT, LATE_RECORDS, ProcessTable, split_record
from netmon.layout import Foreign, Limit, ProcessFlag, ProcessRecord
from tests.support.decoders import make_decoder, make_table
from tests.support.records import batch_of, exec_record, ipv4_event, process_record
from tests.support.strategies import ID, OTHER_ID
from tests.unit.decode.strategies import PROCESS_IDS, process_records


def process_of(record: bytes, **options: Any) -> dict[str, Any]:
    """Return the process of an event that follows a process record."""
    (event,) = make_decoder(**options).events(batch_of([record, ipv4_event()]))
    process: dict[str, Any] = event.model_dump()["process"]
    return process


def known(table: ProcessTable, process_id: int) -> KnownProcess:
    process = table.get(process_id)
    assert process is not None
    return process


@given(st.lists(st.tuples(*map(process_records, PROCESS_IDS)), min_size=1, max_size=4))
def test_what_processes_share_is_remembered_without_a_difference(rounds: list[tuple[bytes, ...]]) -> None:
    """The second time around all is remembered that can be; the first time nothing is."""
    records = [record for round_ in rounds for record in round_]
    table = make_table(with_cgroup=True)
    for record in (*records, *records):
        table.add(record)
        fields = split_record(record)[0]
        if not fields.image_source and not fields.cgroup_source:
            alone = make_table(with_cgroup=True)
            alone.add(record)
            described, expected = known(table, fields.process_id), known(alone, fields.process_id)
            assert described.json(1) == expected.json(1)
            assert described.traits.key == expected.traits.key


def test_processes_of_an_image_share_what_was_made_of_it() -> None:
    table = make_table()
    table.add(process_record(process_id=7, pid=1, ppid=2, start_time_ns=3, comm=b"a"))
    table.add(process_record(process_id=8, pid=4, ppid=5, start_time_ns=6_000_000_000, comm=b"b"))
    assert known(table, 7).traits is known(table, 8).traits
    first, second = known(table, 7).fields, known(table, 8).fields
    assert {key for key in first if first[key] != second[key]} == {"start_time", "pid", "ppid"}
    others: list[dict[str, Any]] = [{"argv": b"x\0y\0"}, {"uid": 1}, {"cgroup": b"x/"}, {"path": b"/x"}, {"foreign": 1}]
    for change in others:
        table.add(process_record(process_id=9, **change))
        assert known(table, 9).traits is not known(table, 7).traits


@pytest.mark.parametrize("flags", [ProcessFlag.NO_IMAGE, ProcessFlag.ARGS_UNREAD, ProcessFlag.ARGS_INCOMPLETE])
def test_what_is_not_in_the_record_is_not_remembered(flags: int) -> None:
    """A thread's name, arguments that are read from /proc, and what is counted."""
    table = make_table(read_cmdline=lambda pid, start, exe, comm: b"x\0%d\0" % pid)
    for process_id in (7, 8):
        table.add(process_record(process_id=process_id, pid=process_id, argv=b"", comm=b"%d" % process_id, flags=flags))
    assert known(table, 7).fields["args"] in ("", "7")
    seven, eight = known(table, 7).fields, known(table, 8).fields
    assert (seven["filename"], seven["args"]) != (eight["filename"], eight["args"])


def test_what_is_remembered_is_bounded_in_bytes() -> None:
    table = make_table(limit=16)
    tracemalloc.start()
    try:
        for process_id in range(1, 3001):
            argv = b"x\0%d" % process_id + "\U0001f600".encode() * 500
            table.add(process_record(process_id=process_id, argv=argv + b"\0"))
            table.note_consumed(1 << 20)
        assert len(table) < 40
        assert tracemalloc.get_traced_memory()[1] < 2 * processes.TRAITS_SIZE_LIMIT
    finally:
        tracemalloc.stop()


def test_the_fields_of_a_record_that_tell_who_a_process_is_have_the_order_of_the_struct() -> None:
    assert [name for name in ProcessRecord._fields if name in processes.WHO] == list(processes.WHO)


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


def test_the_container_is_the_one_that_the_kernel_half_found() -> None:
    """Names of cgroups do not matter here."""
    names = f"docker-{ID}.scope/system.slice/".encode()
    assert "container_id" not in process_of(process_record(cgroup=names))
    assert process_of(process_record(cgroup=names, container_id=OTHER_ID.encode()))["container_id"] == OTHER_ID


def test_a_cgroup_whose_names_do_not_all_fit_is_marked() -> None:
    table = make_table(with_cgroup=True)
    table.add(process_record(b"c/b/", flags=ProcessFlag.CGROUP_INCOMPLETE))
    assert known(table, 7).fields["truncated"] == "cgroup"
    assert table.cgroup_incomplete == 1


def test_the_name_of_an_executable_in_memory_may_look_like_a_path() -> None:
    name = b"memfd:/usr/bin/curl"
    process = process_of(process_record(path=b"/" + name, flags=ProcessFlag.UNLINKED, name_length=len(name)))
    assert process["filename"] == "memfd:/usr/bin/curl"
    assert process["binary_path"] == "/memfd:/usr/bin/curl (deleted)"


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


def test_no_name_decides_what_a_process_runs() -> None:
    """A process gives itself any name (prctl). The kernel half refers to the image by the record that had it."""
    exiting = process_record(*NOTHING, process_id=8, image_source=7, flags=ProcessFlag.NO_IMAGE, comm=b"worker: 3\0")
    (event,) = make_decoder().events(batch_of([process_record(argv=b"x\0-s\0"), exiting, ipv4_event(process_id=8)]))
    process = event.process
    assert (process.filename, process.binary_path, process.args) == ("curl", "/usr/bin/curl", "-s")
    assert process.truncated is None


NOTHING = (b"", b"", b"")  # of strings: a record that refers to others


def test_a_process_without_an_image_or_a_source_has_only_its_threads_name_and_says_so() -> None:
    table = make_table()
    table.add(process_record(*NOTHING, flags=ProcessFlag.NO_IMAGE))
    fields = known(table, 7).fields
    assert (fields["filename"], fields["binary_path"], fields["args"]) == ("curl", "", "")
    assert fields["truncated"] == "filename | binary_path | args"
    assert (table.path_incomplete, table.args_incomplete) == (1, 1)


def test_a_kernel_thread_has_a_name_and_nothing_else_to_report() -> None:
    flags = ProcessFlag.NO_IMAGE | ProcessFlag.KERNEL_THREAD
    process = process_of(process_record(*NOTHING, flags=flags, comm=b"nfsd\0"))
    assert (process["filename"], process["binary_path"], process["args"]) == ("nfsd", "", "")
    assert "truncated" not in process


def again(process_id: int, **changes: Any) -> bytes:
    """Return a record that describes process 7 again, by references to its first one."""
    return process_record(*NOTHING, **{"process_id": process_id, "image_source": 7, "cgroup_source": 7, **changes})


def test_a_process_that_is_described_again_has_its_image_and_its_cgroup() -> None:
    records = [
        process_record(container_id=ID.encode(), argv=b"curl\0-s\0", secureexec=8, flags=ProcessFlag.UNLINKED),
        again(8, euid=5, ppid=9),
        again(9, image_source=8, cgroup_source=8),
        again(10, cgroup_source=0),
        *(ipv4_event(process_id=process_id) for process_id in (7, 8, 9, 10)),
    ]
    first, *others, moved = (event.process for event in make_decoder().events(batch_of(records)))
    assert first.args == "-s"
    assert (others[0].euid, others[0].ppid) == (5, 9)
    for process in others:
        assert process == first.model_copy(update={"euid": process.euid, "ppid": process.ppid})
    assert moved == first.model_copy(update={"container_id": None})


def test_arguments_that_were_not_read_at_first_come_later() -> None:
    table = make_table()
    table.add(process_record(argv=b"", flags=ProcessFlag.ARGS_UNREAD))
    table.add(process_record(b"", b"", b"curl\0-s\0", process_id=8, image_source=7, cgroup_source=7))
    table.add(again(9, image_source=8))
    assert [known(table, process_id).fields["args"] for process_id in (7, 8, 9)] == ["", "-s", "-s"]
    assert [known(table, process_id).cut for process_id in (7, 8, 9)] == [("args",), (), ()]


def test_arguments_stay_as_they_were_at_first() -> None:
    """A process may overwrite them."""
    table = make_table(read_cmdline=lambda pid, start, exe, comm: b"curl\0-s\0")
    table.add(process_record(argv=b"", flags=ProcessFlag.ARGS_UNREAD))
    table.add(process_record(b"", b"", b"curl\0--harmless\0", process_id=8, image_source=7, cgroup_source=7))
    assert known(table, 8).fields["args"] == "-s"


def test_a_reference_to_nothing_costs_no_event() -> None:
    """It cannot come, but after the limit that loses events."""
    decoder = make_decoder(with_cgroup=True)
    (event,) = decoder.events(batch_of([again(8, comm=b"curl\0"), ipv4_event(process_id=8)]))
    process = event.process
    assert (process.filename, process.binary_path, process.args, process.cgroup) == ("", "", "", "/")
    assert process.truncated == "filename | binary_path | args | container_id | cgroup"
    assert decoder.unknown_process == 0


LONG_ARGV = b"x\0" + b"a" * 8000 + b"\0"


def test_a_process_that_is_described_without_end_takes_little_memory() -> None:
    """Its records are short, though its arguments are long: so very many of them wait in a ring buffer at once."""
    table = make_table(bytes_waiting=lambda: 1 << 30, evict_on_add=False)
    tracemalloc.start()
    try:
        table.add(process_record(argv=LONG_ARGV))
        for process_id in range(8, 8008):
            table.add(again(process_id, cap_effective=process_id))
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / 2 < table.size < 2 * used
    assert used < 8000 * 1500


@pytest.mark.parametrize("hard_limit", [HARD_SIZE_LIMIT, 1 << 20], ids=["in time", "at once"])
def test_every_reference_resolves(hard_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have so many descriptions that old ones are evicted, or dropped at once, while references wait.

    The kernel half is modelled: it refers to the image of one process until that is older than its oldest id.
    """
    monkeypatch.setattr(processes, "HARD_SIZE_LIMIT", hard_limit)
    ring: deque[bytes] = deque()
    oldest = [0]
    table = make_table(limit=200, bytes_waiting=lambda: sum(map(len, ring)), set_oldest=oldest.append)
    images = {"/usr/bin/curl": 0, "/other": 0}
    for process_id in range(1, 9000):
        path = "/other" if process_id % 3 else "/usr/bin/curl"
        if images[path] and images[path] >= oldest[-1]:
            ring.append(again(process_id, image_source=images[path], cgroup_source=images[path], euid=process_id))
        else:
            ring.append(process_record(process_id=process_id, path=path.encode(), argv=b"x\0" + b"a" * 2000))
            images[path] = process_id
        while len(ring) > 3000:
            record = ring.popleft()
            table.add(record)
            table.note_consumed(len(record))
            described = split_record(record)[0].process_id
            assert known(table, described).fields["binary_path"] == ("/other" if described % 3 else "/usr/bin/curl")
    assert len(oldest) > 2


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


def test_what_was_executed() -> None:
    records = [
        exec_record(argv=b"curl\0--genuine\0"),
        process_record(argv=b"curl\0--pretended\0", exec_id=3, foreign=Foreign.MOUNT | Foreign.USER),
        again(8),
    ]
    table = make_table()
    table.add_exec(records[0])
    for record in records[1:]:
        table.add(record)
    fields = known(table, 7).fields
    assert fields["args"] == "--pretended"
    assert fields["exec"] == {
        "time": "2025-11-23T00:00:01.500Z",
        "path": "/usr/bin/curl",
        "args": "--genuine",
        "device": "8:1",
        "inode": 1835126,
    }
    assert fields["foreign"] == "mount | user"
    assert known(table, 8).fields["exec"] == fields["exec"]
    assert "foreign" not in known(table, 8).fields


@pytest.mark.parametrize(
    ("seen", "executed", "reported"), [(8, 0, ""), (0, 1, "FILELESS_EXEC"), (8, 1, "FILELESS_EXEC")]
)
def test_whether_a_file_had_a_link_is_known_from_its_exec(seen: int, executed: int, reported: str) -> None:
    table = make_table()
    table.add_exec(exec_record(flags=executed))
    table.add(process_record(secureexec=seen, exec_id=3))
    fields = known(table, 7).fields
    assert fields["secureexec"] == reported
    assert fields["exec"]["path"] == "/usr/bin/curl" + " (deleted)" * executed


def test_a_long_exec_is_cut_and_marked() -> None:
    table = make_table(with_exec=True)
    table.add_exec(exec_record(path=b"/" + b"\x01" * 4000, argv=b"x\0" + b"\x01" * 8000))
    table.add(process_record(exec_id=3))
    fields = known(table, 7).fields
    assert fields["truncated"] == "exec"
    assert len(fields["exec"]["path"]) > 100


def test_an_exec_waits_for_its_process_while_others_come() -> None:
    """The program that writes both may be preempted in between, while the other CPUs write theirs."""
    table = make_table()
    table.add_exec(exec_record(exec_id=1))
    written = 0
    for exec_id in range(2, 1000):
        table.add_exec(exec_record(exec_id=exec_id))
        table.add(process_record(process_id=exec_id, exec_id=exec_id))
        written += len(exec_record()) + len(process_record())
    assert written > LATE_RECORDS
    table.add(process_record(process_id=1, exec_id=1))
    assert known(table, 1).fields["exec"]["inode"] == 1835126
    assert (table.described, table.others_added, table.exec_incomplete) == (999, 999, 0)


def test_processes_that_run_the_same_have_the_same_exec() -> None:
    """Each has the record sent before its own; those of other CPUs may come in between."""
    table = make_table()
    for record in (exec_record(), exec_record()):
        table.add_exec(record)
    for process_id in (7, 8):
        table.add(process_record(process_id=process_id, exec_id=3))
    assert known(table, 7).fields["exec"] == known(table, 8).fields["exec"]


def test_the_execs_that_wait_take_little_memory() -> None:
    table = make_table()
    long = b"x\0" + b"a" * 7000
    tracemalloc.start()
    try:
        for exec_id in range(1, 2001):
            table.add_exec(exec_record(exec_id=exec_id))
            table.add_exec(exec_record(argv=long, exec_id=1_000_000 + exec_id))
        used = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):  # of the same program
            table.add_exec(exec_record(exec_id=1))
    finally:
        tracemalloc.stop()
    assert used < EXECS_SIZE * 1.2
    assert table.size < 1000
    table.add(process_record(exec_id=1_002_000))
    assert len(known(table, 7).fields["exec"]["args"]) > 5000


def test_an_exec_whose_record_is_gone_is_named_and_counted_once() -> None:
    """Not left out silently. What its description says of the file's link stays."""
    table = make_table(with_exec=True)
    table.add(process_record(exec_id=3, secureexec=8))
    table.add(again(8))
    for process_id in (7, 8):
        fields = known(table, process_id).fields
        assert "exec" not in fields
        assert (fields["truncated"], fields["secureexec"]) == ("exec", "FILELESS_EXEC")
    assert table.exec_incomplete == 1
    assert (table.path_incomplete, table.args_incomplete) == (0, 0)


@pytest.mark.parametrize("text", ["a", "\u00e9", "\u4e2d", "\U0001f600"])
def test_no_python_decides_what_is_evicted(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay on another Python evicts at the same record: a str has another size there."""

    def size_of_table() -> int:
        table = make_table(with_cgroup=True)
        table.add(process_record(cgroup=text.encode() + b"/", path=b"/" + text.encode(), argv=b"x\0" + text.encode()))
        return table.size

    size = size_of_table()
    monkeypatch.setattr("sys.getsizeof", lambda _: 100_000)
    assert size_of_table() == size


def test_a_short_exec_record_may_be_the_last_of_a_batch() -> None:
    decoder = make_decoder()
    assert list(decoder.events(batch_of([exec_record(path=b"/a", argv=b"")]))) == []
    (event,) = decoder.events(batch_of([process_record(exec_id=3), ipv4_event()]))
    assert event.process.exec is not None
    assert event.process.exec.path == "/a"

"""Recordings: the same events again, byte for byte; damaged files; a full disk."""

from __future__ import annotations

import json
import os
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netmon
from netmon import Config, DecodeError, LostEvents, Monitor, NetmonError, NetworkEvent
from netmon.batch import Batch
from netmon.decode.clock import Clock
from netmon.kernel.cmdline_reader import CmdlineReader
from netmon.kernel.procfs import read_boot_id
from netmon.kernel.workload_reader import WorkloadReader
from netmon.layout import Ancestor, ProcessFlag, RecordType
from netmon.limits import MIN_RECORD_LIMIT
from netmon.losses import Losses
from netmon.recording.form import FORM_VERSION, HEAD, MAGIC, START, WAITING, Kind, pack_frame, pack_json
from netmon.report import EVENTS, OPTIONS
from tests.support.name_server import TO_QUESTION, TYPE_A, address_record, answer, wire_name
from tests.support.record_mixes import MIXES
from tests.support.records import (
    ancestors_record,
    answer_record,
    batch_of,
    detailed_event,
    event_context,
    exec_record,
    ipv4_event,
    ipv6_event,
    process_record,
    progress_event,
)
from tests.support.ring_filler import watching
from tests.support.scripted_source import scripted

ALL = Config.from_dict(
    {
        "ingress": {"enabled": True},
        "egress": {"enabled": True},
        "report": {**dict.fromkeys(OPTIONS, True), "ancestors": 3, "progress": "30s", "events": [*EVENTS]},
    }
)
IN_CONTAINER: dict[str, Any] = {"container_id": b"a" * 64, "cgroup": b"a.scope/system.slice/"}
LOSSES = Losses(ring_full=3, missed=1, over_budget=4, offenders={"/system.slice/\u202e": 4}, path_incomplete=2)
HOUR_NS = 3_600_000_000_000


def lines_of(monitor: Monitor) -> list[str]:
    return [line for lines in monitor.json_lines() for line in lines]


def replayed(path: Path) -> list[str]:
    with Monitor.replay(path) as monitor:
        return lines_of(monitor)


def answer_to(name: str) -> bytes:
    """Return the record of an answer that names the peer of ipv4_event()."""
    question = wire_name(name) + struct.pack(">HH", TYPE_A, 1)
    return answer_record(answer(question, [address_record(TO_QUESTION, "192.0.2.1")]))


def scene() -> list[Batch]:
    """Return batches with all kinds of records, and with what is asked of the host."""
    unread: dict[str, Any] = {"flags": int(ProcessFlag.ARGS_UNREAD | ProcessFlag.ARGS_INCOMPLETE), "argv": b""}
    lineage = [process_record(process_id=6, pid=1), ancestors_record(Ancestor(6, 5, 1))]
    return [
        batch_of(
            [exec_record(), *lineage, process_record(exec_id=3), answer_to("a.example"), ipv4_event(), ipv6_event()]
        ),
        batch_of(
            [
                process_record(process_id=8, pid=9, ppid=4242, parent_id=7, **IN_CONTAINER, **unread),
                ipv4_event(process_id=8),
            ]
        ),
        batch_of([process_record(process_id=9, **unread), detailed_event(process_id=9), ipv4_event(process_id=99)]),
        batch_of(
            [progress_event(), detailed_event(process_id=8) + event_context(has_details=1, opener_id=7, opener_tid=20)]
        ),
    ]


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, list[str]]:
    """A recording, and the lines that its run has written."""
    path = tmp_path / "recording"
    answers: Iterator[bytes | None] = iter([b"nc\0-l\0\xff\n\0", None])

    def set_clock(number: int) -> None:
        if number in (1, 3):  # forwards and backwards
            changes.append(changes[-1] + (HOUR_NS if number == 1 else -2 * HOUR_NS))

    names: Iterator[dict[str, str] | None] = iter([None, {"container": "api"}])
    changes, measure = [0], Clock._measure_offset
    with (
        patch.object(CmdlineReader, "read", lambda *_: next(answers)),
        patch.object(WorkloadReader, "container", lambda *_: None),
        patch.object(WorkloadReader, "container_again", lambda *_: next(names)),
        patch.object(WorkloadReader, "user", lambda _, uid: "alice" if uid == 1000 else None),
        patch.object(Clock, "_measure_offset", lambda self, count=3: measure(self, count) + changes[-1]),
        scripted(*scene(), losses=LOSSES, before=set_clock, config=ALL, record=path) as monitor,
    ):
        return path, lines_of(monitor)


def test_a_replay_gives_the_lines_of_the_run(recorded: tuple[Path, list[str]]) -> None:
    path, lines = recorded
    assert [json.loads(line)["type"] for line in lines].count("NetworkEvent") == 6
    assert any(json.loads(line)["process"]["args"] == "-l \\xff\n" for line in lines if "NetworkEvent" in line)
    assert len({json.loads(line)["timestamp"][11:13] for line in lines}) > 1  # the clock was set
    assert any("exec" in json.loads(line)["process"] for line in lines if "TcpConnectionProgress" in line)
    assert any('"names":[{"name":"a.example"' in line for line in lines)
    workloads = [json.loads(line)["process"]["workload"] for line in lines if "NetworkEvent" in line]
    assert workloads[2] == {"unit": "a.scope", "user": "alice"}  # a container that was found later
    assert workloads[-1] == {"container": "api", **workloads[2]}
    assert workloads[-2] == {"user": "alice"}
    processes = [json.loads(line)["process"] for line in lines if "NetworkEvent" in line]
    assert processes[0]["ancestors"][0]["filename"] == "curl"
    assert all(process["id"].startswith(f"{read_boot_id()}.") for process in processes)
    report, _ = [line for line in lines if "LostEvents" in line]  # then one of the unknown process
    assert json.loads(report)["lost_events"]["offenders"] == {"/system.slice/\u202e": 4}
    assert replayed(path) == lines


def test_models_raw_events_and_counts_are_those_of_the_run(recorded: tuple[Path, list[str]]) -> None:
    path, lines = recorded
    models = list(netmon.replay(path))
    assert [json.loads(model.model_dump_json()) for model in models] == [json.loads(line) for line in lines]
    assert {type(model) for model in models} == {NetworkEvent, LostEvents}
    with Monitor.replay(path) as monitor:
        raws = [event.json() for batch in monitor.raw_events() for event in batch]
        assert monitor.finished
        assert {type(event) for event in monitor.poll(0)} == {LostEvents}
    assert raws == [line for line in lines if "NetworkEvent" in line]
    assert monitor.losses == LOSSES._replace(unknown_process=1, workload_unknown=1)
    assert monitor.counters.connection_events == 6
    assert monitor.recording and monitor.recording.whole
    with monitor:  # again
        assert lines_of(monitor) == lines


def test_a_filter_of_names_and_its_reload_are_those_of_the_run(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    data: dict[str, Any] = {"egress": {"enabled": True}, "report": {"names": True}}
    allowed, denied = (
        Config.from_dict({**data, "name_filter": {"domain": ["a.example"], "deny_list": deny}})
        for deny in (False, True)
    )
    other = bytes([192, 0, 2, 9])
    batches = [
        batch_of([process_record(), answer_to("a.example"), ipv4_event(cookie=1), ipv4_event(cookie=2, daddr=other)]),
        batch_of([ipv4_event(cookie=3), ipv4_event(cookie=4, daddr=other)]),
        batch_of([detailed_event(cookie=cookie) for cookie in (1, 2, 3, 4)]),
    ]
    with scripted(*batches, config=allowed, record=path, lost_events=False) as monitor:
        lines = list(next(iter(monitor.json_lines())))
        monitor.reload(denied)
        lines += lines_of(monitor)
        assert monitor.counters.connection_events == len(lines)
    assert [json.loads(line)["network_event"]["cookie"] for line in lines] == [1, 4, 1, 4]
    assert replayed(path) == lines


def test_what_needs_a_kernel_is_refused(recorded: tuple[Path, list[str]]) -> None:
    with Monitor.replay(recorded[0]) as monitor:
        with pytest.raises(NetmonError, match="replays a recording"):
            monitor.follow(1)
        with pytest.raises(NetmonError, match="replays a recording"):
            monitor.reload(None)
        assert (monitor.followed(), monitor.program_infos(), monitor.blind) == ([], [], "")


def test_many_processes_which_are_evicted(tmp_path: Path) -> None:
    """The run drops processes by what waits in its ring buffer. So does the replay."""
    path = tmp_path / "recording"
    with watching(MIXES["a new process every 2 events"], record=path, lost_events=False) as (monitor, filler):
        lines: list[str] = []
        for _ in range(20):
            filler.send(1500)
            lines += [line for batch in monitor.json_lines(timeout=0) for line in batch]
        assert monitor.counters.processes_known < monitor.counters.processes_described == 10_000
    assert len(lines) == 20_000
    assert replayed(path) == lines


def test_an_answer_that_nobody_asks_for_is_none_to_a_later_question(tmp_path: Path) -> None:
    """The netmon that replays may ask less than the one that has recorded."""
    path = tmp_path / "recording"
    with scripted(record=path, config=ALL):
        pass
    data = path.read_bytes()
    header = data[: START.size + HEAD.size + HEAD.unpack_from(data, START.size)[1]]
    unread = process_record(flags=int(ProcessFlag.ARGS_UNREAD), argv=b"")
    frames = [
        pack_frame(Kind.BATCH, batch_of([process_record(process_id=6), ipv4_event(process_id=6)]).data),
        pack_frame(Kind.CMDLINE, b"\0curl\0--anothers\0"),
        pack_frame(Kind.WAITING, WAITING.pack(5)),
        pack_frame(Kind.BATCH, batch_of([unread, ipv4_event()]).data),
        pack_frame(Kind.CMDLINE, b"\0curl\0--own\0"),
    ]
    path.write_bytes(header + b"".join(frames))
    assert [json.loads(line)["process"]["args"] for line in replayed(path)] == ["", "--own"]


def test_the_file_is_new_and_for_its_user_alone(tmp_path: Path) -> None:
    path, link = tmp_path / "recording", tmp_path / "link"
    link.symlink_to(path)
    exists = r"link: exists already; name another file, or remove it$"
    with pytest.raises(NetmonError, match=exists), scripted(record=link):
        pass
    before = os.umask(0)
    with scripted(record=path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.umask(before)
    with pytest.raises(NetmonError, match="exists already"), scripted(record=path):
        pass
    with pytest.raises(NetmonError, match="No such file or directory"), scripted(record=tmp_path / "no" / "file"):
        pass


def test_a_start_that_fails_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    with (
        patch("netmon.monitor.Reader", side_effect=OSError(24, "Too many open files")),
        pytest.raises(NetmonError, match="Too many open files"),
        scripted(record=path),
    ):
        pass
    assert not path.exists()


def test_a_limit_ends_the_recording_and_not_the_run(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    with watching(MIXES["1 process, IPv4"], record=path, record_limit=MIN_RECORD_LIMIT) as (monitor, filler):
        lines: list[str] = []
        while not monitor.record_problem:
            filler.send(2000)
            lines += [line for batch in monitor.json_lines(timeout=0) for line in batch]
        filler.send(10)
        lines += [line for batch in monitor.json_lines(timeout=0) for line in batch]
        missing = monitor.losses.outputs["recording"]
    assert monitor.record_problem == f"{path}: has reached its limit of {MIN_RECORD_LIMIT} bytes"
    assert path.stat().st_size <= MIN_RECORD_LIMIT
    events = [line for line in lines if "NetworkEvent" in line]
    assert replayed(path) == events[:-missing]
    with Monitor.replay(path) as again:
        lines_of(again)
        assert again.recording and not again.recording.whole


FULL_DISK = """
import resource, signal, sys
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import watching
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
with watching(MIXES["1 process, IPv4"], record=sys.argv[1]) as (monitor, filler):
    for _ in range(20):
        filler.send(100)
        monitor.poll(0)
    print(monitor.record_problem)
    print(monitor.counters.connection_events - monitor.losses.outputs["recording"])
"""


def test_a_full_disk_ends_the_recording_and_not_the_run(tmp_path: Path) -> None:
    """A limit of the file's size stands in for it: a write is short, and the next one fails."""
    path = tmp_path / "recording"
    ended = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True)
    assert ended.stdout.splitlines()[0] == f"{path}: File too large", ended.stderr
    assert len(replayed(path)) == int(ended.stdout.splitlines()[1])


KILLED = """
import os, signal, sys
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import watching
with watching(MIXES["1 process, IPv4"], record=sys.argv[1]) as (monitor, filler):
    filler.send(11)
    print(len(monitor.poll(0)))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_was_killed_has_a_recording(tmp_path: Path) -> None:
    """Wherever the last frame ends."""
    path = tmp_path / "recording"
    ended = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "10\n")
    assert len(replayed(path)) == 10
    data = path.read_bytes()
    for end in range(len(data) - 100, len(data)):
        path.write_bytes(data[:end])
        assert replayed(path) == []


def test_a_forked_child_leaves_the_recording_alone(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    with watching(MIXES["1 process, IPv4"], record=path) as (monitor, filler):
        filler.send(11)
        assert len(monitor.poll(0)) == 10
        child = os.fork()
        if not child:
            monitor.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        filler.send(10)
        assert len(monitor.poll(0)) == 10
    assert len(replayed(path)) == 20


class InterruptedWrites:
    """Stands in for os.pwrite(), writes half of what it is given, and raises once: before a write, or after one."""

    def __init__(self, moment: int) -> None:
        self._left = moment
        self._write = os.pwrite

    def __call__(self, fd: int, data: bytes, at: int) -> int:
        self._count()
        written = self._write(fd, data[: 1 + len(data) // 2], at)
        self._count()
        return written

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("moment", range(30, 70, 3))
def test_a_signal_handler_that_raises_leaves_the_recording_whole(moment: int, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    interrupted = False
    with patch("os.pwrite", InterruptedWrites(moment)), scripted(*scene(), config=ALL, record=path) as monitor:
        while not monitor.finished:
            try:
                lines_of(monitor)
            except KeyboardInterrupt:
                interrupted = True
    assert interrupted
    assert "".join(replayed(path)).count("NetworkEvent") == 6


def damaged(path: Path, data: bytes) -> str:
    """Return the error of a replay."""
    path.write_bytes(data)
    with pytest.raises(DecodeError) as caught:
        replayed(path)
    return str(caught.value).removeprefix(f"{path}: ")


def test_each_damage_names_its_place(recorded: tuple[Path, list[str]]) -> None:
    path, _ = recorded
    data = path.read_bytes()
    at = START.size + HEAD.size + HEAD.unpack_from(data, START.size)[1]  # the first frame: a batch
    start, header = data[: START.size], data[:at]
    assert damaged(path, b"{}\n").startswith("is no recording; `netmon run --record FILE` makes them")
    assert damaged(path, b"").startswith("is no recording")
    assert damaged(path, MAGIC) == "damaged at byte 0: its header is cut off"
    assert damaged(path, header[:-1]) == f"damaged at byte {START.size}: its header is cut off"
    newer = START.pack(MAGIC, FORM_VERSION + 1) + data[START.size :]
    assert damaged(path, newer).startswith(f"is a recording of version {FORM_VERSION + 1}, and this netmon reads")
    other = start + pack_frame(Kind.HEADER, pack_json({"netmon": "9.9", "layout": "00000000", "byteorder": "little"}))
    assert damaged(path, other).startswith("netmon 9.9 has recorded it, whose records have another layout; replay it")
    flipped = bytearray(data)
    flipped[at + HEAD.size] ^= 1
    assert damaged(path, bytes(flipped)) == f"damaged at byte {at}: a frame has another checksum"
    assert damaged(path, header + b"\xff" * HEAD.size).startswith(f"damaged at byte {at}: there is no frame")
    huge = HEAD.pack(Kind.BATCH, 1 << 31, 0)
    assert damaged(path, header + huge) == f"damaged at byte {at}: a frame of {1 << 31} bytes is too long"
    unknown = pack_frame(Kind.BATCH, batch_of([b"\xff" * 48]).data)
    assert damaged(path, header + unknown).startswith(f"damaged in the batch at byte {at}: unknown record: type 255")
    cut = pack_frame(Kind.BATCH, batch_of([ipv4_event()]).data[:-1])
    assert damaged(path, header + cut).startswith(f"damaged at byte {at}: a record of 48 bytes is cut off at byte 0")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, reason in ((tmp_path / "none", "No such file"), (fifo, "is no file"), (tmp_path, "is no file")):
        with pytest.raises(NetmonError, match=reason):
            Monitor.replay(path)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(Losses._fields), values, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_recording_gives_events_or_a_decode_error(
    recorded: tuple[Path, list[str]], tmp_path: Path, data: st.DataObject
) -> None:
    """Nothing else: with damaged bytes, and with whole frames that no run writes."""
    whole = recorded[0].read_bytes()
    at = START.size + HEAD.size + HEAD.unpack_from(whole, START.size)[1]
    if data.draw(st.booleans()):
        damage = bytearray(whole)
        for place in data.draw(st.lists(st.integers(0, len(damage) - 1), max_size=6)):
            damage[place] = data.draw(st.integers(0, 255))
        content = bytes(damage[: data.draw(st.integers(0, len(damage)) | st.just(len(damage)))])
    else:
        header = json.loads(whole[START.size + HEAD.size : at])
        header.update(data.draw(st.dictionaries(st.sampled_from(list(header)), JSON_VALUES, max_size=2)))
        reports = JSON_VALUES.map(lambda losses: pack_json({"losses": losses, "timestamp": "2026-01-01T00:00:00.000Z"}))
        records = st.sampled_from([process_record(), ipv4_event(), ipv4_event(type=RecordType.CLOSE), b"\1" * 48])
        batches = st.lists(records, max_size=3).map(lambda some: batch_of(some).data)
        frames = data.draw(st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=20) | reports | batches)))
        content = whole[: START.size] + pack_frame(Kind.HEADER, pack_json(header))
        content += b"".join(pack_frame(kind, payload) for kind, payload in frames)
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with suppress(DecodeError):
        for line in replayed(path):
            assert json.loads(line)["type"] in ("NetworkEvent", "LostEvents")

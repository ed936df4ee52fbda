"""What events say of a process, compared with what the test reads in /proc while the process lives.

The processes are programs run in children: Python, or a copy of the static `connect_once`, which connects to a
port, writes a line, waits for one on standard input, and ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from netmon import Config, Monitor, NetworkEvent
from tests.support.connecting_process import (
    CONNECT_ONCE,
    check_process,
    connected,
    in_child,
    process_of,
    read_expected,
)
from tests.support.json_events import Event, types_of
from tests.support.netmon_command import PROGRAMS, Netmon
from tests.support.procfs import status_of
from tests.support.sockets import leave_to_child
from tests.support.waiting import wait_until

pytestmark = pytest.mark.core

NO_AUID = 0xFFFFFFFF
CLONE_NEWTIME = 0x80


def test_a_process_is_described_as_in_proc(netmon: Netmon, port: str) -> None:
    with netmon.watch() as seen, connected([CONNECT_ONCE, port, "two words"]) as subject:
        expected = read_expected(subject)
        started = int(subject.stat[19]) / os.sysconf("SC_CLK_TCK")
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    process = process_of(seen, subject.pid)
    assert {key: process[key] for key in expected} == expected
    assert process["args"] == f"{port} two words"
    assert process["secureexec"] == ""
    assert "container_id" not in process
    reported = datetime.strptime(process["start_time"] + "+0000", "%Y-%m-%dT%H:%M:%S.%fZ%z")
    assert abs(reported.timestamp() - (boot + started)) < 0.02  # a clock tick is 10 ms


def test_a_setuid_program_is_marked(netmon: Netmon, port: str, copy: Path) -> None:
    copy.chmod(0o4755)
    process = check_process(netmon, [copy, port], user=1000, group=1000)
    assert (process["uid"], process["euid"]) == (1000, 0)
    assert process["secureexec"] == "SETUID"


def test_a_setgid_program_is_marked(netmon: Netmon, port: str, copy: Path) -> None:
    os.chown(copy, 0, 42)
    copy.chmod(0o2755)
    process = check_process(netmon, [copy, port], user=1000, group=1000)
    assert (process["gid"], process["egid"]) == (1000, 42)
    assert process["secureexec"] == "SETGID"


def test_file_capabilities_are_marked(netmon: Netmon, port: str, copy: Path) -> None:
    subprocess.run(["setcap", "cap_net_raw,cap_sys_admin+ep", copy], check=True)
    process = check_process(netmon, [copy, port], user=1000, group=1000)
    assert process["cap_effective"] == "CAP_NET_RAW | CAP_SYS_ADMIN"
    assert process["secureexec"] == "FILE_CAPS"


def test_a_user_has_no_capabilities(netmon: Netmon, port: str) -> None:
    process = check_process(netmon, [CONNECT_ONCE, port], user=1000, group=1000)
    assert process["cap_effective"] == process["cap_permitted"] == ""


def test_root_has_all_capabilities(netmon: Netmon, port: str) -> None:
    assert check_process(netmon, [CONNECT_ONCE, port])["cap_effective"] == "ALL_CAPS"


def test_a_login_sets_the_auid(netmon: Netmon, port: str) -> None:
    script = 'echo 1000 > /proc/self/loginuid; exec "$@"'
    # echo is built into the shell, so /proc/self is the shell.
    process = check_process(netmon, ["/bin/bash", "-c", script, "bash", CONNECT_ONCE, port])
    assert process["auid"] == 1000


def test_without_a_login_the_auid_is_unset(netmon: Netmon, port: str) -> None:
    assert check_process(netmon, [CONNECT_ONCE, port])["auid"] == NO_AUID


def test_a_program_in_memory_is_marked_fileless(netmon: Netmon, port: str) -> None:
    fd = os.memfd_create("in memory", 0)
    os.write(fd, CONNECT_ONCE.read_bytes())
    process = check_process(netmon, [f"/proc/self/fd/{fd}", port], pass_fds=[fd])
    os.close(fd)
    assert process["binary_path"] == "/memfd:in memory (deleted)"
    assert process["filename"] == "memfd:in memory"
    assert process["secureexec"] == "FILELESS_EXEC"


def test_a_deleted_program_is_marked_fileless(netmon: Netmon, port: str, copy: Path) -> None:
    fd = os.open(copy, os.O_RDONLY)
    copy.unlink()
    process = check_process(netmon, [f"/proc/self/fd/{fd}", port], pass_fds=[fd])
    os.close(fd)
    assert process["binary_path"] == f"{copy} (deleted)"
    assert process["filename"] == "subject"
    assert process["secureexec"] == "FILELESS_EXEC"


def test_a_program_in_a_chroot_has_its_path_inside(netmon: Netmon, port: str, copy: Path) -> None:
    with (
        netmon.watch() as seen,
        connected(["/subject", port], preexec_fn=lambda: os.chroot(copy.parent)) as subject,
    ):
        assert subject.exe == str(copy)
    assert process_of(seen, subject.pid)["binary_path"] == "/subject"


def test_a_program_on_a_bind_mount_has_its_path_there(netmon: Netmon, port: str, tmp_path: Path) -> None:
    subprocess.run(["mount", "--bind", PROGRAMS, tmp_path], check=True)
    try:
        process = check_process(netmon, [tmp_path / "connect_once", port])
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
    assert process["binary_path"] == f"{tmp_path}/connect_once"


@pytest.mark.parametrize("length", [4096, 8100, 8192, 100_000])
def test_long_arguments_are_whole_up_to_8_kib(netmon: Netmon, port: str, length: int) -> None:
    with netmon.watch() as seen, connected([CONNECT_ONCE, port, "x" * length]) as subject:
        args = f"{port} {'x' * length}"
    process = process_of(seen, subject.pid)
    assert args.startswith(process["args"])
    assert process["args"] == args or len(process["args"]) > 8000
    assert process.get("truncated") == (None if process["args"] == args else "args")


def test_arguments_that_are_not_utf8_are_escaped(netmon: Netmon, port: str) -> None:
    process = check_process(netmon, [CONNECT_ONCE, port, b"caf\xe9", b"\xff\xfe", "caf\u00e9"])
    assert process["args"] == f"{port} caf\\xe9 \\xff\\xfe caf\u00e9"


def test_odd_names_are_reported_unchanged(netmon: Netmon, port: str, copy: Path) -> None:
    odd = copy.rename(copy.parent / 'a "quoted"\nname\t\\ \u00e9')
    process = check_process(netmon, [odd, port, 'say "hi"\n'])
    assert process["binary_path"] == str(odd)


def test_a_deep_path_is_complete(netmon: Netmon, port: str, tmp_path: Path) -> None:
    directory = tmp_path
    for _ in range(14):
        directory = directory / ("d" * 250)
    directory.mkdir(parents=True)
    process = check_process(netmon, [shutil.copy(CONNECT_ONCE, directory), port])
    assert len(process["binary_path"]) > 3500


def test_a_thread_has_its_own_tid(netmon: Netmon, listener: socket.socket) -> None:
    tids = []

    def connect() -> None:
        tids.append(threading.get_native_id())
        socket.create_connection(listener.getsockname()).close()

    with netmon.watch() as seen:
        thread = threading.Thread(target=connect)
        thread.start()
        thread.join()
    assert [event["process"]["tid"] for event in seen] == tids * 2
    assert {event["process"]["pid"] for event in seen} == {os.getpid()}
    assert tids != [os.getpid()]


def test_a_forked_child_has_its_parents_program(netmon: Netmon, listener: socket.socket) -> None:
    with netmon.watch() as seen:
        socket.create_connection(listener.getsockname()).close()
        child = os.fork()
        if child == 0:
            socket.create_connection(listener.getsockname()).close()
            os._exit(0)
        os.waitpid(child, 0)
    parent_process, child_process = process_of(seen, os.getpid()), process_of(seen, child)
    assert child_process["ppid"] == os.getpid()
    assert child_process["start_time"] >= parent_process["start_time"]
    same = ("args", "binary_path", "filename", "uid", "cap_effective")
    assert [child_process[key] for key in same] == [parent_process[key] for key in same]


def test_a_child_that_exits_last_closes_what_it_inherited(netmon: Netmon, listener: socket.socket) -> None:
    """The child has opened no connection itself."""
    with netmon.watch() as seen:
        connection = socket.create_connection(listener.getsockname())
        child = leave_to_child(connection)
    assert types_of(seen) == ["Establish", "Close"]
    opened, closed = (event["process"] for event in seen)
    assert (opened["pid"], closed["pid"]) == (os.getpid(), child)
    assert closed["binary_path"] == opened["binary_path"]
    assert closed["args"] == opened["args"]


def test_each_connection_has_the_image_that_opened_it(netmon: Netmon, port: str) -> None:
    """One process execs a second program."""
    script = (
        "import os, socket, sys;"
        f"s = socket.create_connection(('127.0.0.1', {port}));"
        f"s.close(); os.execv('{CONNECT_ONCE}', ['again', '{port}', 'second'])"
    )
    with netmon.watch() as seen, connected(["python3", "-c", script]) as subject:
        pass
    mine = [event for event in seen if event["process"]["pid"] == subject.pid]
    assert types_of(mine) == ["Establish", "Close"] * 2
    first, second = mine[0]["process"], mine[2]["process"]
    assert first == mine[1]["process"]
    assert second == mine[3]["process"]
    assert first["args"] == f"-c {script}"
    assert (second["filename"], second["args"]) == ("connect_once", f"{port} second")
    assert first["start_time"] == second["start_time"]


def test_setting_the_clock_moves_events_but_not_start_times(netmon: Netmon, listener: socket.socket) -> None:
    """The reference gets this wrong, and quark did (quark#364, #368)."""
    reported: list[Event] = []
    try:
        for hours in (0, 1):
            with netmon.watch() as seen, socket.create_connection(listener.getsockname()):
                time.clock_settime(time.CLOCK_REALTIME, time.time() + hours * 3600)
            reported += seen
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.time() - 3600)
    first, last = (datetime.fromisoformat(event["timestamp"]) for event in (reported[0], reported[-1]))
    assert timedelta(hours=1) <= last - first < timedelta(hours=2)
    assert len({event["process"]["start_time"] for event in reported}) == 1


def test_a_process_that_starts_just_after_the_clock_was_set_has_a_right_start(
    port: str, listener: socket.socket
) -> None:
    """Also while netmon waits, here ten seconds, for others to join a first event."""

    def waits() -> int:
        return int(status_of(netmon.process.pid)["voluntary_ctxt_switches"][0])

    with Netmon("--batch-delay", "10s") as netmon:
        before = waits()
        socket.create_connection(listener.getsockname()).close()
        wait_until(lambda: waits() > before, "netmon to wait for other events")
        before = waits()
        time.clock_settime(time.CLOCK_REALTIME, time.time() + 3600)
        try:
            wait_until(lambda: waits() > before, "netmon to notice that the clock was set", deadline=5)
            with connected([CONNECT_ONCE, port]) as subject:
                now = time.time()
            ended = netmon.stop()
        finally:
            time.clock_settime(time.CLOCK_REALTIME, time.time() - 3600)
    start = datetime.fromisoformat(process_of(ended.events, subject.pid)["start_time"])
    assert abs(start.timestamp() - now) < 60


def report_as_monitor(report: int, command: list[str]) -> None:
    """Write the JSON of a connecting program's first event to a descriptor, as a Monitor of this process has it."""
    config = Config.from_dict({"egress": {"enabled": True}, "report": {"parent": True}})
    with Monitor(config, any_kernel=True) as monitor, connected(command) as subject:
        events = [event for event in monitor.poll(30) if isinstance(event, NetworkEvent)]
        (first, *_) = (event for event in events if event.process.pid == subject.pid)
        os.write(report, first.model_dump_json().encode())


def test_times_in_a_time_namespace_are_right(port: str) -> None:
    """There netmon's own clock, by which /proc shows when a process started, is not the kernel half's."""
    read_end, write_end = os.pipe()

    def enter() -> None:
        """Make a time namespace, in which this process's children are."""
        assert ctypes.CDLL(None).unshare(CLONE_NEWTIME) == 0
        Path("/proc/self/timens_offsets").write_text("boottime 100000 0")
        in_child(lambda: report_as_monitor(write_end, [str(CONNECT_ONCE), port]))

    in_child(enter)
    os.close(write_end)
    with os.fdopen(read_end) as report:
        event = json.load(report)
    for reported in (event["timestamp"], event["process"]["start_time"], event["parent"]["start_time"]):
        assert abs(datetime.fromisoformat(reported).timestamp() - time.time()) < 1000
    # The forked child has this process's arguments.
    arguments = Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:-1]
    assert event["parent"]["args"] == b" ".join(arguments).decode()


def test_credentials_are_those_at_the_event(netmon: Netmon, port: str) -> None:
    script = (
        "import os, socket\n"
        "for uid in (0, 1000, 1000):\n"
        "    os.setuid(uid)\n"
        f"    socket.create_connection(('127.0.0.1', {port})).close()\n"
    )
    with netmon.watch() as seen:
        subprocess.run(["python3", "-c", script], check=True)
    reported = [(event["process"]["uid"], event["process"]["cap_effective"]) for event in seen]
    assert reported == [(0, "ALL_CAPS")] * 2 + [(1000, "")] * 4
    assert len({event["process"]["start_time"] for event in seen}) == 1


def test_a_process_that_ends_before_its_event_is_read_is_described(netmon: Netmon, port: str) -> None:
    """Not with pid 0, as in the reference (ptcpdump#266)."""
    with netmon.watch() as seen:
        netmon.process.send_signal(signal.SIGSTOP)
        try:
            child = subprocess.Popen([CONNECT_ONCE, port, "gone"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            assert child.wait() == 0
        finally:
            netmon.process.send_signal(signal.SIGCONT)
    process = process_of(seen, child.pid)
    assert process["binary_path"] == str(CONNECT_ONCE)
    assert process["args"] == f"{port} gone"


ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("cgroup", "container_id"),
    [
        (f"system.slice/docker-{ID}.scope", ID),
        (f"kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", ID),
        (f"kubepods/burstable/pod0a1b2c3d-1111-2222-3333-444455556666/{ID}", ID),
        (f"system.slice/docker-{ID}.scope/init.scope", ID),
        ("system.slice/nginx.service", None),
    ],
)
def test_the_container_id_is_complete(netmon: Netmon, port: str, cgroup: str, container_id: str | None) -> None:
    """It has 64 digits; the reference has 31."""
    directory = Path("/sys/fs/cgroup") / cgroup
    directory.mkdir(parents=True, exist_ok=True)

    def enter() -> None:
        (directory / "cgroup.procs").write_text("0")

    process = check_process(netmon, [CONNECT_ONCE, port], preexec_fn=enter)
    assert process.get("container_id") == container_id

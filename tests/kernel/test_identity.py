"""What a process runs is what it was when it was described first, whatever it calls itself or shows later."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from netmon import Config
from tests.support.connecting_process import CONNECT_ONCE, connected, process_of
from tests.support.filtered_monitors import Filtered, events_so_far
from tests.support.fuse_file import fuse_file
from tests.support.json_events import types_of
from tests.support.netmon_command import Netmon

pytestmark = pytest.mark.core

# Connects, becomes another in all that is its own to change, is described again, and ends with both connections open.
PRETENDER = r"""
import ctypes, os, socket, sys
port = int(sys.argv[1])
libc = ctypes.CDLL(None)
reads, writes = os.pipe()
if os.fork():
    os.close(writes)
    os.read(reads, 1)
    os._exit(0)
os.close(reads)
parent = os.getppid()
first = socket.create_connection(('127.0.0.1', port))
libc.prctl(15, b'worker: busy')
begin, end = map(int, open('/proc/self/stat').read().rpartition(')')[2].split()[45:47])
ctypes.memset(begin, ord('x'), end - begin)
os.close(writes)
while os.getppid() == parent:
    pass
second = socket.create_connection(('127.0.0.1', port))
os.setegid(1000)
third = socket.create_connection(('127.0.0.1', port))
print(os.getpid(), end='', flush=True)
"""


def test_a_process_that_changes_what_it_shows_is_still_what_it_was(netmon: Netmon, port: str) -> None:
    """Neither its new name nor its new arguments are reported, though it is described again, and again at its end."""
    with netmon.watch() as seen:
        said = subprocess.run(["python3", "-c", PRETENDER, port, "genuine"], stdout=subprocess.PIPE, check=True)
    mine = [event for event in seen if event["process"]["pid"] == int(said.stdout)]
    assert types_of(mine) == ["Establish"] * 3 + ["Close"] * 3
    processes = [event["process"] for event in mine]
    assert len({process["ppid"] for process in processes}) == 2
    assert [process["egid"] for process in processes] == [0, 0, 1000, 1000, 1000, 1000]
    for key in ("filename", "binary_path", "args", "secureexec"):
        assert len({process[key] for process in processes}) == 1
    assert processes[0]["args"].endswith("genuine")
    assert "truncated" not in processes[-1]


def test_a_child_that_renames_itself_and_was_never_seen_has_its_parents_image(
    netmon: Netmon, listener: socket.socket
) -> None:
    script = (
        "import ctypes, os, socket, sys;"
        f"s = socket.create_connection({listener.getsockname()!r});"
        "child = os.fork();"
        "ctypes.CDLL(None).prctl(15, b'curl') if not child else s.close();"
        "child and os.waitpid(child, 0)"
    )
    with netmon.watch() as seen:
        parent = subprocess.Popen(["python3", "-c", script])
        parent.wait()
    opened, closed = (event["process"] for event in seen)
    assert closed["pid"] != opened["pid"] == parent.pid
    assert [closed[key] for key in ("filename", "args")] == [opened[key] for key in ("filename", "args")]


CHANGES = 200
LONG = "x" * 8000


def test_an_image_is_sent_once(filtered: Filtered) -> None:
    """A process that has itself described again and again takes little of the ring buffer."""
    script = (
        "import os, socket, sys\n"
        f"for i in range({CHANGES}):\n"
        "    os.setegid(1000 + i % 2); socket.socket().connect_ex(('127.0.0.1', 1))"
    )
    monitor = filtered(Config.from_dict({"egress": {"enabled": True}}))
    before = monitor.counters
    child = subprocess.Popen(["python3", "-c", script, LONG])
    child.wait()
    events = [event for event in events_so_far(monitor) if event.process.pid == child.pid]
    assert len(events) == 2 * CHANGES
    assert {event.process.args.rpartition(" ")[2] for event in events} == {LONG}
    after = monitor.counters
    assert after.processes_described - before.processes_described >= CHANGES
    assert after.bytes_read - before.bytes_read < CHANGES * (2 * 64 + 200) + 16 * 1024


def test_a_filter_of_names_judges_what_a_process_was_at_first(filtered: Filtered, port: str) -> None:
    """The verdict is kept for its image, though the process renames itself and changes its root directory."""
    script = (
        "import ctypes, os, socket\n"
        "libc = ctypes.CDLL(None)\n"
        "for i in range(3):\n"
        f"    socket.socket().connect(('127.0.0.1', {port}))\n"
        "    libc.prctl(15, b'curl'); os.setegid(1000 + i)\n"
        "    i or os.chroot('/usr')"
    )
    name = Path(os.path.realpath(shutil.which("python3") or "")).name
    monitor = filtered(Config.from_dict({"egress": {"enabled": True}, "process_filter": {"binary": {"name": [name]}}}))
    child = subprocess.Popen(["python3", "-c", script])
    child.wait()
    mine = [event.process for event in events_so_far(monitor) if event.process.pid == child.pid]
    assert len(mine) == 6
    assert len({process.binary_path for process in mine}) == 1


def test_a_program_in_memory_that_is_named_like_a_path_has_that_name(netmon: Netmon, port: str) -> None:
    fd = os.memfd_create("/usr/bin/curl", 0)
    os.write(fd, CONNECT_ONCE.read_bytes())
    with netmon.watch() as seen, connected([f"/proc/self/fd/{fd}", port], pass_fds=[fd]) as subject:
        pass
    os.close(fd)
    process = process_of(seen, subject.pid)
    assert process["filename"] == "memfd:/usr/bin/curl"
    assert process["binary_path"] == "/memfd:/usr/bin/curl (deleted)"
    assert process["secureexec"] == "FILELESS_EXEC"


def test_a_file_without_a_name_is_fileless(netmon: Netmon, port: str, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR, 0o755)
    os.write(fd, CONNECT_ONCE.read_bytes())
    reading = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    os.close(fd)
    with netmon.watch() as seen, connected([f"/proc/self/fd/{reading}", port], pass_fds=[reading]) as subject:
        pass
    os.close(reading)
    assert process_of(seen, subject.pid)["secureexec"] == "FILELESS_EXEC"


def test_a_program_that_is_deleted_before_its_first_connection_is_not_fileless(
    netmon: Netmon, port: str, tmp_path: Path
) -> None:
    """As at the upgrade of a package: it had a link when it was executed."""
    shell = Path(shutil.copy("/bin/bash", tmp_path / "upgraded"))
    command = [str(shell), "-c", f"echo; read; exec 3<>/dev/tcp/127.0.0.1/{port}"]
    with netmon.watch() as seen:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"\n"
        shell.unlink()
        child.communicate(b"\n")
    process = process_of(seen, child.pid)
    assert process["binary_path"] == f"{shell} (deleted)"
    assert process["filename"] == "upgraded"
    assert process["secureexec"] == ""


@pytest.mark.parametrize("length", [256, 1000])
def test_a_name_longer_than_most_file_systems_take_is_whole(
    filtered: Filtered, port: str, tmp_path: Path, length: int, modules: None
) -> None:
    """Filters of prefixes and paths have it, too; a name of that length can be in no list."""
    name = "n" * length
    base = {"egress": {"enabled": True}}
    with fuse_file(tmp_path, CONNECT_ONCE.read_bytes()):
        for binary, count in (({"prefix": [f"{tmp_path}/nnn"]}, 2), ({"name": [name[:255]]}, 0)):
            monitor = filtered(Config.from_dict({**base, "process_filter": {"binary": binary}}))
            with connected([tmp_path / name, port]) as subject:
                pass
            mine = [event.process for event in events_so_far(monitor) if event.process.pid == subject.pid]
            assert [(process.filename, process.binary_path) for process in mine] == [
                (name, f"{tmp_path}/{name}")
            ] * count
            assert all(process.truncated is None for process in mine)


@pytest.mark.netmon_flags("--opener", "--parent", "--context")
@pytest.mark.parametrize(("length", "whole"), [(300, True), (1100, False)])
def test_a_cgroup_with_a_long_name(netmon: Netmon, port: str, length: int, whole: bool) -> None:
    name = "c" * length
    directory = Path("/sys/fs/cgroup", name)
    directory.mkdir()
    try:
        script = f"echo 0 > {directory}/cgroup.procs; exec {CONNECT_ONCE} {port}"
        with netmon.watch() as seen, connected(["sh", "-c", script]) as subject:
            pass
    finally:
        directory.rmdir()
    process = process_of(seen, subject.pid)
    assert f"/{name}".endswith(process["cgroup"][1:])
    assert (process["cgroup"] == f"/{name}") == whole
    assert process.get("truncated") == (None if whole else "cgroup")

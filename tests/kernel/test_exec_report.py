"""The option exec: what processes exec'd, as it was then, and what of them is not the host's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.connecting_process import CONNECT_ONCE, connected, process_of
from tests.support.netmon_command import PROGRAMS, Netmon

pytestmark = [pytest.mark.core, pytest.mark.netmon_flags("--exec", "--parent")]

# Runs a command line in namespaces of its own, as any user who may have a user namespace can.
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--"]


def run(netmon: Netmon, command: list[Any], **options: Any) -> dict[str, Any]:
    """Run a program that connects and waits; return the process of its events."""
    with netmon.watch() as seen, connected(command, **options) as subject:
        pass
    return process_of(seen, subject.pid)


def device_of(path: Path) -> str:
    status = path.stat()
    return f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"


def test_what_was_executed_is_reported_with_its_file(netmon: Netmon, port: str) -> None:
    process = run(netmon, [CONNECT_ONCE, port, "two words"])
    executed = dict(process["exec"])
    time = executed.pop("time")
    assert executed == {
        "path": str(CONNECT_ONCE),
        "args": f"{port} two words",
        "device": device_of(CONNECT_ONCE),
        "inode": CONNECT_ONCE.stat().st_ino,
    }
    assert datetime.fromisoformat(process["start_time"][:-1]) <= datetime.fromisoformat(time[:-1])
    assert "foreign" not in process
    assert "truncated" not in process


def test_a_process_from_before_netmon_has_none(netmon: Netmon, port: str) -> None:
    """This test was executed before it; its children were not, but have only been forked."""
    with netmon.watch() as seen, connected([CONNECT_ONCE, port]) as subject:
        pass
    event = next(event for event in seen if event["process"]["pid"] == subject.pid)
    assert event["parent"]["pid"] == os.getpid()
    assert "exec" not in event["parent"]


PRETENDER = r"""
import ctypes, os, socket, sys
begin, end = map(int, open('/proc/self/stat').read().rpartition(')')[2].split()[45:47])
libc = ctypes.CDLL(None)
ctypes.memset(begin, 0, end - begin)
ctypes.memmove(begin, b'curl\0https://updates.example.com/ok', 35)
libc.prctl(15, b'curl')
os.chroot(sys.argv[2])
socket.socket().connect(('127.0.0.1', int(sys.argv[1])))
print('connected', flush=True)
sys.stdin.readline()
"""


def test_a_process_that_shows_something_else_is_what_it_executed(netmon: Netmon, port: str, tmp_path: Path) -> None:
    """It has overwritten its arguments and changed its root directory before its first connection."""
    python = Path(os.path.realpath(shutil.which("python3") or ""))
    process = run(netmon, [python, "-c", PRETENDER, port, tmp_path])
    assert process["args"].startswith("https://updates.example.com/ok")
    assert process["exec"]["path"] == str(python)
    assert process["exec"]["args"].endswith(f"{port} {tmp_path}")
    assert process["foreign"] == "root"


def test_children_run_what_their_parent_executed(netmon: Netmon, port: str) -> None:
    """Also when the parent has ended, as that of a daemon."""
    script = (
        "import os, socket, sys\n"
        "parent = os.getpid()\n"
        "if os.fork(): os._exit(0)\n"
        "while os.getppid() == parent: pass\n"
        f"socket.create_connection(('127.0.0.1', {port})).close()\n"
        "print(os.getpid(), end='', flush=True)"
    )
    with netmon.watch() as seen:
        said = subprocess.run(["python3", "-c", script], stdout=subprocess.PIPE, check=True)
    process = process_of(seen, int(said.stdout))
    assert process["exec"]["args"] == f"-c {script}"


@pytest.mark.parametrize("length", [300, 5000, 100_000])
def test_long_arguments(netmon: Netmon, port: str, length: int) -> None:
    process = run(netmon, [CONNECT_ONCE, port, "x" * length])
    expected = f"{port} {'x' * length}"
    assert expected.startswith(process["exec"]["args"])
    assert (process["exec"]["args"] == expected) == (length < 5000)
    assert process["exec"]["args"].count("x") > min(length, 3000) - 1
    assert ("exec" in process.get("truncated", "")) == (length >= 5000)


def test_a_program_that_ends_with_a_connection_that_it_inherited(netmon: Netmon, port: str) -> None:
    """It was never seen, and has no image any more: what it executed is known all the same."""
    with netmon.watch() as seen:
        connection = socket.create_connection(("127.0.0.1", int(port)))
        child = subprocess.Popen(["cat", "-"], stdin=subprocess.PIPE, pass_fds=[connection.fileno()])
        connection.close()
        child.communicate(b"")
    process = process_of(seen, child.pid)
    assert process["truncated"] == "filename | binary_path | args"
    assert (Path(process["exec"]["path"]).name, process["exec"]["args"]) == ("cat", "-")


def test_a_file_mounted_over_another_one_is_told_by_its_number(netmon: Netmon, port: str, tmp_path: Path) -> None:
    """In a mount namespace of its own the path is what the process likes."""
    other = tmp_path / "curl"
    other.touch()
    script = f"mount --bind {CONNECT_ONCE} {other}; exec {other} {port}"
    process = run(netmon, ["unshare", "--mount", "--", "sh", "-c", script])
    assert process["binary_path"] == process["exec"]["path"] == str(other)
    assert process["exec"]["inode"] == CONNECT_ONCE.stat().st_ino != other.stat().st_ino
    assert process["foreign"] == "mount"


def test_capabilities_in_a_user_namespace_are_said_to_be_so(netmon: Netmon, port: str) -> None:
    process = run(netmon, [*UNSHARE, CONNECT_ONCE, port], user=1000, group=1000)
    assert process["cap_effective"] == "ALL_CAPS"
    assert process["foreign"] == "mount | user"


def test_a_chroot_in_another_mount_namespace(netmon: Netmon, port: str) -> None:
    command = [*UNSHARE, "chroot", PROGRAMS, f"/{CONNECT_ONCE.name}", port]
    process = run(netmon, command, user=1000, group=1000)
    assert process["foreign"] == "mount | root | user"
    assert process["exec"]["path"] == f"/{CONNECT_ONCE.name}"


def test_a_program_that_was_deleted_before_it_was_executed(netmon: Netmon, port: str, copy: Path) -> None:
    fd = os.open(copy, os.O_RDONLY)
    inode = copy.stat().st_ino
    copy.unlink()
    process = run(netmon, [f"/proc/self/fd/{fd}", port], pass_fds=[fd])
    os.close(fd)
    assert process["exec"]["path"] == f"{copy} (deleted)"
    assert process["exec"]["inode"] == inode
    assert process["secureexec"] == "FILELESS_EXEC"

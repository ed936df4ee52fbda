"""Processes that earlier versions reported wrongly."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.connecting_process import CONNECT_ONCE, check_process, connected, process_of
from tests.support.json_events import types_of
from tests.support.netmon_command import PROGRAMS, Netmon, counts_of
from tests.support.sockets import cookie_of

PROCESSES = 300
PATH_MAX = 4096  # of the kernel: the longest path and a NUL


def test_a_set_user_id_wrapper_has_no_file_capabilities(netmon: Netmon, port: str) -> None:
    """The kernel takes the plain program that it execs for privileged, since euid and uid differ."""
    process = check_process(netmon, [CONNECT_ONCE, port], preexec_fn=lambda: os.setresuid(1000, 0, 0))
    assert process["secureexec"] == ""


def test_a_file_mounted_under_another_name_has_that_name(port: str, tmp_path: Path) -> None:
    """As with docker's --init. Filters use that name, too."""
    source = Path(shutil.copy(CONNECT_ONCE, tmp_path / "a-longer-source-name"))
    mounted = tmp_path / "init"
    mounted.touch()
    subprocess.run(["mount", "--bind", source, mounted], check=True)
    try:
        with Netmon("--name", "init") as netmon:
            with connected([mounted, port]) as subject:
                assert subject.exe == str(mounted)
            ended = netmon.stop()
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)
    assert [event["process"]["filename"] for event in ended.events] == ["init", "init"]


def test_a_close_at_exit_never_has_another_programs_path(netmon: Netmon, listener: socket.socket) -> None:
    """The program that exits has only inherited the connection: all that is known of it is what it calls itself."""
    with netmon.watch() as seen:
        connection = socket.create_connection(listener.getsockname())
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[connection.fileno()])
        connection.close()
        child.communicate(b"")
    assert types_of(seen) == ["Establish", "Close"]
    process = seen[1]["process"]
    assert (process["pid"], process["filename"], process["binary_path"]) == (child.pid, "cat", "")
    assert process["truncated"] == "filename | binary_path | args"


def test_a_close_at_exit_never_has_the_image_of_an_opener_that_is_not_the_parent(netmon: Netmon, port: str) -> None:
    """A sibling opened it, which had exec'd as often as the program from which the closing process was forked."""
    ends = socket.socketpair()
    opening = (
        f"import socket; s = socket.create_connection(('127.0.0.1', {port}));"
        f"socket.send_fds(socket.socket(fileno={ends[0].fileno()}), [b'x'], [s.fileno()])"
    )
    closing = f"""
import os, socket
_, (connection,), _, _ = socket.recv_fds(socket.socket(fileno={ends[1].fileno()}), 1, 1)
read_end, write_end = os.pipe()
if child := os.fork():
    os.close(connection)
    os.write(write_end, b'x')
    os.waitpid(child, 0)
    print(child)
else:
    os.read(read_end, 1)
    os._exit(0)
"""
    with netmon.watch() as seen:
        for script, end in zip((opening, closing), ends, strict=True):  # the opener has ended before the other begins
            done = subprocess.run(
                ["python3", "-c", script], pass_fds=[end.fileno()], check=True, capture_output=True, text=True
            )
    for end in ends:
        end.close()
    assert types_of(seen) == ["Establish", "Close"]
    process = seen[1]["process"]
    assert process["pid"] == int(done.stdout)
    assert process["truncated"] == "filename | binary_path | args"


def test_a_close_at_exit_after_exec_has_the_new_program(netmon: Netmon, port: str) -> None:
    script = (
        f"import os, socket; s = socket.create_connection(('127.0.0.1', {port})); s.set_inheritable(True);"
        "os.execv('/bin/cat', ['cat', '/dev/null'])"
    )
    with netmon.watch() as seen:
        subprocess.run(["python3", "-c", script], check=True)
    assert types_of(seen) == ["Establish", "Close"]
    assert (seen[1]["process"]["filename"], seen[1]["process"]["args"]) == ("cat", "")


def longest_end(path: str) -> str:
    """Return the most components at the end of a path that fit into PATH_MAX with the byte after them."""
    starts = (index for index, character in enumerate(path) if character == "/")
    return next(path[start:] for start in starts if len(path) - start < PATH_MAX)


@pytest.mark.parametrize("length", [PATH_MAX - 1, PATH_MAX, PATH_MAX + 104])
def test_a_path_too_long_for_the_kernel_keeps_its_end(netmon: Netmon, port: str, tmp_path: Path, length: int) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    path = str(tmp_path)
    try:
        while (left := length - len(path) - len("/subject")) > 0:
            name = "d" * ((left if left <= 201 else min(201, left - 2)) - 1)
            Path(name).mkdir()
            os.chdir(name)  # no system call takes the whole path
            path += f"/{name}"
        shutil.copy(CONNECT_ONCE, "subject")
        with netmon.watch() as seen, connected(["./subject", port]) as subject:
            pass
    finally:
        os.chdir(before)
    process = process_of(seen, subject.pid)
    assert len(f"{path}/subject") == length
    assert process["binary_path"] == longest_end(f"{path}/subject")
    assert process["filename"] == "subject"


def test_ppid_changes_when_the_parent_ends(netmon: Netmon, port: str) -> None:
    script = f"""
import os, socket
connect = lambda: socket.create_connection(('127.0.0.1', {port})).close()
parent = os.getpid()
read_end, write_end = os.pipe()
if os.fork():
    os.read(read_end, 1)
else:
    connect()
    os.write(write_end, b'x')
    while os.getppid() == parent: pass
    connect()
    os.write(2, b'%d %d' % (os.getpid(), os.getppid()))
    os._exit(0)
"""
    with netmon.watch() as seen:
        said = subprocess.run(["python3", "-c", script], check=True, capture_output=True).stderr
    pid, new_parent = map(int, said.split())
    parents = [event["process"]["ppid"] for event in seen if event["process"]["pid"] == pid]
    assert len(parents) == 4
    assert parents[0] != new_parent
    assert parents[2:] == [new_parent, new_parent]


@pytest.mark.oldest_and_newest
def test_two_threads_that_connect_first_at_the_same_time_lose_nothing() -> None:
    """Many processes do so, one after the other."""
    with Netmon() as netmon:
        subprocess.run([PROGRAMS / "connect_race", str(PROCESSES)], check=True)
        ended = netmon.stop()
    events, lost, missed = counts_of(ended.stderr)
    assert lost == 0, ended.stderr
    assert events <= 4 * PROCESSES <= events + missed, ended.stderr


def test_two_connects_with_the_same_endpoints_are_two_connections(netmon: Netmon) -> None:
    """The first is refused, and the socket connects again from the same port to the same peer."""
    with netmon.watch() as seen, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        cookie = cookie_of(sock)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                sock.connect(("127.0.0.1", 1))
    assert types_of(seen) == ["Establish", "Close", "Establish", "Close"]
    assert {event["network_event"]["cookie"] for event in seen} == {cookie}

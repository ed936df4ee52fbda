"""Unusual processes that docs/events.md describes and no other test has."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.support.connecting_process import CONNECT_ONCE, check_process, connected, process_of
from tests.support.json_events import of_cookie, types_of
from tests.support.netmon_command import Netmon
from tests.support.sockets import cookie_of


def test_a_script_is_reported_as_its_interpreter(netmon: Netmon, port: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{CONNECT_ONCE} {port}\n")
    script.chmod(0o755)
    process = check_process(netmon, [script, "more"])
    assert (process["filename"], process["args"]) == ("connect_once", f"{port} {script} more")


def test_a_deleted_program_with_another_hard_link_is_not_fileless(netmon: Netmon, port: str, copy: Path) -> None:
    fd = os.open(copy, os.O_RDONLY)
    os.link(copy, copy.parent / "link")
    copy.unlink()
    process = check_process(netmon, [f"/proc/self/fd/{fd}", port], pass_fds=[fd])
    os.close(fd)
    assert process["binary_path"] == f"{copy} (deleted)"
    assert process["secureexec"] == ""


def test_a_program_replaced_while_it_runs_keeps_its_path(netmon: Netmon, port: str, copy: Path) -> None:
    with netmon.watch() as seen, connected([copy, port]) as subject:
        replaced = Path(shutil.copy(CONNECT_ONCE, copy.parent / "new")).rename(copy)
        assert subject.exe == f"{replaced} (deleted)"
    # It was described before it was replaced, and is not described again at the close.
    assert process_of(seen, subject.pid)["binary_path"] == str(copy)


def test_a_socket_closed_by_exec_has_the_new_program(netmon: Netmon, port: str) -> None:
    """Python's sockets are close-on-exec."""
    script = (
        f"import os, socket; s = socket.create_connection(('127.0.0.1', {port}));"
        f"os.execv('{CONNECT_ONCE}', ['again', '{port}', 'second'])"
    )
    with netmon.watch() as seen, connected(["python3", "-c", script]) as subject:
        pass
    mine = [event for event in seen if event["process"]["pid"] == subject.pid]
    cookie = mine[0]["network_event"]["cookie"]
    opened, closed = (event for event in mine if event["network_event"]["cookie"] == cookie)
    assert types_of([opened, closed]) == ["Establish", "Close"]
    assert opened["process"]["args"] == f"-c {script}"
    assert (closed["process"]["filename"], closed["process"]["args"]) == ("connect_once", f"{port} second")


def test_dropped_capabilities_are_not_reported(netmon: Netmon, port: str) -> None:
    script = (
        "import ctypes, socket, struct\n"
        f"connect = lambda: socket.create_connection(('127.0.0.1', {port})).close()\n"
        "connect()\n"
        "header = struct.pack('=Ii', 0x20080522, 0)\n"
        "assert ctypes.CDLL(None).capset(header, struct.pack('=6I', 1 << 13, 1 << 13, 0, 0, 0, 0)) == 0\n"
        "connect()\n"
    )
    with netmon.watch() as seen:
        subprocess.run(["python3", "-c", script], check=True)
    reported = [event["process"]["cap_effective"] for event in seen]
    assert reported == ["ALL_CAPS"] * 2 + ["CAP_NET_RAW"] * 2


def test_a_passed_socket_is_closed_by_its_receiver(netmon: Netmon, listener: socket.socket) -> None:
    """SCM_RIGHTS: each event has the process that caused it (scope#2253)."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
        theirs.send(b"x")
        theirs.recv(1)
        os.close(fds[0])
        os._exit(0)
    with netmon.watch() as seen:
        connection = socket.create_connection(listener.getsockname())
        cookie = cookie_of(connection)
        socket.send_fds(ours, [b"x"], [connection.fileno()])
        ours.recv(1)
        connection.close()
        ours.send(b"x")
        os.waitpid(child, 0)
    ours.close()
    theirs.close()
    reported = [event for event in seen if event["network_event"]["cookie"] == cookie]
    assert types_of(reported) == ["Establish", "Close"]
    assert [event["process"]["pid"] for event in reported] == [os.getpid(), child]


def test_an_accept_has_the_process_that_accepts(netmon: Netmon, listener: socket.socket) -> None:
    """Socket activation: another process has called listen() (scope#2253)."""
    with netmon.watch() as seen, socket.create_connection(listener.getsockname()):
        child = os.fork()
        if child == 0:
            listener.accept()
            os._exit(0)
        assert os.waitpid(child, 0) == (child, 0)
    accepts = [event for event in seen if event["network_event"]["type"] == "TcpConnectionAccept"]
    assert [(event["process"]["pid"], event["process"]["ppid"]) for event in accepts] == [(child, os.getpid())]


def test_a_close_by_the_kernels_garbage_collector_is_reported(netmon: Netmon, listener: socket.socket) -> None:
    """The kernel collects UNIX sockets that hold each other's descriptors, and closes what was sent through them."""
    with netmon.watch() as seen:
        one, other = socket.socketpair()
        connection = socket.create_connection(listener.getsockname())
        cookie = cookie_of(connection)
        socket.send_fds(one, [b"x"], [connection.fileno(), one.fileno(), other.fileno()])
        connection.close()
        one.close()
        other.close()
        for _ in range(2):  # the collector runs when UNIX sockets are closed
            for end in socket.socketpair():
                end.close()
        # Newer kernels collect in a thread of their own, a little later.
        netmon.wait_until(lambda: types_of(of_cookie(netmon.events, cookie)) == ["Establish", "Close"], "the close")
    reported = [event for event in seen if event["network_event"]["cookie"] == cookie]
    assert types_of(reported) == ["Establish", "Close"]
    assert [event["process"]["pid"] for event in reported] == [os.getpid()] * 2


def test_threads_of_different_users_are_reported_with_their_own(netmon: Netmon, port: str) -> None:
    """The kernel keeps credentials for each thread."""
    script = f"""
import ctypes, socket, threading
SYS_SETRESUID = 117
libc = ctypes.CDLL(None)
connect = lambda: socket.create_connection(('127.0.0.1', {port})).close()
def other():
    assert libc.syscall(SYS_SETRESUID, 1000, 1000, 1000) == 0
    connect()
connect()
thread = threading.Thread(target=other)
thread.start()
thread.join()
connect()
"""
    with netmon.watch() as seen:
        subprocess.run(["python3", "-c", script], check=True)
    assert [event["process"]["uid"] for event in seen] == [0, 0, 1000, 1000, 0, 0]
    assert len({event["process"]["pid"] for event in seen}) == 1

"""Other ways to connect and to accept than connect() and accept() are reported alike."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.connecting_process import CONNECT_ONCE
from tests.support.json_events import endpoints_of, of_cookie, types_of
from tests.support.netmon_command import PROGRAMS, Netmon
from tests.support.sockets import cookie_of, listen
from tests.support.waiting import DEADLINE

pytestmark = pytest.mark.core

TCP_FASTOPEN_CONNECT = 30
TCP_FASTOPEN = Path("/proc/sys/net/ipv4/tcp_fastopen")
CLIENT, SERVER, WITHOUT_COOKIE = 1, 2, 0x4 | 0x200  # bits of TCP_FASTOPEN; the last for client and server


def send_to(sock: socket.socket, to: tuple[str, int]) -> None:
    sock.sendto(b"data", socket.MSG_FASTOPEN, to)


def connect_then_send(sock: socket.socket, to: tuple[str, int]) -> None:
    """Have connect() send nothing: the SYN goes out with the first data."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    sock.connect(to)
    sock.sendall(b"data")


@pytest.mark.parametrize("way", [send_to, connect_then_send])
@pytest.mark.parametrize("without_cookie", [0, WITHOUT_COOKIE], ids=["first", "data in the SYN"])
def test_fast_open_is_reported(netmon: Netmon, way: object, without_cookie: int) -> None:
    """A connect by MSG_FASTOPEN bypasses the hooks of security modules."""
    assert callable(way)
    before = TCP_FASTOPEN.read_text()
    TCP_FASTOPEN.write_text(str(CLIENT | SERVER | without_cookie))
    try:
        with netmon.watch() as seen, listen() as listener, socket.socket() as client:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
            way(client, listener.getsockname())
            server, _ = listener.accept()
            assert server.recv(5) == b"data"
            cookies = cookie_of(client), cookie_of(server)
            client_end, server_end = client.getsockname(), server.getsockname()
            server.close()
    finally:
        TCP_FASTOPEN.write_text(before)
    reported = [of_cookie(seen, cookie) for cookie in cookies]
    assert [types_of(events) for events in reported] == [["Establish", "Close"], ["Accept", "Close"]]
    assert endpoints_of(reported[0][1]) == (*client_end, *server_end)
    assert {endpoints_of(event) for event in reported[1]} == {(*server_end, *client_end)}
    assert len(seen) == 4


def test_io_uring_is_reported(netmon: Netmon) -> None:
    """io_uring connects and accepts without these system calls."""
    setting = Path("/proc/sys/kernel/io_uring_disabled")
    assert not setting.exists() or setting.read_text() == "0\n"
    with netmon.watch() as seen:
        child = subprocess.Popen([PROGRAMS / "uring"], stdout=subprocess.PIPE)
        out, _ = child.communicate()
        assert child.returncode == 0
    reported = [of_cookie(seen, int(cookie)) for cookie in out.split()]
    assert [types_of(events) for events in reported] == [["Establish", "Close"], ["Accept", "Close"]]
    assert {(event["process"]["pid"], event["process"]["filename"]) for event in seen} == {(child.pid, "uring")}
    assert len(seen) == 4


@pytest.mark.parametrize("call", ["accept", "accept4"])
def test_accept_system_calls_are_reported(netmon: Netmon, listener: socket.socket, call: str) -> None:
    """With flags or without, and with no room for the peer's address."""
    flags = [socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC] if call == "accept4" else []
    with netmon.watch() as seen, socket.create_connection(listener.getsockname()):
        fd = getattr(ctypes.CDLL(None, use_errno=True), call)(listener.fileno(), None, None, *flags)
        with socket.socket(fileno=fd) as server:
            cookie, these = cookie_of(server), (*server.getsockname(), *server.getpeername())
    reported = of_cookie(seen, cookie)
    assert types_of(reported) == ["Accept", "Close"]
    assert {endpoints_of(event) for event in reported} == {these}
    assert len(seen) == 4


def test_a_vforked_child_is_reported_with_each_of_its_images(netmon: Netmon, port: str) -> None:
    """The child connects with its parent's image, execs another, connects again, and closes both."""
    with netmon.watch() as seen:
        parent = subprocess.Popen(
            [PROGRAMS / "vfork_connect", port, CONNECT_ONCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        parent.communicate(b"\n")
        assert parent.returncode == 0
    before, after, *closes = seen
    assert types_of(seen) == ["Establish", "Establish", "Close", "Close"]
    assert (before["process"]["filename"], before["process"]["args"]) == ("vfork_connect", f"{port} {CONNECT_ONCE}")
    assert {event["process"]["filename"] for event in (after, *closes)} == {"connect_once"}
    assert {event["process"]["args"] for event in (after, *closes)} == {port}
    (pid,) = {event["process"]["pid"] for event in seen}
    assert pid != parent.pid
    assert {event["process"]["ppid"] for event in (before, after)} == {parent.pid}


def test_posix_spawn_is_reported_with_the_spawned_program(netmon: Netmon, port: str) -> None:
    with netmon.watch() as seen, open(os.devnull) as null:
        actions = [(os.POSIX_SPAWN_DUP2, null.fileno(), 0)]
        pid = os.posix_spawn(CONNECT_ONCE, ["spawned", port], {}, file_actions=actions)
        assert os.waitpid(pid, 0) == (pid, 0)
    assert types_of(seen) == ["Establish", "Close"]
    assert {(event["process"]["pid"], event["process"]["filename"], event["process"]["args"]) for event in seen} == {
        (pid, "connect_once", port)
    }


def test_a_killed_process_is_reported_in_full(netmon: Netmon, port: str) -> None:
    """Its connection closes after its memory is gone (Elastic ebpf#216)."""
    with netmon.watch() as seen:
        child = subprocess.Popen([CONNECT_ONCE, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"connected\n"
        child.kill()
        child.wait()
    assert types_of(seen) == ["Establish", "Close"]
    assert seen[0]["process"] == seen[1]["process"]
    assert (seen[1]["process"]["pid"], seen[1]["process"]["args"]) == (child.pid, port)


def test_a_kernel_threads_socket_is_reported(netmon: Netmon, modules: None) -> None:
    """A network block device: a kernel thread connects, which has no executable and no arguments."""
    subprocess.run(["modprobe", "rbd"], check=True)
    with netmon.watch() as seen, listen() as listener:
        monitor = "{}:{} name=nobody,mount_timeout=1 pool image".format(*listener.getsockname())
        command = f"echo '{monitor}' > /sys/bus/rbd/add_single_major"
        adding = subprocess.Popen(["sh", "-c", command], stderr=subprocess.DEVNULL)
        listener.settimeout(DEADLINE)
        server, peer = listener.accept()
        server.close()
        adding.wait()
    reported = [event for event in seen if endpoints_of(event)[:2] == peer]
    assert types_of(reported) == ["Establish", "Close"]
    for event in reported:
        process = event["process"]
        assert process["filename"].startswith("kworker/")
        assert (process["binary_path"], process["args"], process["uid"]) == ("", "", 0)


def test_a_socket_connected_to_itself_is_reported_once(netmon: Netmon) -> None:
    """A simultaneous open: its SYN answers its SYN."""
    with netmon.watch() as seen, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        end = sock.getsockname()
        sock.connect(end)
        sock.sendall(b"four")
        assert sock.recv(5) == b"four"
        cookie = cookie_of(sock)
    assert types_of(seen) == ["Establish", "Close"]
    assert [event["network_event"]["cookie"] for event in seen] == [cookie, cookie]
    assert {endpoints_of(event) for event in seen} == {(*end, *end)}
    assert {event["process"]["pid"] for event in seen} == {os.getpid()}


def test_an_accept_that_fails_once_it_has_accepted_is_an_accept_and_a_close(netmon: Netmon) -> None:
    """The kernel accepts, cannot write the peer's address to where the program wants it, and closes."""
    libc = ctypes.CDLL(None, use_errno=True)
    with netmon.watch() as seen, listen() as listener, socket.create_connection(listener.getsockname()) as client:
        size = ctypes.c_uint32(16)
        assert libc.accept(listener.fileno(), ctypes.c_void_p(1), ctypes.byref(size)) == -1
        assert ctypes.get_errno() == errno.EFAULT
        assert client.recv(1) == b""
        ends = *listener.getsockname(), *client.getsockname()
    assert types_of([event for event in seen if endpoints_of(event) == ends]) == ["Accept", "Close"]

"""Ways around connect() and accept(): each is reported like any other connection."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.kernel.support import PROGRAMS, Event, Netmon, cookie_of, ends, listen, types_of

TCP_FASTOPEN_CONNECT = 30
TCP_FASTOPEN = Path("/proc/sys/net/ipv4/tcp_fastopen")
CLIENT, SERVER, WITHOUT_COOKIE = 1, 2, 0x4 | 0x200  # of both sides


def of_cookie(events: list[Event], cookie: int) -> list[Event]:
    return [event for event in events if event["network_event"]["cookie"] == cookie]


def send_to(sock: socket.socket, to: tuple[str, int]) -> None:
    sock.sendto(b"data", socket.MSG_FASTOPEN, to)


def connect_then_send(sock: socket.socket, to: tuple[str, int]) -> None:
    """connect() sends nothing: the SYN goes with the data."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    sock.connect(to)
    sock.sendall(b"data")


@pytest.mark.parametrize("way", [send_to, connect_then_send])
@pytest.mark.parametrize("without_cookie", [0, WITHOUT_COOKIE], ids=["first", "data in the SYN"])
def test_fast_open(netmon: Netmon, way: object, without_cookie: int) -> None:
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
    told = [of_cookie(seen, cookie) for cookie in cookies]
    assert [types_of(events) for events in told] == [["Establish", "Close"], ["Accept", "Close"]]
    assert ends(told[0][1]) == (*client_end, *server_end)
    assert {ends(event) for event in told[1]} == {(*server_end, *client_end)}
    assert len(seen) == 4


def test_io_uring(netmon: Netmon) -> None:
    setting = Path("/proc/sys/kernel/io_uring_disabled")
    assert not setting.exists() or setting.read_text() == "0\n"
    with netmon.watch() as seen:
        child = subprocess.Popen([PROGRAMS / "uring"], stdout=subprocess.PIPE)
        out, _ = child.communicate()
        assert child.returncode == 0
    told = [of_cookie(seen, int(cookie)) for cookie in out.split()]
    assert [types_of(events) for events in told] == [["Establish", "Close"], ["Accept", "Close"]]
    assert {(event["process"]["pid"], event["process"]["filename"]) for event in seen} == {(child.pid, "uring")}
    assert len(seen) == 4


def test_simultaneous_open(netmon: Netmon) -> None:
    """A socket that connects to itself: its SYN is answered by its SYN."""
    with netmon.watch() as seen, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        end = sock.getsockname()
        sock.connect(end)
        sock.sendall(b"four")
        assert sock.recv(5) == b"four"
        cookie = cookie_of(sock)
    assert types_of(seen) == ["Establish", "Close"]
    assert [event["network_event"]["cookie"] for event in seen] == [cookie, cookie]
    assert {ends(event) for event in seen} == {(*end, *end)}
    assert {event["process"]["pid"] for event in seen} == {os.getpid()}

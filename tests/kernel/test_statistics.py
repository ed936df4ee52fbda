"""`report.statistics`: the numbers of a close equal what the programs and the kernel's TCP_INFO say."""

from __future__ import annotations

import ctypes
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from netmon import Config, Monitor
from tests.support.json_events import Event, types_of
from tests.support.netmon_command import Netmon
from tests.support.sockets import (
    Pair,
    carry,
    connect_pair,
    cookie_of,
    drop,
    listen,
    receive_all,
    refused_connection,
    reset,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.netmon_flags("--statistics")

V4, V6 = socket.AF_INET, socket.AF_INET6
KEYS = {"duration_us", "bytes_sent", "bytes_received", "segments_retransmitted", "rtt_us", "closed_by"}
GIGABYTE = 1 << 30
CLONE_NEWNET = 0x40000000


def close_of(events: list[Event], cookie: int) -> dict[str, Any]:
    (close,) = (
        event["network_event"]
        for event in events
        if event["network_event"]["cookie"] == cookie and event["network_event"]["type"].endswith("Close")
    )
    return dict(close)


def statistics_of(events: list[Event], pair: Pair) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the closes of both ends: the client's, the server's."""
    return close_of(events, pair.client_cookie), close_of(events, pair.server_cookie)


def microseconds() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


@pytest.mark.core
@pytest.mark.parametrize(("family", "address"), [(V4, "127.0.0.1"), (V6, "::1")], ids=str)
def test_bytes_and_duration_are_exact(netmon: Netmon, family: socket.AddressFamily, address: str) -> None:
    """The duration is at least the time between the calls, and at most that with the calls."""
    with netmon.watch() as seen, listen(address, family) as listener:
        before_open = microseconds()
        pair = connect_pair(listener, listener.getsockname()[:2], family)
        opened = microseconds()
        pair.client.sendall(bytes(70_001))
        pair.client.shutdown(socket.SHUT_WR)
        assert receive_all(pair.server) == 70_001
        pair.server.sendall(b"four")
        # A guest that its host holds up for long sends a segment again.
        wait_until(lambda: not unacknowledged(pair.server), "the last acknowledgement")
        retransmitted = [tcp_info(end).retransmitted for end in (pair.client, pair.server)]
        before_close = microseconds()
        pair.server.close()
        assert receive_all(pair.client) == 4
        pair.client.close()
        closed = microseconds()
    client, server = statistics_of(seen, pair)
    assert (client["bytes_sent"], client["bytes_received"]) == (70_001, 4)
    assert (server["bytes_sent"], server["bytes_received"]) == (4, 70_001)
    for close in (client, server):
        assert before_close - opened <= close["duration_us"] <= closed - before_open
        assert close["rtt_us"] > 0
        assert close["closed_by"] == ("local" if close is client else "peer")
    assert [close["segments_retransmitted"] for close in (client, server)] == retransmitted
    openings = [event for event in seen if not event["network_event"]["type"].endswith("Close")]
    assert sorted(types_of(openings)) == ["Accept", "Establish"]
    assert not any(KEYS & set(event["network_event"]) for event in openings)


def test_a_gigabyte_is_counted(netmon: Netmon) -> None:
    with netmon.watch() as seen, listen() as listener, open("/dev/shm/zeros", "w+b") as zeros:
        Path(zeros.name).unlink()
        zeros.truncate(16 << 20)
        pair = connect_pair(listener, listener.getsockname())
        received: list[int] = []
        reader = threading.Thread(target=lambda: received.append(discard(pair.server)))
        reader.start()
        sent = 0
        while sent < GIGABYTE:
            sent += os.sendfile(pair.client.fileno(), zeros.fileno(), 0, min(16 << 20, GIGABYTE - sent))
        pair.client.close()
        reader.join()
        pair.server.close()
    client, server = statistics_of(seen, pair)
    assert received == [GIGABYTE]
    assert client["bytes_sent"] == server["bytes_received"] == GIGABYTE
    assert client["bytes_received"] == server["bytes_sent"] == 0


def discard(sock: socket.socket) -> int:
    """Receive to the end without a copy (MSG_TRUNC); return how much."""
    room = bytearray(1 << 22)
    return sum(iter(lambda: sock.recv_into(room, 0, socket.MSG_TRUNC), 0))


class TcpInfo(NamedTuple):
    """The values that `ss -ti` shows as rtt and retrans."""

    rtt_us: int
    retransmitted: int


def tcp_info(sock: socket.socket) -> TcpInfo:
    """Return the values of struct tcp_info."""
    return TcpInfo(*struct.unpack_from("68xI28xI", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)))


def test_retransmissions_equal_those_of_the_kernel(netmon: Netmon) -> None:
    """The path loses every tenth segment."""
    with netmon.watch() as seen, listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        drop(pair.server, part=0.1)
        sent = carry(pair, 2_000_000)
        wait_until(lambda: not unacknowledged(pair.client), "the last acknowledgement")
        said = tcp_info(pair.client)
        pair.close()
    client, _ = statistics_of(seen, pair)
    assert client["segments_retransmitted"] == said.retransmitted > 0
    assert client["rtt_us"] == said.rtt_us
    assert (client["bytes_sent"], client["bytes_received"]) == (sent, 0)


def lossy_transfer() -> tuple[Pair, int, str]:
    """Send through a network that loses packets until some are sent again.

    Returns:
        The connection, the bytes sent, and the output of `ss -ti`.
    """
    if ctypes.CDLL(None).unshare(CLONE_NEWNET):
        raise OSError("unshare")
    for command in ("ip link set lo mtu 1500 up", "tc qdisc add dev lo root netem loss 10%"):
        subprocess.run(command.split(), check=True)
    sent = received = 0
    with listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        while not tcp_info(pair.client).retransmitted or received < sent:
            if received == sent:
                sent += pair.client.send(bytes(100_000))
            received += len(pair.server.recv(1 << 20))
        wait_until(lambda: not unacknowledged(pair.client), "the last acknowledgement")
        port = listener.getsockname()[1]
    said = subprocess.run(["ss", "-tinH", "dport", "=", f":{port}"], check=True, capture_output=True, text=True)
    return pair, sent, said.stdout


def unacknowledged(sock: socket.socket) -> int:
    """Return tcpi_unacked of struct tcp_info."""
    return int.from_bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24:28], sys.byteorder)


def test_retransmissions_equal_those_of_ss(netmon: Netmon, modules: None) -> None:
    with netmon.watch() as seen, ThreadPoolExecutor(1) as thread:
        pair, sent, said = thread.submit(lossy_transfer).result()
        pair.close()
    client, server = statistics_of(seen, pair)
    retransmitted, rtt = re.search(r"retrans:0/(\d+)", said), re.search(r"\brtt:([\d.]+)/", said)
    assert retransmitted and rtt, said
    assert client["segments_retransmitted"] == int(retransmitted[1]) > 0
    assert client["rtt_us"] == round(float(rtt[1]) * 1000)
    assert client["bytes_sent"] == server["bytes_received"] == sent


def closed_locally(pair: Pair) -> None:
    pair.client.close()
    assert receive_all(pair.server) == 0


def shut_down_locally(pair: Pair) -> None:
    """Exchange both FINs before either end is closed."""
    pair.client.shutdown(socket.SHUT_WR)
    assert receive_all(pair.server) == 0
    pair.server.shutdown(socket.SHUT_WR)
    assert receive_all(pair.client) == 0


def reset_by_the_server(pair: Pair) -> None:
    reset(pair.server)
    with pytest.raises(ConnectionResetError):
        pair.client.recv(1)


def reset_after_the_fin(pair: Pair) -> None:
    """Close the server, whose FIN is sent already, with unread data."""
    pair.server.shutdown(socket.SHUT_WR)
    assert receive_all(pair.client) == 0
    pair.client.sendall(b"unread")
    pair.server.close()
    with pytest.raises(BrokenPipeError):
        for _ in iter(lambda: pair.client.send(b"."), 0):
            pass


def unread_by_the_client(pair: Pair) -> None:
    """Close the client with unread data, so that it resets the server."""
    pair.server.sendall(b"unread")
    assert pair.client.recv(1, socket.MSG_PEEK)
    pair.client.close()
    with pytest.raises(ConnectionResetError):
        pair.server.recv(1)


def timed_out(pair: Pair) -> None:
    """Lose the client's segments until it gives up; the server does not notice."""
    drop(pair.server)
    pair.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 200)
    pair.client.sendall(b"lost")
    with pytest.raises(TimeoutError):
        pair.client.recv(1)


@pytest.mark.core(family=V4)
@pytest.mark.parametrize(
    ("end", "client_by", "server_by"),
    [
        (closed_locally, "local", "peer"),
        (shut_down_locally, "local", "peer"),
        (reset_by_the_server, "reset", "local"),
        (reset_after_the_fin, "reset", "local"),
        (unread_by_the_client, "local", "reset"),
        (timed_out, "timeout", "local"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("family", [V4, V6], ids=str)
def test_closed_by_says_which_end_closed_and_how(
    netmon: Netmon, end: Any, client_by: str, server_by: str, family: socket.AddressFamily
) -> None:
    with netmon.watch() as seen, listen("::1" if family == V6 else "127.0.0.1", family) as listener:
        pair = connect_pair(listener, listener.getsockname()[:2], family)
        end(pair)
        pair.close()
    client, server = statistics_of(seen, pair)
    assert (client["closed_by"], server["closed_by"]) == (client_by, server_by)


def test_a_reset_before_the_accept_is_reported(netmon: Netmon) -> None:
    with netmon.watch() as seen, listen() as listener:
        client = socket.create_connection(listener.getsockname())
        client.sendall(b"five!")
        reset(client)
        server, _ = listener.accept()
        cookie = cookie_of(server)
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading the error clears it
        server.close()
    close = close_of(seen, cookie)
    assert (close["closed_by"], close["bytes_received"]) == ("reset", 5)


def test_a_refused_connect_carried_nothing(netmon: Netmon) -> None:
    with netmon.watch() as seen:
        cookie = refused_connection()
    close = close_of(seen, cookie)
    assert close["closed_by"] == "reset"
    assert (close["bytes_sent"], close["bytes_received"], close["rtt_us"]) == (0, 0, 0)


@pytest.mark.once
def test_only_statistics_load_their_programs() -> None:
    loaded = []
    for config in (
        Config.everything(),
        Config.from_dict({**Config.everything().to_dict(), "report": {"statistics": True}}),
    ):
        with Monitor(config, any_kernel=True) as monitor:
            loaded.append([info.name for info in monitor.program_infos()])
    plain, with_statistics = loaded
    assert [name for name in with_statistics if name not in plain] == [
        "tcp_close_locked_entry",
        "mptcp_close_locked_entry",
        "inet_csk_destroy_sock_entry",
        "mptcp_destroy_entry",
        "inet_sock_set_state_enter",
        "tcp_done_entry",
    ]

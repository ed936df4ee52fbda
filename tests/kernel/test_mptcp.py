"""MPTCP: a connection is reported once, as the program's socket, however many subflows carry it."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from netmon.kernel.features import parse_release
from tests.support.json_events import Event, endpoints_of, of_cookie, types_of
from tests.support.netmon_command import Netmon
from tests.support.sockets import Pair, cookie_of, disconnect, receive_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.netmon_flags("--statistics", "--outcome", "--opener")

V4, V6 = socket.AF_INET, socket.AF_INET6
TCP, MPTCP = socket.IPPROTO_TCP, 262


class Net(NamedTuple):
    family: socket.AddressFamily
    listening: str
    to: str


V4_NET = Net(V4, "127.0.0.1", "127.0.0.1")
NETS = [V4_NET, Net(V6, "::1", "::1"), Net(V6, "::", "::ffff:127.0.0.1")]


def listen(net: Net, protocol: int = MPTCP) -> socket.socket:
    sock = socket.socket(net.family, socket.SOCK_STREAM, protocol)
    sock.bind((net.listening, 0))
    sock.listen(5)
    return sock


def connect(listener: socket.socket, net: Net = V4_NET, protocol: int = MPTCP) -> Pair:
    client = socket.socket(net.family, socket.SOCK_STREAM, protocol)
    client.connect((net.to, listener.getsockname()[1]))
    server, _ = listener.accept()
    client.sendall(b"four")
    assert server.recv(5) == b"four"
    return Pair(client, server, cookie_of(client), cookie_of(server))


def end_of(name: tuple[str, int]) -> tuple[str, int]:
    return name[0].removeprefix("::ffff:"), name[1]


def check(seen: list[Event], pair: Pair, client_end: tuple[str, int], server_end: tuple[str, int]) -> None:
    """Check that each end has its opening and its close, and that there are no other events."""
    for cookie, opening, these in (
        (pair.client_cookie, "Establish", (*client_end, *server_end)),
        (pair.server_cookie, "Accept", (*server_end, *client_end)),
    ):
        reported = of_cookie(seen, cookie)
        assert types_of(reported) == [opening, "Close"]
        assert {endpoints_of(event) for event in reported} == {these}
    assert {(event["process"]["pid"], event["process"]["tid"]) for event in seen} == {(os.getpid(), os.getpid())}
    assert len(seen) == 4


@pytest.mark.core(net=V4_NET, client_speaks=MPTCP, server_speaks=MPTCP)
@pytest.mark.parametrize("net", NETS, ids=["IPv4", "IPv6", "mapped"])
@pytest.mark.parametrize(
    ("client_speaks", "server_speaks"), [(MPTCP, MPTCP), (MPTCP, TCP), (TCP, MPTCP)], ids=["both", "client", "server"]
)
def test_one_connection_is_four_events(netmon: Netmon, net: Net, client_speaks: int, server_speaks: int) -> None:
    """It falls back to TCP if one end does not speak MPTCP."""
    with netmon.watch() as seen, listen(net, server_speaks) as listener:
        pair = connect(listener, net, client_speaks)
        client_end, server_end = end_of(pair.client.getsockname()), end_of(pair.server.getsockname())
        pair.client.close()
        assert receive_all(pair.server) == 0
        pair.server.close()
    check(seen, pair, client_end, server_end)
    client, server = (of_cookie(seen, cookie)[1]["network_event"] for cookie in pair[2:])
    assert (client["bytes_sent"], client["bytes_received"]) == (4, 0)
    assert (server["bytes_sent"], server["bytes_received"]) == (0, 4)
    assert (client["closed_by"], server["closed_by"]) == ("local", "peer")
    assert client["rtt_us"] > 0
    assert of_cookie(seen, pair.client_cookie)[0]["network_event"]["handshake_us"] > 0


def joins() -> int:
    """Return how many subflows have joined connections (MPTcpExt of /proc/net/netstat)."""
    names, values = (
        line.split() for line in Path("/proc/net/netstat").read_text().splitlines() if line.startswith("MPTcpExt:")
    )
    return int(dict(zip(names, values, strict=True))["MPJoinAckRx"])


def test_further_subflows_are_not_reported(netmon: Netmon) -> None:
    """The kernel opens them in its own threads."""
    before = joins()
    subprocess.run(["ip", "mptcp", "limits", "set", "subflows", "2"], check=True)
    subprocess.run(["ip", "mptcp", "endpoint", "add", "127.0.0.2", "dev", "lo", "subflow"], check=True)
    try:
        with netmon.watch() as seen, listen(V4_NET) as listener:
            pair = connect(listener)
            pair.server.sendall(b"more")
            assert pair.client.recv(5) == b"more"
            client_end, server_end = pair.client.getsockname(), pair.server.getsockname()
            wait_until(lambda: joins() > before, "a second subflow")
            pair.close()
    finally:
        subprocess.run(["ip", "mptcp", "endpoint", "flush"], check=True)
    check(seen, pair, client_end, server_end)


@pytest.mark.parametrize(("family", "prefix"), [(V4, ""), (V6, "::ffff:")], ids=["IPv4", "mapped"])
def test_failures_are_reported_with_their_reasons(netmon: Netmon, family: int, prefix: str) -> None:
    with netmon.watch() as seen, socket.socket(family, socket.SOCK_STREAM, MPTCP) as sock:
        cookie = cookie_of(sock)
        assert sock.connect_ex((f"{prefix}127.0.0.1", 1)) == errno.ECONNREFUSED
        assert sock.connect_ex((f"{prefix}198.51.100.1", 80)) == errno.ENETUNREACH
    assert types_of(seen) == ["Fail", "Fail"]
    assert [event["network_event"]["daddr"] for event in seen] == ["127.0.0.1", "198.51.100.1"]
    assert {event["network_event"]["cookie"] for event in seen} == {cookie}
    assert [event["network_event"]["reason"] for event in seen] == ["refused", "unreachable"]


def test_a_socket_that_reconnects_has_two_closes(netmon: Netmon) -> None:
    with netmon.watch() as seen, listen(V4_NET) as first, listen(V4_NET) as second:
        pair = connect(first)
        disconnect(pair.client)
        pair.client.connect(second.getsockname())
        pair.client.close()
        ports = [listener.getsockname()[1] for listener in (first, second)]
    reported = of_cookie(seen, pair.client_cookie)
    assert types_of(reported) == ["Establish", "Close", "Establish", "Close"]
    assert [event["network_event"]["dport"] for event in reported] == [ports[0], ports[0], ports[1], ports[1]]


def test_a_reset_is_reported_as_such(netmon: Netmon) -> None:
    """The server closes with unread data."""
    with netmon.watch() as seen, listen(V4_NET) as listener:
        pair = connect(listener)
        pair.client.sendall(b"unread")
        assert pair.server.recv(1, socket.MSG_PEEK)
        pair.server.close()
        wait_until(lambda: pair.client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "the reset")
        pair.client.close()
    close = of_cookie(seen, pair.client_cookie)[1]["network_event"]
    assert close["closed_by"] == "reset"
    if parse_release(os.uname().release) >= (6, 5):  # before 6.5 the kernel drops the byte counts of a reset subflow
        assert (close["bytes_sent"], close["bytes_received"]) == (len(b"fourunread"), 0)


def test_a_killed_process_is_reported_with_the_close(netmon: Netmon) -> None:
    """The kernel closes the socket after the process is gone."""
    script = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262);"
        "s.connect(('127.0.0.1', int(sys.argv[1]))); print(flush=True); input()"
    )
    with netmon.watch() as seen, listen(V4_NET) as listener:
        command = [sys.executable, "-c", script, str(listener.getsockname()[1])]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"\n"
        listener.accept()[0].close()
        child.kill()
        child.wait()
    mine = [event for event in seen if event["process"]["pid"] == child.pid]
    assert types_of(mine) == ["Establish", "Close"]
    assert mine[0]["process"] == mine[1]["process"]


def test_existing_connections_are_reported_once() -> None:
    """One that is open at the start, and one that is accepted since on a listener that was there."""
    with listen(V4_NET) as listener:
        existing = connect(listener)
        with Netmon("--existing") as netmon:
            accepted = connect(listener)
            cookies = {*existing[2:], *accepted[2:]}
            netmon.wait_until(lambda: cookies <= {e["network_event"]["cookie"] for e in netmon.events}, "all four ends")
            ends = [(pair.client.getsockname(), pair.server.getsockname()) for pair in (existing, accepted)]
            existing.close()
            accepted.close()
            events = netmon.stop().events
    for pair, openings, (client_end, server_end) in (
        (existing, ["Existing", "Existing"], ends[0]),
        (accepted, ["Establish", "Accept"], ends[1]),
    ):
        client, server = (of_cookie(events, cookie) for cookie in pair[2:])
        assert [types_of(end) for end in (client, server)] == [[opening, "Close"] for opening in openings]
        assert {endpoints_of(event) for event in client} == {(*client_end, *server_end)}
        assert {endpoints_of(event) for event in server} == {(*server_end, *client_end)}
    directions = [of_cookie(events, cookie)[0]["network_event"]["direction"] for cookie in existing[2:]]
    assert directions == ["egress", "ingress"]
    assert len(events) == 8

"""Which events a connection has, with which process and which endpoints."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from tests.support.json_events import endpoints_of, of_cookie, types_of
from tests.support.netmon_command import PROGRAMS, Netmon
from tests.support.sockets import connect_pair, cookie_of, disconnect, listen, reset

pytestmark = pytest.mark.core

V4, V6 = socket.AF_INET, socket.AF_INET6
AT_ONCE = 5000


def dual_stack_listener() -> socket.socket:
    listener = socket.socket(V6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", 0))
    listener.listen()
    return listener


@pytest.mark.parametrize(("family", "address"), [(V4, "127.0.0.1"), (V4, "127.8.9.10"), (V6, "::1")], ids=str)
def test_one_connection_is_four_events(netmon: Netmon, family: socket.AddressFamily, address: str) -> None:
    """The accept names the peer, not the listener, whichever arguments this kernel's inet_csk_accept takes.

    The reference; tracee#3563, #3730, #4797; falcosecurity/libs#3079; before and after 6.10: retina#2206, bcc#5316.
    """
    with netmon.watch() as seen, listen(address, family) as listener:
        pair = connect_pair(listener, listener.getsockname()[:2], family)
        client_end, server_end = pair.client.getsockname()[:2], pair.server.getsockname()[:2]
        pair.close()
    assert types_of(of_cookie(seen, pair.client_cookie)) == ["Establish", "Close"]
    assert types_of(of_cookie(seen, pair.server_cookie)) == ["Accept", "Close"]
    assert len(seen) == 4
    for event in of_cookie(seen, pair.client_cookie):
        assert endpoints_of(event) == (*client_end, *server_end)
    for event in of_cookie(seen, pair.server_cookie):
        assert endpoints_of(event) == (*server_end, *client_end)
    assert {event["process"]["pid"] for event in seen} == {os.getpid()}


@pytest.mark.parametrize("to", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_mapped_sockets_are_reported_once_as_ipv4(netmon: Netmon, to: str) -> None:
    """The IPv4 and the IPv6 function both run for a connect to a mapped address.

    The reference and Elastic report it twice, tcptracer not at all.
    """
    family = V6 if ":" in to else V4
    with netmon.watch() as seen, dual_stack_listener() as listener:
        port = listener.getsockname()[1]
        pair = connect_pair(listener, (to, port), family)
        client_port = pair.client.getsockname()[1]
        pair.close()
    assert sorted(types_of(seen)) == ["Accept", "Close", "Close", "Establish"]
    client, server = ("127.0.0.1", client_port), ("127.0.0.1", port)
    assert {endpoints_of(event) for event in of_cookie(seen, pair.client_cookie)} == {(*client, *server)}
    assert {endpoints_of(event) for event in of_cookie(seen, pair.server_cookie)} == {(*server, *client)}


@pytest.mark.parametrize(("family", "address"), [(V4, "127.0.0.1"), (V6, "::1")], ids=str)
def test_a_refused_connect_has_an_establish_and_a_close(
    netmon: Netmon, family: socket.AddressFamily, address: str
) -> None:
    with netmon.watch() as seen, socket.socket(family) as sock:
        sock.bind((address, 0))
        port = sock.getsockname()[1]
        cookie = cookie_of(sock)
        with pytest.raises(ConnectionRefusedError):
            sock.connect((address, 1))
    assert types_of(seen) == ["Establish", "Close"]
    assert [event["network_event"]["cookie"] for event in seen] == [cookie, cookie]
    assert {endpoints_of(event) for event in seen} == {(address, port, address, 1)}


def test_a_non_blocking_connect_is_reported(netmon: Netmon) -> None:
    with netmon.watch() as seen, listen() as listener, socket.socket() as client:
        client.setblocking(False)
        assert client.connect_ex(listener.getsockname()) in (0, 115)
        server, _ = listener.accept()
        client_port = client.getsockname()[1]
        server.close()
    assert sorted(types_of(seen)) == ["Accept", "Close", "Close", "Establish"]
    assert endpoints_of(seen[0])[:2] == ("127.0.0.1", client_port)


def test_sockets_that_never_connect_are_not_reported(netmon: Netmon) -> None:
    with netmon.watch() as seen:
        with listen() as listener:
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
        with listen("::1", V6), socket.socket(), socket.socket(V6):
            pass
        with socket.socket() as sock, pytest.raises(OSError, match="unreachable"):
            sock.connect(("198.51.100.1", 80))  # there is no route: connect() fails immediately
        with socket.socket(V6) as sock, pytest.raises(OSError, match="unreachable"):
            sock.connect(("2001:db8::1", 80))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.connect(("127.0.0.1", 9))
    assert seen == []


def test_a_connection_reset_before_its_accept_keeps_its_ports(netmon: Netmon) -> None:
    """The reset removes the socket from the kernel's tables before it is accepted."""
    with netmon.watch() as seen, listen() as listener:
        client = socket.create_connection(listener.getsockname())
        client_end = client.getsockname()
        reset(client)
        server, _ = listener.accept()
        cookie = cookie_of(server)
        server.close()
        server_end = listener.getsockname()
    assert types_of(of_cookie(seen, cookie)) == ["Accept", "Close"]
    assert {endpoints_of(event) for event in of_cookie(seen, cookie)} == {(*server_end, *client_end)}


def test_a_connection_reset_by_its_peer_keeps_its_endpoints(netmon: Netmon) -> None:
    with netmon.watch() as seen, listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        client_end, server_end = pair.client.getsockname(), pair.server.getsockname()
        reset(pair.server)
        with pytest.raises(ConnectionResetError):
            pair.client.recv(1)
        pair.client.close()
    assert endpoints_of(of_cookie(seen, pair.client_cookie)[-1]) == (*client_end, *server_end)
    assert types_of(of_cookie(seen, pair.client_cookie)) == ["Establish", "Close"]


def test_a_duplicated_socket_has_one_close(netmon: Netmon) -> None:
    with netmon.watch() as seen, listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        copy = pair.client.dup()
        pair.close()
        assert copy.getpeername()
        copy.close()
    assert types_of(of_cookie(seen, pair.client_cookie)) == ["Establish", "Close"]


def test_a_close_by_exit_has_the_process(netmon: Netmon) -> None:
    """At exit the kernel closes files after it has freed the process's memory.

    (Elastic ebpf#216)
    """
    with netmon.watch() as seen, listen() as listener:
        port = listener.getsockname()[1]
        script = f"import os, socket; s = socket.create_connection(('127.0.0.1', {port})); os._exit(0)"
        child = subprocess.Popen(["python3", "-c", script])
        server, _ = listener.accept()
        child.wait()
        server.close()
    mine = [event for event in seen if event["process"]["pid"] == child.pid]
    assert types_of(mine) == ["Establish", "Close"]
    assert mine[0]["process"] == mine[1]["process"]
    assert mine[0]["process"]["args"] == f"-c {script}"


def test_a_socket_that_reconnects_has_two_closes(netmon: Netmon) -> None:
    """connect(AF_UNSPEC) disconnects a socket; the close is reported at the next connect() at the latest."""
    with netmon.watch() as seen, listen() as first, listen("127.0.0.2") as second:
        first_address = first.getsockname()
        with socket.socket() as client:
            client.connect(first.getsockname())
            disconnect(client)
            client.connect(second.getsockname())
            cookie, second_end = cookie_of(client), (*client.getsockname(), *client.getpeername())
    events = of_cookie(seen, cookie)
    assert types_of(events) == ["Establish", "Close", "Establish", "Close"]
    assert endpoints_of(events[0]) == endpoints_of(events[1])
    assert endpoints_of(events[0])[2:] == first_address
    assert endpoints_of(events[2]) == endpoints_of(events[3]) == second_end


def test_thousands_of_open_connections_each_have_their_close(netmon: Netmon) -> None:
    """Tables that evict entries lose closes:

    the reference's, of 512 entries; tracee#3930; datadog-agent#32180; tcptracer-bpf#21.
    """
    with netmon.watch() as seen:
        load = subprocess.Popen(
            [PROGRAMS / "connect_load", "-n", str(AT_ONCE), "-o"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert load.stdin is not None and load.stdout is not None
        assert load.stdout.readline() == b"open\n"
        load.communicate(b"\n")
    kinds = types_of(seen)
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "Establish": AT_ONCE,
        "Accept": AT_ONCE,
        "Close": 2 * AT_ONCE,
    }
    opened, closed = (
        {
            event["network_event"]["cookie"]: endpoints_of(event)
            for event, kind in zip(seen, kinds, strict=True)
            if (kind == "Close") == is_close
        }
        for is_close in (False, True)
    )
    assert opened == closed
    assert len(opened) == 2 * AT_ONCE

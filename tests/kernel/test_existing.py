"""`report.existing`: connections that are open at the start are reported once, and then their close."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from netmon import Config, Monitor, NetworkEvent
from tests.support.json_events import endpoints_of, of_cookie, types_by_cookie, types_of
from tests.support.netmon_command import Netmon, wait_until
from tests.support.sockets import Pair, connect_pair, cookie_of, drop, listen, refused_connection

V4, V6 = socket.AF_INET, socket.AF_INET6
WHILE_STARTING = 1000
# Half of it holds all connections that are open when netmon says that it is ready, so it has found all of them by then.
ROOM_FOR_ALL = "16M"
EXISTING = Config.from_dict({"ingress": {"enabled": True}, "egress": {"enabled": True}, "report": {"existing": True}})


def wait_for(netmon: Netmon, *cookies: int) -> None:
    """Wait until each of the sockets has an event."""
    wait_until(
        lambda: set(cookies) <= {event["network_event"]["cookie"] for event in netmon.events},
        "the existing connections",
    )


@pytest.mark.core(address="127.0.0.1")
@pytest.mark.parametrize(
    ("family", "address"), [(V4, "127.0.0.1"), (V6, "::1"), (V6, "::ffff:127.0.0.1")], ids=["IPv4", "IPv6", "mapped"]
)
def test_both_ends_are_reported(family: socket.AddressFamily, address: str) -> None:
    with listen("::1", V6) if address == "::1" else listen() as listener:
        pair = connect_pair(listener, (address, listener.getsockname()[1]), family)
        local = address.removeprefix("::ffff:")
        client = (local, pair.client.getsockname()[1], local, listener.getsockname()[1])
        with Netmon("--existing", "--statistics") as netmon:
            wait_for(netmon, pair.client_cookie, pair.server_cookie)
            pair.client.sendall(b"four")
            assert pair.server.recv(5) == b"four"
            pair.close()
            events = netmon.stop().events
    for cookie, direction, end, sent in (
        (pair.client_cookie, "egress", client, 4),
        (pair.server_cookie, "ingress", (*client[2:], *client[:2]), 0),
    ):
        existing, closed = of_cookie(events, cookie)
        assert types_of([existing, closed]) == ["Existing", "Close"]
        assert existing["network_event"]["direction"] == direction
        assert endpoints_of(existing) == endpoints_of(closed) == end
        assert closed["network_event"]["bytes_sent"] == sent
        for event in (existing, closed):
            assert (event["process"]["pid"], event["process"]["tid"]) == (os.getpid(), os.getpid())
        assert existing["process"] == closed["process"]
    assert len(events) == 4


def test_the_process_that_holds_it_is_reported_in_full() -> None:
    """The arguments of a process that netmon first finds among existing connections come from /proc."""
    script = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(); input()"
    with listen() as listener:
        port = str(listener.getsockname()[1])
        child = subprocess.Popen(
            [sys.executable, "-c", script, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "\n"
        server, _ = listener.accept()
        with Netmon("--existing") as netmon:
            wait_until(lambda: [e for e in netmon.events if e["process"]["pid"] == child.pid], "the child's connection")
            child.communicate("\n")
            server.close()
            ended = netmon.stop()
    mine = [event for event in ended.events if event["process"]["pid"] == child.pid]
    assert types_of(mine) == ["Existing", "Close"]
    exe = str(Path(sys.executable).resolve())
    for event in mine:
        process = event["process"]
        assert (process["binary_path"], process["args"]) == (exe, f"-c {script} {port}")
        assert (process["ppid"], process["tid"], process["uid"]) == (os.getpid(), child.pid, 0)


def test_sockets_that_are_no_connections_are_not_reported() -> None:
    with listen(), listen("::1", V6), socket.socket(), socket.socketpair()[0], Netmon("--existing") as netmon:
        with netmon.watch() as seen:
            pass
        assert seen == []
        assert len(netmon.stop().events) == 4  # those of the two marking connections


def test_a_connection_that_two_processes_hold_is_reported_once() -> None:
    with listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        child = subprocess.Popen(["sleep", "1000"], pass_fds=[pair.client.fileno(), pair.server.fileno()])
        with Netmon("--existing") as netmon:
            wait_for(netmon, pair.client_cookie, pair.server_cookie)
            child.kill()
            child.wait()
            pair.close()
            events = netmon.stop().events
    for cookie in (pair.client_cookie, pair.server_cookie):
        assert types_of(of_cookie(events, cookie)) == ["Existing", "Close"]
        assert {event["process"]["pid"] for event in of_cookie(events, cookie)} == {os.getpid()}
    assert len(events) == 4


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "client", "server"),
    [
        (["--egress"], True, False),
        (["--ingress"], False, True),
        (["--dst-ip", "127.0.0.9"], True, False),
        (["--deny-ip", "--dst-ip", "127.0.0.9"], False, True),
        (["--uid", "12345"], False, False),
        (["--prefix", "/usr/bin/python3"], True, True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_filters_apply(arguments: list[str], client: bool, server: bool) -> None:
    with listen("127.0.0.9") as listener:
        pair = connect_pair(listener, listener.getsockname())
        with Netmon("--existing", *arguments) as netmon:
            reported = [
                cookie for cookie, wanted in ((pair.client_cookie, client), (pair.server_cookie, server)) if wanted
            ]
            wait_for(netmon, *reported)
            refused_connection()
            pair.close()
            events = netmon.stop().events
    for cookie, wanted in ((pair.client_cookie, client), (pair.server_cookie, server)):
        assert types_of(of_cookie(events, cookie)) == (["Existing", "Close"] if wanted else [])


@pytest.mark.parametrize("outcome", [[], ["--outcome"]], ids=["", "outcome"])
def test_a_connect_begun_before_the_start_is_reported_when_established(outcome: list[str]) -> None:
    with listen() as listener, socket.socket() as client, socket.socket() as forlorn:
        drop(listener)
        for sock in (client, forlorn):
            sock.setblocking(False)
            assert sock.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        cookie, cookie_of_forlorn = cookie_of(client), cookie_of(forlorn)
        with Netmon("--existing", *outcome) as netmon:
            with netmon.watch():
                pass
            forlorn.close()
            listener.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER: the next SYN arrives
            server, _ = listener.accept()
            wait_for(netmon, cookie, cookie_of(server))
            client.close()
            server.close()
            events = netmon.stop().events
    existing, closed = of_cookie(events, cookie)
    assert types_of([existing, closed]) == ["Existing", "Close"]
    assert existing["network_event"]["direction"] == "egress"
    assert types_of(of_cookie(events, cookie_of_forlorn)) == (["Fail"] if outcome else [])


@pytest.mark.core(option=())
@pytest.mark.parametrize("option", [(), ("--existing",)], ids=["plain", "existing"])
def test_an_accept_begun_before_the_start_is_reported(option: tuple[str, ...]) -> None:
    accepted: list[socket.socket] = []
    with listen() as listener:
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
        thread.start()
        with Netmon(*option) as netmon:
            client = socket.create_connection(listener.getsockname())
            thread.join()
            cookies = cookie_of(client), cookie_of(accepted[0])
            client.close()
            accepted[0].close()
            events = netmon.stop().events
    assert [types_of(of_cookie(events, cookie)) for cookie in cookies] == [["Establish", "Close"], ["Accept", "Close"]]


@pytest.fixture
def many_pairs() -> Iterator[list[Pair]]:
    with listen() as listener:
        pairs = [connect_pair(listener, listener.getsockname()) for _ in range(240)]
    yield pairs
    for pair in pairs:
        pair.close()


def reported_and_open(events: Iterable[NetworkEvent], pairs: list[Pair]) -> tuple[list[int], list[int]]:
    """Return the cookies reported as existing, and those of both ends of the pairs."""
    reported = [event.network_event.cookie for event in events if event.network_event.type == "TcpConnectionExisting"]
    return sorted(reported), sorted(cookie for pair in pairs for cookie in (pair.client_cookie, pair.server_cookie))


def test_all_are_found_before_the_start_returns(many_pairs: list[Pair]) -> None:
    """As many as half the ring buffer holds: they are reported although they close before anything is read."""
    with Monitor(EXISTING, any_kernel=True, ring_size=256 << 10) as monitor:
        for pair in many_pairs:
            pair.close()
        monitor.stop()
        reported, expected = reported_and_open(monitor, many_pairs)
        assert monitor.losses.total == 0
    assert reported == expected


def test_more_than_the_ring_buffer_holds_are_all_reported(many_pairs: list[Pair]) -> None:
    with Monitor(EXISTING, any_kernel=True, ring_size=16 << 10) as monitor:
        reported, expected = reported_and_open(monitor.connection_events(timeout=1), many_pairs)
        assert monitor.losses.total == 0
    assert reported == expected


LOAD = """
import json, socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
clients, servers = [], []
def accept():
    while True:
        servers.append(listener.accept()[0])
threading.Thread(target=accept, daemon=True).start()
going = True
def stop():
    global going
    sys.stdin.readline()
    going = False
threading.Thread(target=stop, daemon=True).start()
while going or len(clients) < 1000:
    clients.append(socket.create_connection(listener.getsockname()))
    time.sleep(0.001)
    if len(clients) == 200:
        print("open", flush=True)
while len(servers) < len(clients):
    pass
print(json.dumps([int.from_bytes(s.getsockopt(socket.SOL_SOCKET, 57, 8), "little") for s in clients + servers]))
"""


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Run the test and its children on one CPU: an emulated CPU may fault in a function that another one patches."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    yield
    os.sched_setaffinity(0, cpus)


@pytest.mark.usefixtures("one_cpu")
@pytest.mark.parametrize("more", [[], ["--outcome", "--statistics"]], ids=["", "outcome, statistics"])
def test_a_thousand_connections_opened_during_the_start_are_each_reported_once(more: list[str]) -> None:
    """Each end is reported once, as existing or as opened, and its close once (scope#2689)."""
    load = subprocess.Popen([sys.executable, "-c", LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert load.stdin is not None and load.stdout is not None
    assert load.stdout.readline() == "open\n"
    with Netmon("--existing", "--ring-size", ROOM_FOR_ALL, *more) as netmon:
        wait_until(lambda: "TcpConnectionAccept" in {e["network_event"]["type"] for e in netmon.events}, "an accept")
        out, _ = load.communicate("\n", timeout=60)
        ended = netmon.stop()
    assert ", 0 lost" in ended.stderr
    cookies: list[int] = json.loads(out)
    reported = types_by_cookie(ended.events)
    clients, servers = cookies[: len(cookies) // 2], cookies[len(cookies) // 2 :]
    assert len(clients) >= WHILE_STARTING
    unreported = [i for end in (clients, servers) for i, cookie in enumerate(end) if cookie not in reported]
    assert not unreported, f"of {len(clients)}; {ended.stderr}"
    kinds = [{tuple(reported[cookie]) for cookie in end} for end in (clients, servers)]
    assert kinds == [
        {("Existing", "Close"), ("Establish", "Close")},
        {("Existing", "Close"), ("Accept", "Close")},
    ]
    assert set(reported) == set(cookies)

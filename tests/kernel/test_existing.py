"""`report.existing`: connections that are open at the start are reported once, and then their close."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from netmon import Config, Monitor, NetworkEvent
from tests.support.json_events import Event, endpoints_of, of_cookie, types_by_cookie, types_of
from tests.support.netmon_command import PROGRAMS, Netmon
from tests.support.sockets import Pair, connect_pair, cookie_of, drop, listen, refused_connection

V4, V6 = socket.AF_INET, socket.AF_INET6
WHILE_STARTING = 1000
# Half of it holds all connections that are open when netmon says that it is ready, so it has found all of them by then.
ROOM_FOR_ALL = "16M"
EXISTING = Config.from_dict({"ingress": {"enabled": True}, "egress": {"enabled": True}, "report": {"existing": True}})


def wait_for(netmon: Netmon, *cookies: int) -> None:
    """Wait until each of the sockets has an event."""
    netmon.wait_until(
        lambda: set(cookies) <= {event["network_event"]["cookie"] for event in netmon.events},
        "the existing connections",
    )


def closes_of(netmon: Netmon, *cookies: int) -> list[list[Event]]:
    """Wait until each of the sockets has a close; return all events of each."""
    netmon.wait_until(
        lambda: all("Close" in types_of(of_cookie(netmon.events, cookie)) for cookie in cookies), "the closes"
    )
    return [of_cookie(netmon.events, cookie) for cookie in cookies]


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


@pytest.mark.core
def test_an_accept_begun_before_the_start_is_reported_without_the_option_too() -> None:
    accepted: list[socket.socket] = []
    with listen() as listener:
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
        thread.start()
        with Netmon() as netmon:
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
    command = [str(PROGRAMS / "open_steadily"), "200", str(WHILE_STARTING)]
    load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert load.stdin is not None and load.stdout is not None
    assert load.stdout.readline() == "open\n"
    with Netmon("--existing", "--ring-size", ROOM_FOR_ALL, *more) as netmon:
        netmon.wait_until(lambda: "Accept" in types_of(netmon.events), "an accept")
        out, _ = load.communicate("\n", timeout=60)
        ended = netmon.stop()
    assert ", 0 lost" in ended.stderr
    clients, servers = (list(map(int, line.split())) for line in out.splitlines())
    reported = types_by_cookie(ended.events)
    assert len(clients) >= WHILE_STARTING
    unreported = [i for end in (clients, servers) for i, cookie in enumerate(end) if cookie not in reported]
    assert not unreported, f"of {len(clients)}; {ended.stderr}"
    kinds = [{tuple(reported[cookie]) for cookie in end} for end in (clients, servers)]
    assert kinds == [
        {("Existing", "Close"), ("Establish", "Close")},
        {("Existing", "Close"), ("Accept", "Close")},
    ]
    assert set(reported) == {*clients, *servers}


class Begun(NamedTuple):
    """A connect that waits for its handshake, and one that never will have it."""

    listener: socket.socket  # which drops all packets
    client: socket.socket
    forlorn: socket.socket
    client_cookie: int
    forlorn_cookie: int


@contextmanager
def begun_connects() -> Iterator[Begun]:
    """Begin two connects to a listener that drops all packets."""
    with listen() as listener, socket.socket() as client, socket.socket() as forlorn:
        drop(listener)
        for sock in (client, forlorn):
            sock.setblocking(False)
            assert sock.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        yield Begun(listener, client, forlorn, cookie_of(client), cookie_of(forlorn))


def establish_begun(netmon: Netmon, begun: Begun) -> tuple[list[Event], list[Event]]:
    """Close the forlorn connect, establish and close the other one; return the events of both."""
    begun.forlorn.close()
    begun.listener.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER: the next SYN arrives
    server, _ = begun.listener.accept()
    cookies = begun.client_cookie, cookie_of(server)
    wait_for(netmon, *cookies)
    begun.client.close()
    server.close()
    established, _ = closes_of(netmon, *cookies)
    return established, of_cookie(netmon.events, begun.forlorn_cookie)


def test_a_connect_begun_before_the_start_has_an_outcome_if_it_fails() -> None:
    with begun_connects() as begun, Netmon("--existing", "--outcome") as netmon:
        with netmon.watch():
            pass
        established, forlorn = establish_begun(netmon, begun)
    assert types_of(established) == ["Existing", "Close"]
    assert established[0]["network_event"]["direction"] == "egress"
    assert types_of(forlorn) == ["Fail"]


class Accepting(NamedTuple):
    """A thread that waits in accept()."""

    listener: socket.socket
    server: Future[socket.socket]  # what it returns


class Scene(NamedTuple):
    """What is open before netmon starts, and netmon."""

    pairs: dict[str, Pair]  # by the address that the client connected to
    holder: subprocess.Popen[str]  # of a connection of its own
    served_cookie: int  # the other end's of that connection
    port: int  # to which that connection is
    held_twice: Pair
    begun: Begun
    accepting: Accepting
    netmon: Netmon

    @property
    def open_cookies(self) -> set[int]:
        """The cookies of this process's connections."""
        pairs = (*self.pairs.values(), self.held_twice)
        return {self.served_cookie, *(cookie for pair in pairs for cookie in pair[2:])}


ADDRESSES = {"127.0.0.1": V4, "::1": V6, "::ffff:127.0.0.1": V6}
BEFORE = b"before"  # what each client sends before netmon starts
TOLERANCE_MS = 25  # the kernel counts in ticks of up to 10 ms, events have milliseconds
HOLDER = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(); input()"


def start_holder(port: int) -> subprocess.Popen[str]:
    """Start another user's program, which connects and waits."""
    command = ["python3", "-c", HOLDER, str(port)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, user=1000)
    assert child.stdout is not None
    assert child.stdout.readline() == "\n"
    return child


@contextmanager
def accepting() -> Iterator[Accepting]:
    """Have a thread wait in accept()."""
    with listen() as listener, ThreadPoolExecutor(1) as thread:
        server = thread.submit(lambda: listener.accept()[0])
        yield Accepting(listener, server)
        if not server.done():
            socket.create_connection(listener.getsockname()).close()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Open connections of many kinds, then start netmon: one for the tests of this module that can share it."""
    with listen() as v4, listen("::1", V6) as v6, begun_connects() as begun, accepting() as waiting:
        pairs = {}
        for address, family in ADDRESSES.items():
            listener = v6 if address == "::1" else v4
            pairs[address] = connect_pair(listener, (address, listener.getsockname()[1]), family)
            pairs[address].client.sendall(BEFORE)
            assert pairs[address].server.recv(10) == BEFORE
        held_twice = connect_pair(v4, v4.getsockname())
        for sender, receiver in ((held_twice.client, held_twice.server), (held_twice.server, held_twice.client)):
            sender.sendall(BEFORE)
            assert receiver.recv(10) == BEFORE
        other = subprocess.Popen(["sleep", "1000"], pass_fds=[held_twice.client.fileno(), held_twice.server.fileno()])
        holder = start_holder(v4.getsockname()[1])
        served, _ = v4.accept()
        with (
            served,
            socket.socketpair()[0],
            socket.socket(),
            Netmon("--existing", "--statistics", "--parent") as netmon,
        ):
            scene = Scene(pairs, holder, cookie_of(served), v4.getsockname()[1], held_twice, begun, waiting, netmon)
            wait_for(netmon, *scene.open_cookies)
            other.kill()
            other.wait()
            yield scene
            holder.kill()
            holder.communicate()
            assert netmon.stop().returncode == 0


def test_connections_are_reported_and_nothing_else(scene: Scene) -> None:
    """Not those sockets that listen, were never connected, or are not of TCP."""
    refused_connection()
    scene.netmon.wait_until(lambda: "Close" in types_of(scene.netmon.events), "the refused connection's close")
    existing = [event for event in scene.netmon.events if types_of([event]) == ["Existing"]]
    mine = [event["network_event"]["cookie"] for event in existing if event["process"]["pid"] == os.getpid()]
    # The connect that was begun may be established by now.
    assert sorted(set(mine) - {scene.begun.client_cookie}) == sorted(scene.open_cookies)
    assert len(mine) == len(set(mine))
    assert {event["process"]["pid"] for event in existing} == {os.getpid(), scene.holder.pid}


def test_a_connect_begun_before_the_start_is_reported_when_established(scene: Scene) -> None:
    established, forlorn = establish_begun(scene.netmon, scene.begun)
    assert types_of(established) == ["Existing", "Close"]
    assert established[0]["network_event"]["direction"] == "egress"
    assert forlorn == []


def check_statistics(existing: Event, closed: Event, before: tuple[int, int], after: tuple[int, int]) -> None:
    """Check that both events' statistics fit together: before and after are the bytes that were sent and received.

    The connection has carried data in one direction only, so the kernel knows since when it is open.
    """
    for event, carried in ((existing, before), (closed, after)):
        assert (event["network_event"]["bytes_sent"], event["network_event"]["bytes_received"]) == carried
    network = existing["network_event"]
    assert network["state"] == "established"
    assert network["rtt_us"] > 0
    assert network["duration_us"] >= (network["idle_ms"] - TOLERANCE_MS) * 1000
    longer = (closed["network_event"]["duration_us"] - network["duration_us"]) / 1000
    assert abs(longer - (milliseconds_of(closed) - milliseconds_of(existing))) < TOLERANCE_MS


def milliseconds_of(event: Event) -> float:
    """Return the time of an event."""
    return datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).timestamp() * 1000


@pytest.mark.core(address="127.0.0.1")
@pytest.mark.parametrize("address", ADDRESSES, ids=["IPv4", "IPv6", "mapped"])
def test_both_ends_are_reported(scene: Scene, address: str) -> None:
    pair = scene.pairs[address]
    local = address.removeprefix("::ffff:")
    port = pair.server.getsockname()[1]
    client_end = (local, pair.client.getsockname()[1], local, port)
    pair.client.sendall(b"four")
    assert pair.server.recv(5) == b"four"
    pair.close()
    client, server = closes_of(scene.netmon, *pair[2:])
    before, after = len(BEFORE), len(BEFORE) + 4
    for events, direction, end, counts in (
        (client, "egress", client_end, ((before, 0), (after, 0))),
        (server, "ingress", (*client_end[2:], *client_end[:2]), ((0, before), (0, after))),
    ):
        existing, closed = events
        assert types_of([existing, closed]) == ["Existing", "Close"]
        assert existing["network_event"]["direction"] == direction
        assert endpoints_of(existing) == endpoints_of(closed) == end
        check_statistics(existing, closed, *counts)
        for event in (existing, closed):
            assert (event["process"]["pid"], event["process"]["tid"]) == (os.getpid(), os.getpid())
        assert existing["process"] == closed["process"]


@pytest.mark.core
def test_the_process_that_holds_it_is_reported_in_full(scene: Scene) -> None:
    """The arguments of a process that netmon first finds among existing connections, and of its parent, are from /proc.

    netmon has given up its rights by then, and the process is another user's.
    """
    scene.holder.communicate("\n")
    scene.netmon.wait_until(
        lambda: any(
            event["process"]["pid"] == scene.holder.pid and types_of([event]) == ["Close"]
            for event in scene.netmon.events
        ),
        "the holder's close",
    )
    mine = [event for event in scene.netmon.events if event["process"]["pid"] == scene.holder.pid]
    assert types_of(mine) == ["Existing", "Close"]
    exe = str(Path(sys.executable).resolve())
    for event in mine:
        process = event["process"]
        assert (process["binary_path"], process["args"]) == (exe, f"-c {HOLDER} {scene.port}")
        assert (process["ppid"], process["tid"], process["uid"]) == (os.getpid(), scene.holder.pid, 1000)
        assert event["parent"]["pid"] == os.getpid()
        assert event["parent"]["args"]


def test_a_connection_that_two_processes_hold_is_reported_once(scene: Scene) -> None:
    """The other one has ended."""
    scene.held_twice.close()
    for events in closes_of(scene.netmon, *scene.held_twice[2:]):
        assert types_of(events) == ["Existing", "Close"]
        assert {event["process"]["pid"] for event in events} == {os.getpid()}
        for event in events:  # data went both ways, so the kernel does not know since when it is open
            assert "duration_us" not in event["network_event"]
            counts = event["network_event"]["bytes_sent"], event["network_event"]["bytes_received"]
            assert counts == (len(BEFORE), len(BEFORE))


def test_an_accept_begun_before_the_start_is_reported(scene: Scene) -> None:
    with socket.create_connection(scene.accepting.listener.getsockname()) as client:
        server = scene.accepting.server.result()
        cookies = cookie_of(client), cookie_of(server)
        server.close()
    ends = closes_of(scene.netmon, *cookies)
    assert [types_of(end) for end in ends] == [["Establish", "Close"], ["Accept", "Close"]]

"""Aggregate mode: its counts equal the events that a second netmon reports, and the bytes that programs sent."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections import Counter
from itertools import product
from typing import NamedTuple

import pytest

from netmon import Monitor, NetmonError, NetworkSummary
from tests.support.connecting_process import CONNECT_ONCE
from tests.support.json_events import Event
from tests.support.netmon_command import PROGRAMS, Netmon, counts_of
from tests.support.sockets import connect_pair, disconnect, listen, receive_all, refused_connection

V6 = socket.AF_INET6
Flow = tuple[int, str, str, int]  # pid, direction, peer and port
REFUSED = 20  # programs whose connect is refused
PERIOD = "1h"  # longer than the test: netmon's end ends the period


def flow_of(event: Event) -> Flow:
    flow = event["flow"]
    return event["process"]["pid"], flow["direction"], flow["peer"], flow["port"]


def sums_of(events: list[Event], name: str) -> Counter[Flow]:
    """Return one field of the summaries, added up by flow."""
    sums: Counter[Flow] = Counter()
    for event in events:
        if event["type"] == "NetworkSummary":
            sums[flow_of(event)] += event["flow"][name]
    return +sums


def counted(events: list[Event], types: set[str]) -> Counter[Flow]:
    """Return how many events of these types there are, by flow."""
    directions = {
        event["network_event"]["cookie"]: "egress"
        if event["network_event"]["type"].endswith("Establish")
        else "ingress"
        for event in reversed(events)
        if not event["network_event"]["type"].endswith("Close")
    }
    counts: Counter[Flow] = Counter()
    for event in events:
        network = event["network_event"]
        if network["type"].removeprefix("TcpConnection") in types:
            direction = directions[network["cookie"]]
            port = network["dport"] if direction == "egress" else network["sport"]
            counts[event["process"]["pid"], direction, network["daddr"], port] += 1
    return counts


class Sent(NamedTuple):
    """A connection's ends, as flows have them, and the bytes that were sent up and down it."""

    client: Flow
    server: Flow
    up: int
    down: int


def transfer(family: socket.AddressFamily, client_first: bool) -> Sent:
    """Send over four connections to one listener, one after the other. client_first: the client closes first."""
    address = "::1" if family == V6 else "127.0.0.1"
    with listen(address, family) as listener:
        to = listener.getsockname()[:2]
        for up, down in ((0, 0), (1, 0), (0, 1), (70_000, 3)):
            pair = connect_pair(listener, to, family)
            pair.client.sendall(bytes(up))
            pair.server.sendall(bytes(down))
            first, second = (pair.client, pair.server) if client_first else (pair.server, pair.client)
            first.shutdown(socket.SHUT_WR)
            assert receive_all(second) == (up if client_first else down)
            second.close()
            assert receive_all(first) == (down if client_first else up)
            first.close()
    return Sent((os.getpid(), "egress", *to), (os.getpid(), "ingress", address, to[1]), 70_001, 4)


def close_before_it_is_sent() -> Sent:
    """Close the client with all its data still in the send queue."""
    with listen() as listener:
        to = listener.getsockname()
        pair = connect_pair(listener, to)
        pair.client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += pair.client.send(bytes(1 << 16))
        pair.client.close()
        assert receive_all(pair.server) == sent
        pair.server.close()
    return Sent((os.getpid(), "egress", *to), (os.getpid(), "ingress", *to), sent, 0)


def reconnect() -> list[Flow]:
    """Connect one socket to two listeners, one after the other; return both flows of the client."""
    with listen() as first, listen("127.0.0.2") as second:
        ends = first.getsockname(), second.getsockname()
        with socket.socket() as client:
            client.connect(ends[0])
            disconnect(client)
            client.connect(ends[1])
            client.sendall(b"four")
    return [(os.getpid(), "egress", *end) for end in ends]


class Hour(NamedTuple):
    """What two netmons say of the same time: one aggregates, the other one reports every event."""

    summaries: list[Event]
    events: list[Event]
    missed: int  # at most, by both
    transfers: dict[tuple[socket.AddressFamily, bool], Sent]  # by family, and whether the client closes first
    closed_early: Sent
    reconnected: list[Flow]


@pytest.fixture(scope="module")
def hour() -> Hour:
    """Run all connections of this module's tests while two netmons look on."""
    with Netmon("--aggregate", PERIOD, "--parent") as aggregate, Netmon() as plain:
        subprocess.run([PROGRAMS / "connect_load", "-n", "500", "-p", "2"], check=True, capture_output=True)
        for _ in range(REFUSED):
            subprocess.run([CONNECT_ONCE, "1"], stderr=subprocess.DEVNULL)
        with listen("::1", V6) as listener:
            connect_pair(listener, listener.getsockname()[:2], V6).close()
        refused_connection()
        transfers = {case: transfer(*case) for case in product((socket.AF_INET, V6), (True, False))}
        closed_early, reconnected = close_before_it_is_sent(), reconnect()
        ended = [plain.stop(), aggregate.stop()]
    for each in ended:
        assert each.returncode == 0
        assert ", 0 lost" in each.stderr
        assert counts_of(each.stderr)[0] == len(each.events)
    missed = sum(counts_of(each.stderr)[2] for each in ended)
    return Hour(ended[1].events, ended[0].events, missed, transfers, closed_early, reconnected)


def of_flow(hour: Hour, name: str, flow: Flow) -> int:
    """Return one field of a flow's summaries, added up."""
    return sums_of(hour.summaries, name)[flow]


@pytest.mark.core
def test_totals_equal_the_events(hour: Hour) -> None:
    for name, types in (("opened", {"Establish", "Accept"}), ("closed", {"Close"})):
        summed, happened = sums_of(hour.summaries, name), counted(hour.events, types)
        assert sum(((summed - happened) + (happened - summed)).values()) <= hour.missed
    assert sum(sums_of(hour.summaries, "failed").values()) == REFUSED + 1
    flows = list(map(flow_of, hour.summaries))
    assert len(set(flows)) == len(flows)  # each flow is summed up once


def test_summaries_have_the_parent(hour: Hour) -> None:
    summaries = [event for event in hour.summaries if event["process"]["filename"] == "connect_once"]
    assert len(summaries) == REFUSED
    assert {(event["process"]["ppid"], event["parent"]["pid"]) for event in summaries} == {(os.getpid(),) * 2}


@pytest.mark.core(client_first=True)
@pytest.mark.parametrize("family", [socket.AF_INET, V6], ids=str)
@pytest.mark.parametrize("client_first", [True, False], ids=["client closes first", "server closes first"])
def test_bytes_equal_what_the_programs_sent(hour: Hour, family: socket.AddressFamily, client_first: bool) -> None:
    """SYN and FIN do not count, whichever end closes first."""
    sent = hour.transfers[family, client_first]
    assert (of_flow(hour, "bytes_sent", sent.client), of_flow(hour, "bytes_sent", sent.server)) == (sent.up, sent.down)
    received = of_flow(hour, "bytes_received", sent.client), of_flow(hour, "bytes_received", sent.server)
    assert received == (sent.down, sent.up)
    assert sums_of(hour.summaries, "failed").keys().isdisjoint((sent.client, sent.server))
    mine = [event for event in hour.summaries if flow_of(event) in (sent.client, sent.server)]
    assert len(mine) == 2
    assert all(event["flow"]["duration_us"] > 0 for event in mine)


def test_bytes_sent_after_the_close_count(hour: Hour) -> None:
    """The client closes with all its data still in the send queue."""
    sent = hour.closed_early
    assert of_flow(hour, "bytes_sent", sent.client) == of_flow(hour, "bytes_received", sent.server) == sent.up > 0
    assert of_flow(hour, "bytes_received", sent.client) == of_flow(hour, "bytes_sent", sent.server) == 0


def test_a_socket_that_reconnects_counts_twice(hour: Hour) -> None:
    first, second = hour.reconnected
    assert [of_flow(hour, "opened", flow) for flow in (first, second)] == [1, 1]
    assert [of_flow(hour, "closed", flow) for flow in (first, second)] == [1, 1]
    assert [of_flow(hour, "failed", flow) for flow in (first, second)] == [0, 0]
    assert [of_flow(hour, "bytes_sent", flow) for flow in (first, second)] == [0, 4]


def test_connects_that_fail_immediately_are_counted_and_filtered() -> None:
    with Netmon(
        "--aggregate", PERIOD, "--egress", "--dst-ip", "198.51.100.0/24", "--dst-ip", "2001:db8::/32"
    ) as netmon:
        for address in ("198.51.100.1", "203.0.113.1", "2001:db8::1", "2001:db9::1", "::ffff:198.51.100.1"):
            with socket.socket(V6 if ":" in address else socket.AF_INET) as sock:
                assert sock.connect_ex((address, 80)) == 101  # ENETUNREACH
        summaries = netmon.stop().events
    assert sums_of(summaries, "failed") == {
        (os.getpid(), "egress", "198.51.100.1", 80): 2,
        (os.getpid(), "egress", "2001:db8::1", 80): 1,
    }
    assert sums_of(summaries, "opened") == {}


@pytest.mark.once
def test_summaries_come_when_their_period_ends_and_no_connection_events() -> None:
    with Monitor(any_kernel=True, aggregate=1) as monitor:
        with pytest.raises(NetmonError, match=r"iterate over events\(\)"):
            next(iter(monitor))
        refused_connection()
        first = next(event for event in monitor.events(timeout=60) if isinstance(event, NetworkSummary))
        assert (first.flow.opened, first.flow.closed, first.flow.failed) == (1, 1, 1)
        assert first.period_start < first.timestamp
        refused_connection()
        second = next(event for event in monitor.events(timeout=60) if isinstance(event, NetworkSummary))
        assert second.flow.opened == 1
        assert second.period_start >= first.timestamp


@pytest.mark.once
def test_a_period_ends_early_before_the_flows_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connects to four times as many ports as the table of flows holds are all reported."""
    monkeypatch.setattr("netmon.kernel.probes.MAX_FLOWS", 64)
    monkeypatch.setattr("netmon.kernel.probes.MANY_FLOWS", 32)
    program = (
        "import socket, sys\n"
        "for port in range(1, 257):\n"
        "    with socket.socket() as sock: sock.connect_ex(('127.0.0.1', port))\n"
        "    if port % 32 == 0: sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read(1)\n"
    )
    with Monitor(any_kernel=True, aggregate=3600) as monitor:
        scan = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert scan.stdin is not None and scan.stdout is not None
        ports: list[int] = []
        for step in range(1, 9):
            assert scan.stdout.read(1) == b"x"
            if step % 2 == 0:  # the table holds more than 32 flows, at most 64
                for event in monitor.events(timeout=60):
                    assert isinstance(event, NetworkSummary)
                    ports.append(event.flow.port)
                    if len(ports) == step * 32:
                        break
            scan.stdin.write(b"x")
            scan.stdin.flush()
        scan.wait(60)
        assert sorted(ports) == list(range(1, 257))
        assert monitor.losses.total == 0

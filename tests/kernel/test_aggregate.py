"""Aggregate mode: its counts equal the events that a second netmon reports, and the bytes that programs sent."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from netmon import Monitor, NetmonError, NetworkSummary
from tests.support.json_events import Event
from tests.support.netmon_command import PROGRAMS, Netmon, counts_of
from tests.support.sockets import connect_pair, disconnect, listen, receive_all, refused_connection

V6 = socket.AF_INET6
PERIOD = "1h"  # longer than the test: netmon's end ends the period


def flow_of(event: Event) -> tuple[int, str, str, int]:
    """Return pid, direction, peer and port."""
    flow = event["flow"]
    return event["process"]["pid"], flow["direction"], flow["peer"], flow["port"]


def sums_of(events: list[Event], name: str) -> Counter[tuple[int, str, str, int]]:
    """Return one field of the summaries, added up by flow."""
    sums: Counter[tuple[int, str, str, int]] = Counter()
    for event in events:
        if event["type"] == "NetworkSummary":
            sums[flow_of(event)] += event["flow"][name]
    return +sums


def counted(events: list[Event], types: set[str]) -> Counter[tuple[int, str, str, int]]:
    """Return how many events of these types there are, by flow."""
    directions = {
        event["network_event"]["cookie"]: "egress"
        if event["network_event"]["type"].endswith("Establish")
        else "ingress"
        for event in reversed(events)
        if not event["network_event"]["type"].endswith("Close")
    }
    counts: Counter[tuple[int, str, str, int]] = Counter()
    for event in events:
        network = event["network_event"]
        if network["type"].removeprefix("TcpConnection") in types:
            direction = directions[network["cookie"]]
            port = network["dport"] if direction == "egress" else network["sport"]
            counts[event["process"]["pid"], direction, network["daddr"], port] += 1
    return counts


@contextlib.contextmanager
def aggregating_and_plain() -> Iterator[tuple[list[Event], list[Event], list[int]]]:
    """Run two netmons; yield lists that are filled on leaving: summaries, events, and how many each may have missed."""
    summaries: list[Event] = []
    events: list[Event] = []
    missed: list[int] = []
    with Netmon("--aggregate", PERIOD) as aggregate, Netmon() as plain:
        yield summaries, events, missed
        plain_ended, aggregate_ended = plain.stop(), aggregate.stop()
    for ended, seen in ((aggregate_ended, summaries), (plain_ended, events)):
        assert ended.returncode == 0
        assert ", 0 lost" in ended.stderr
        seen += ended.events
        assert counts_of(ended.stderr)[0] == len(seen)
        missed.append(counts_of(ended.stderr)[2])


@pytest.mark.core
def test_totals_equal_the_events() -> None:
    with aggregating_and_plain() as (summaries, events, missed):
        subprocess.run([PROGRAMS / "connect_load", "-n", "500", "-p", "2"], check=True, capture_output=True)
        script = "echo > /dev/tcp/127.0.0.1/1"
        for _ in range(20):
            subprocess.run(["bash", "-c", script], stderr=subprocess.DEVNULL)
        with listen("::1", V6) as listener:
            connect_pair(listener, listener.getsockname()[:2], V6).close()
        refused_connection()
    for name, types in (("opened", {"Establish", "Accept"}), ("closed", {"Close"})):
        summed, happened = sums_of(summaries, name), counted(events, types)
        assert sum(((summed - happened) + (happened - summed)).values()) <= sum(missed)
    assert sum(sums_of(summaries, "failed").values()) == 21
    flows = list(map(flow_of, summaries))
    assert len(set(flows)) == len(flows)  # each flow is summed up once


def send_all(sock: socket.socket, size: int) -> None:
    sock.sendall(bytes(size))


@pytest.mark.core(client_first=True)
@pytest.mark.parametrize("family", [socket.AF_INET, V6], ids=str)
@pytest.mark.parametrize("client_first", [True, False], ids=["client closes first", "server closes first"])
def test_bytes_equal_what_the_programs_sent(family: socket.AddressFamily, client_first: bool) -> None:
    """SYN and FIN do not count, whichever end closes first."""
    address = "::1" if family == V6 else "127.0.0.1"
    with Netmon("--aggregate", PERIOD) as netmon, listen(address, family) as listener:
        to = listener.getsockname()[:2]
        for up, down in ((0, 0), (1, 0), (0, 1), (70_000, 3)):
            pair = connect_pair(listener, to, family)
            send_all(pair.client, up)
            send_all(pair.server, down)
            first, second = (pair.client, pair.server) if client_first else (pair.server, pair.client)
            first.shutdown(socket.SHUT_WR)
            assert receive_all(second) == (up if client_first else down)
            second.close()
            assert receive_all(first) == (down if client_first else up)
            first.close()
        summaries = netmon.stop().events
    client, server = (os.getpid(), "egress", *to), (os.getpid(), "ingress", address, to[1])
    assert sums_of(summaries, "bytes_sent") == {client: 70_001, server: 4}
    assert sums_of(summaries, "bytes_received") == {client: 4, server: 70_001}
    assert sums_of(summaries, "failed") == {}
    assert all(event["flow"]["duration_us"] > 0 for event in summaries)


def test_bytes_sent_after_the_close_count() -> None:
    """The client closes with all its data still in the send queue."""
    with Netmon("--aggregate", PERIOD) as netmon, listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        pair.client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += pair.client.send(bytes(1 << 16))
        pair.client.close()
        assert receive_all(pair.server) == sent
        pair.server.close()
        summaries = netmon.stop().events
    assert list(sums_of(summaries, "bytes_sent").values()) == [sent]
    assert list(sums_of(summaries, "bytes_received").values()) == [sent]


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
def test_summaries_come_when_their_period_ends() -> None:
    with Monitor(any_kernel=True, aggregate=1) as monitor:
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


@pytest.mark.once
def test_iterating_over_connection_events_is_refused() -> None:
    with Monitor(any_kernel=True, aggregate=1) as monitor, pytest.raises(NetmonError, match=r"iterate over events\(\)"):
        next(iter(monitor))


def test_a_socket_that_reconnects_counts_twice() -> None:
    with Netmon("--aggregate", PERIOD) as netmon, listen() as first, listen("127.0.0.2") as second:
        first_end, second_end = first.getsockname(), second.getsockname()
        with socket.socket() as client:
            client.connect(first_end)
            disconnect(client)
            client.connect(second_end)
            client.sendall(b"four")
        summaries = netmon.stop().events
    egress = os.getpid(), "egress"
    ends = [(*egress, *listener) for listener in (first_end, second_end)]
    assert sums_of(summaries, "opened") == dict.fromkeys(ends, 1)
    assert sums_of(summaries, "closed") == dict.fromkeys(ends, 1)
    assert sums_of(summaries, "failed") == {}
    assert sums_of(summaries, "bytes_sent") == {ends[1]: 4}

"""Open connections: `report.progress`, and what aggregates say of them."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.json_events import Event, of_cookie, types_of
from tests.support.netmon_command import PROGRAMS, Netmon
from tests.support.procfs import status_of
from tests.support.sockets import Pair, connect_pair, cookie_of, listen, receive_all

CLONE_NEWNET = 0x40000000
MPTCP = 262
SOON = ("--progress", "1s")  # the shortest interval
NEVER = ("--progress", "1h")  # only at the end of the run


def progress_of(events: list[Event], cookie: int) -> list[dict[str, Any]]:
    """Return what is reported of an open connection."""
    return [
        event["network_event"]
        for event in of_cookie(events, cookie)
        if event["network_event"]["type"] == "TcpConnectionProgress"
    ]


def send(pair: Pair, up: int, down: int) -> None:
    """Send in both directions, and receive it."""
    for sender, receiver, size in ((pair.client, pair.server, up), (pair.server, pair.client, down)):
        sender.sendall(bytes(size))
        while size:
            size -= len(receiver.recv(size))


def wait_for_progress(netmon: Netmon, cookie: int, carried: tuple[int, int]) -> None:
    """Wait until it is reported that an open connection has sent and received so many bytes."""

    def is_reported() -> bool:
        progress = progress_of(netmon.events, cookie)
        return bool(progress) and (progress[-1]["bytes_sent"], progress[-1]["bytes_received"]) == carried

    netmon.wait_until(is_reported, f"a progress of {carried}")


@pytest.mark.core
@pytest.mark.parametrize("protocol", ["TCP", "MPTCP", "TCP in another network namespace"])
@pytest.mark.netmon_flags(*SOON)
def test_an_open_connection_is_reported_while_it_carries_something(netmon: Netmon, protocol: str) -> None:
    with netmon.watch() as seen, ThreadPoolExecutor(1) as thread:
        began = time.monotonic()
        pair = thread.submit(connect, protocol).result()
        send(pair, 70_000, 3)
        for up, down in ((70_000, 3), (70_001, 20_003)):
            for cookie, carried in ((pair.client_cookie, (up, down)), (pair.server_cookie, (down, up))):
                wait_for_progress(netmon, cookie, carried)
            if up == 70_000:
                send(pair, 1, 20_000)
        pair.client.shutdown(socket.SHUT_WR)
        assert receive_all(pair.server) == 0
        pair.close()
        lasted = time.monotonic() - began
    for cookie, sent, received in ((pair.client_cookie, 70_001, 20_003), (pair.server_cookie, 20_003, 70_001)):
        events = of_cookie(seen, cookie)
        types = types_of(events)
        assert types[0] in ("Establish", "Accept")
        assert types[-1] == "Close"
        progress = progress_of(events, cookie)
        assert [f"TcpConnection{name}" for name in types[1:-1]] == [each["type"] for each in progress]
        before = {"bytes_sent": 0, "bytes_received": 0, "duration_us": 0}
        for each in progress:
            for name in ("bytes_sent", "bytes_received"):
                assert each[f"interval_{name}"] == each[name] - before[name] >= 0
            assert each["interval_bytes_sent"] or each["interval_bytes_received"]
            assert abs(each["interval_us"] - (each["duration_us"] - before["duration_us"])) <= 1
            assert each["sampled"] is True
            assert each["rtt_us"] > 0
            before = each
        assert (before["bytes_sent"], before["bytes_received"]) == (sent, received)
        assert before["duration_us"] <= lasted * 1e6
        assert {event["process"]["pid"] for event in events} == {os.getpid()}


def connect(protocol: str) -> Pair:
    """Connect both ends; in a network namespace of this thread's own, if the protocol says so."""
    if "namespace" in protocol:
        if ctypes.CDLL(None).unshare(CLONE_NEWNET):
            raise OSError("unshare")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    number = MPTCP if protocol == "MPTCP" else 0
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, number) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, number)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    return Pair(client, server, cookie_of(client), cookie_of(server))


@pytest.mark.netmon_flags(*SOON)
def test_an_idle_connection_is_not_reported(netmon: Netmon) -> None:
    """netmon looks without any capability."""
    assert int(status_of(netmon.process.pid)["CapEff"][0], 16) == 0
    with netmon.watch() as seen, listen() as listener:
        idle, busy = (connect_pair(listener, listener.getsockname()) for _ in range(2))
        send(idle, 5, 0)
        wait_for_progress(netmon, idle.client_cookie, (5, 0))
        for count in range(1, 4):  # a walk sees both connections
            send(busy, 1, 0)
            wait_for_progress(netmon, busy.server_cookie, (0, count))
        idle.close()
        busy.close()
    assert len(progress_of(seen, idle.client_cookie)) == 1


@pytest.mark.core
def test_the_end_of_a_run_reports_open_connections_and_those_that_were_open_before() -> None:
    with listen() as listener:
        before = connect_pair(listener, listener.getsockname())
        send(before, 1000, 0)
        with Netmon(*NEVER, "--existing", "--events", "progress,existing") as netmon:
            after = connect_pair(listener, listener.getsockname())
            send(before, 200, 0)
            send(after, 30, 4)
            ended = netmon.stop()
        before.close()
        after.close()
    assert ended.returncode == 0
    (early,) = progress_of(ended.events, before.client_cookie)
    assert (early["bytes_sent"], early["interval_bytes_sent"]) == (1200, 200)
    (late,) = progress_of(ended.events, after.server_cookie)
    assert (late["bytes_sent"], late["bytes_received"]) == (4, 30)


def summed(events: list[Event], pid: int) -> tuple[int, int]:
    """Return the bytes that all flows of a process have sent and received."""
    flows = [event["flow"] for event in events if event["type"] == "NetworkSummary" and event["process"]["pid"] == pid]
    return sum(flow["bytes_sent"] for flow in flows), sum(flow["bytes_received"] for flow in flows)


def wait_for_bytes(netmon: Netmon, count: int) -> None:
    """Wait until summaries say that this process, which has both ends, has sent and received so much."""
    netmon.wait_until(lambda: summed(netmon.events, os.getpid()) == (count, count), f"{count} bytes")


@pytest.mark.core
def test_aggregates_have_the_bytes_of_open_connections_and_each_byte_once() -> None:
    with listen() as listener, Netmon("--aggregate", "1s") as netmon:
        pair = connect_pair(listener, listener.getsockname())
        for carried in (70_000, 90_000):
            send(pair, carried - summed(netmon.events, os.getpid())[0], 0)
            wait_for_bytes(netmon, carried)
        load = subprocess.Popen([PROGRAMS / "close_amid", "-n", "300"], stdout=subprocess.PIPE, text=True)
        output, _ = load.communicate()
        send(pair, 1, 3)
        ended = netmon.stop()
        pair.close()
    periods = [event for event in ended.events if event["process"]["pid"] == os.getpid()]
    assert [event["flow"]["closed"] for event in periods] == [0] * len(periods)
    assert summed(ended.events, os.getpid()) == (90_004, 90_004)
    lines = [list(map(int, line.split())) for line in output.splitlines()]
    assert summed(ended.events, load.pid) == (sum(line[1] for line in lines), sum(line[2] for line in lines))
    assert ", 0 lost" in ended.stderr


MANY = 3000  # connections: more than one part of the walk


@pytest.mark.once
def test_many_open_connections_are_reported_without_a_loss() -> None:
    """The reports fill the ring buffer several times."""
    load = subprocess.Popen(
        [PROGRAMS / "open_sending", str(MANY)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert load.stdin and load.stdout
    with Netmon(*NEVER, "--ring-size", "128K", "--events", "progress") as netmon:
        load.stdin.write("\n")
        load.stdin.flush()
        assert load.stdout.readline() == "open\n"
        ended = netmon.stop()
    load.communicate("\n")
    sums = [(event["network_event"]["bytes_sent"], event["network_event"]["bytes_received"]) for event in ended.events]
    assert (len(sums), {*sums}) == (2 * MANY, {(1, 0), (0, 1)})
    assert ", 0 lost" in ended.stderr

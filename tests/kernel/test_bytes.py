"""The bytes of a close are exact: amid sending and receiving, after resets, and where the kernel sends in vain."""

from __future__ import annotations

import ctypes
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.support.json_events import Event
from tests.support.netmon_command import PROGRAMS, Netmon
from tests.support.sockets import Pair, TcpInfo, carry, connect_pair, fill, listen, receive_all, reset, tcp_info
from tests.support.waiting import wait_until

pytestmark = pytest.mark.netmon_flags("--statistics")

CLONE_NEWNET = 0x40000000

CONNECTIONS = 600  # with two closes each, one at each end


class Carried(NamedTuple):
    """What a connection's end has carried, in bytes."""

    sent: int
    received: int


def closes_of(events: list[Event]) -> dict[int, Carried]:
    """Return what closes say, by cookie."""
    return {
        event["network_event"]["cookie"]: Carried(
            event["network_event"]["bytes_sent"], event["network_event"]["bytes_received"]
        )
        for event in events
        if event["network_event"]["type"] == "TcpConnectionClose"
    }


@pytest.mark.core
@pytest.mark.parametrize(
    "protocol",
    # Before 6.5 an MPTCP connection does not count its bytes.
    ["TCP", pytest.param("MPTCP", marks=pytest.mark.only_on("6.12", "6.18", "newest", "6.12-arm64"))],
)
def test_closes_amid_sending_and_receiving_are_exact(netmon: Netmon, protocol: str) -> None:
    """Each end closes while its kernel is still sending, or as the other end's FIN comes in, on another CPU."""
    flags = ["-m"] if protocol == "MPTCP" else []
    with netmon.watch() as seen:
        done = subprocess.run(
            [PROGRAMS / "close_amid", "-n", str(CONNECTIONS), *flags], check=True, capture_output=True
        )
    lines = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    expected = {cookie: Carried(*carried) for cookie, *carried in lines}
    closes = closes_of(seen)
    wrong = [(closes.get(cookie), carried) for cookie, carried in expected.items() if closes.get(cookie) != carried]
    print(wrong[:10])
    assert (len(wrong), len(expected)) == (0, 2 * CONNECTIONS)


def with_linger(pair: Pair) -> None:
    reset(pair.client)


def after_a_shutdown(pair: Pair) -> None:
    """The FIN waits behind the data."""
    pair.client.shutdown(socket.SHUT_WR)
    reset(pair.client)


def with_unread_data(pair: Pair) -> None:
    pair.server.sendall(b"four")
    wait_until(lambda: tcp_info(pair.client).received == 4, "what the client does not read")
    pair.client.close()


def by_the_peer(pair: Pair) -> None:
    reset(pair.server)
    wait_until(lambda: pair.client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "the reset")
    pair.client.close()


@pytest.mark.core(end=with_linger)
@pytest.mark.parametrize(
    "end", [with_linger, after_a_shutdown, with_unread_data, by_the_peer], ids=lambda end: end.__name__
)
def test_what_a_reset_drops_does_not_count(netmon: Netmon, end: Callable[[Pair], None]) -> None:
    """A reset, by whichever end, drops the data that still waits in the send buffer."""
    with netmon.watch() as seen, listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        written, left = fill(pair)
        end(pair)
        pair.close()
    assert 0 < left < written
    assert closes_of(seen)[pair.client_cookie] == (left, 4 if end is with_unread_data else 0)
    assert closes_of(seen)[pair.server_cookie] == (4 if end is with_unread_data else 0, left)


def test_what_an_orderly_close_leaves_in_the_buffer_counts(netmon: Netmon) -> None:
    with netmon.watch() as seen, listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        written, left = fill(pair)
        pair.client.close()
        assert receive_all(pair.server) == written > left
        pair.server.close()
    assert closes_of(seen)[pair.client_cookie] == (written, 0)
    assert closes_of(seen)[pair.server_cookie] == (0, written)


def over_a_full_queue() -> tuple[Pair, int, TcpInfo]:
    """Send through a queue of this host that is soon full, so that the kernel sends in vain.

    Returns:
        The connection, the bytes sent, and the kernel's counts.
    """
    if ctypes.CDLL(None).unshare(CLONE_NEWNET):
        raise OSError("unshare")
    for command in ("ip link set lo mtu 1500 up", "tc qdisc add dev lo root netem delay 1ms limit 3"):
        subprocess.run(command.split(), check=True)
    with listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
    sent = carry(pair, 300_000)
    return pair, sent, tcp_info(pair.client)


def test_bytes_that_are_sent_in_vain_count_once(netmon: Netmon, modules: None) -> None:
    with netmon.watch() as seen, ThreadPoolExecutor(1) as thread:
        pair, sent, said = thread.submit(over_a_full_queue).result()
        pair.close()
    assert said.sent - said.retransmitted > sent
    assert closes_of(seen)[pair.client_cookie] == (sent, 0)
    assert closes_of(seen)[pair.server_cookie] == (0, sent)

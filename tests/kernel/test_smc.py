"""SMC: the kernel accepts the TCP connection behind its socket in a thread of its own; who takes it is reported."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from netmon import Config
from tests.support.filtered_monitors import Filtered, events_so_far
from tests.support.json_events import Event, endpoints_of, types_of
from tests.support.netmon_command import Netmon

pytestmark = [pytest.mark.only_on("6.1", "6.12"), pytest.mark.usefixtures("modules")]  # Debian's newer ones have no SMC

AF_SMC = 43
FAMILIES = pytest.mark.parametrize("family", [AF_SMC, socket.AF_INET], ids=["SMC", "TCP"])


def open_socket(family: int) -> socket.socket:
    """Return a socket that takes addresses of IPv4, of whichever family it is."""
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, socket.socket(family, socket.SOCK_STREAM).detach())


def listen_on_smc() -> socket.socket:
    listener = open_socket(AF_SMC)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def accept_one(family: int) -> tuple[object, ...]:
    """Connect to an SMC socket, which falls back to TCP; accept, and close both. Return the accepted end's ends."""
    with listen_on_smc() as listener, open_socket(family) as client:
        client.connect(listener.getsockname())
        server, peer = listener.accept()
        ends = (*server.getsockname(), *peer)
        client.sendall(b"four")
        assert server.recv(5) == b"four"
        server.close()
    return ends


def check(seen: list[Event], ends: tuple[object, ...]) -> list[Event]:
    """Check that this process has accepted and closed; return both events."""
    mine = [event for event in seen if endpoints_of(event) == ends]
    assert types_of(mine) == ["Accept", "Close"]
    assert {(event["process"]["pid"], event["process"]["tid"]) for event in mine} == {(os.getpid(), os.getpid())}
    return mine


@FAMILIES
def test_the_process_that_takes_a_connection_has_accepted_it(netmon: Netmon, family: int) -> None:
    with netmon.watch() as seen:
        ends = accept_one(family)
    check(seen, ends)
    assert len(seen) == 4


@pytest.mark.netmon_flags("--statistics", "--outcome", "--opener")
def test_it_has_all_details(netmon: Netmon) -> None:
    with netmon.watch() as seen:
        ends = accept_one(socket.AF_INET)
    close = check(seen, ends)[1]["network_event"]
    assert (close["bytes_sent"], close["bytes_received"], close["closed_by"]) == (0, 4, "local")
    assert "opener" not in close


def test_a_connection_that_nobody_takes_is_not_reported(netmon: Netmon) -> None:
    with netmon.watch() as seen, socket.socket() as client:
        client.settimeout(2)
        with listen_on_smc() as listener:
            client.connect(listener.getsockname())
        # Whether the kernel's thread had accepted it by then or not, and whether it noticed the end.
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            assert client.recv(1) == b""
    assert types_of(seen) == ["Establish", "Close"]


def test_filters_judge_the_process(filtered: Filtered) -> None:
    """And not the thread of the kernel, which has no executable."""
    path = str(Path("/proc/self/exe").readlink())
    for deny, expected in ((False, 2), (True, 0)):
        process_filter = {"deny_list": deny, "binary": {"path": [path]}}
        monitor = filtered(Config.from_dict({"ingress": {"enabled": True}, "process_filter": process_filter}))
        accept_one(socket.AF_INET)
        assert len(events_so_far(monitor)) == expected

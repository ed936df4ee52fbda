"""The option sni: which TLS clients give a connection a name, in whatever way they send their hello."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from netmon import Config, Losses, Monitor
from netmon.events import TcpConnection
from tests.support.hellos import ENCRYPTED_HELLO, extension, hello, in_records, message, openssl_hello, server_name
from tests.support.waiting import DEADLINE

IPPROTO_MPTCP, TCP_FASTOPEN_CONNECT = 262, 30
TCP_FASTOPEN = Path("/proc/sys/net/ipv4/tcp_fastopen")
ALL_FAST = str(0x1 | 0x2 | 0x4 | 0x200)  # client and server, both without a cookie
OPTIONS = {"plain": {}, "with all": {"outcome": True, "statistics": True, "names": True, "context": True}}

Client = Callable[[tuple[str, int]], object]


class Case(NamedTuple):
    """A client, and the name that its connection has."""

    client: Client
    name: str | None
    to: str = "127.0.0.1"
    ech: bool = False


def sends(*pieces: bytes, protocol: int = 0) -> Client:
    """Return a client that sends pieces, each by a call of its own."""

    def run(to: tuple[str, int]) -> None:
        family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM, protocol) as sock:
            sock.connect(to)
            for piece in pieces:
                sock.sendall(piece)

    return run


def gathers(*pieces: bytes) -> Client:
    """Return a client that sends pieces by one call."""

    def run(to: tuple[str, int]) -> None:
        with socket.create_connection(to) as sock:
            sock.sendmsg(pieces)

    return run


def python(to: tuple[str, int]) -> None:
    """Connect as Python's programs do."""
    context = ssl.create_default_context()
    with suppress(OSError), socket.create_connection(to) as sock:
        context.wrap_socket(sock, server_hostname="python.test")


def curl(to: tuple[str, int]) -> None:
    """Connect as curl does."""
    where = ("--resolve", f"curl.test:{to[1]}:{to[0]}")
    subprocess.run(["curl", "--silent", *where, f"https://curl.test:{to[1]}/"], check=False, timeout=2 * DEADLINE)


def opens_fast(to: tuple[str, int]) -> None:
    """Send the hello in the SYN."""
    with socket.socket() as sock:
        sock.sendto(hello("fast.test"), socket.MSG_FASTOPEN, to)


def opens_late(to: tuple[str, int]) -> None:
    """Have connect() send nothing."""
    with socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        sock.connect(to)
        sock.sendall(hello("late.test"))


def sends_file(to: tuple[str, int]) -> None:
    """Send a hello that is in no process's memory."""
    with tempfile.TemporaryFile() as file, socket.create_connection(to) as sock:
        file.write(hello("file.test"))
        file.flush()
        os.sendfile(sock.fileno(), file.fileno(), 0, 1 << 16)


def does_not_wait(to: tuple[str, int]) -> None:
    """Send as soon as the socket lets it, not having waited for connect()."""
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.connect_ex(to)
        sock.setblocking(True)
        sock.sendall(hello("hasty.test"))


WHOLE = hello("two.test")
CASES = {
    "Python": Case(python, "python.test"),
    "curl": Case(curl, "curl.test"),
    "OpenSSL over IPv6": Case(sends(openssl_hello("six.test")), "six.test", to="::1"),
    "not blocking": Case(does_not_wait, "hasty.test"),
    "two writes": Case(sends(WHOLE[:60], WHOLE[60:]), "two.test"),
    "the header by itself": Case(sends(WHOLE[:5], WHOLE[5:7], WHOLE[7:]), "two.test"),
    "one call with three buffers": Case(gathers(WHOLE[:5], WHOLE[5:50], WHOLE[50:]), "two.test"),
    "two records": Case(sends(in_records(message(server_name(b"records.test")), 50)), "records.test"),
    "4 KB": Case(sends(hello("long.test", padding=4000)), "long.test"),
    "4 KB in two writes": Case(
        sends(*(hello("Long2.test", padding=4000)[at : at + 3000] for at in (0, 3000))), "long2.test"
    ),
    "ECH": Case(sends(hello("outer.test", more=extension(ENCRYPTED_HELLO, bytes(200)))), "outer.test", ech=True),
    "MPTCP": Case(sends(WHOLE, protocol=IPPROTO_MPTCP), "two.test"),
    "MPTCP in two writes": Case(sends(WHOLE[:60], WHOLE[60:], protocol=IPPROTO_MPTCP), "two.test"),
    "fast open": Case(opens_fast, "fast.test"),
    "fast open by connect()": Case(opens_late, "late.test"),
    "no name": Case(sends(openssl_hello(None)), None),
    "not TLS": Case(sends(b"GET / HTTP/1.1\r\n\r\n", WHOLE), None),
    "a file": Case(sends_file, None),
    "control bytes": Case(sends(hello("a\x1b]0;x\x07.test")), None),
    "an address": Case(sends(hello("192.0.2.1")), None),
    "more than is read": Case(sends(hello("far.test", padding=9000)), None),
    "the first byte by itself": Case(sends(WHOLE[:1], WHOLE[1:]), None),
}
UNUSED = 3  # of control bytes, an address, more than is read
LOST = 1  # of one byte


class Scene(NamedTuple):
    """What was reported of each case, and what was lost."""

    events: dict[str, list[TcpConnection]]
    losses: Losses


@contextmanager
def server() -> Iterator[int]:
    """Read what is sent, until the client ends; return the port."""
    before = TCP_FASTOPEN.read_text()
    TCP_FASTOPEN.write_text(ALL_FAST)
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)

        def serve() -> None:
            for _ in CASES:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(DEADLINE)
                    if connection.recv(1 << 16)[:1] == b"\x16":
                        connection.sendall(b"\x15\3\3\0\2\2\x28")  # the alert that a handshake failed
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 16):
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(DEADLINE)
    TCP_FASTOPEN.write_text(before)


@pytest.fixture(scope="module", params=OPTIONS)
def scene(request: pytest.FixtureRequest) -> Scene:
    """All cases, one after another, as one monitor sees them."""
    report = {"sni": True, **OPTIONS[request.param]}
    config = Config.from_dict({"egress": {"enabled": True}, "report": report})
    seen: list[TcpConnection] = []
    with server() as port, Monitor(config, any_kernel=True) as monitor:
        for case in CASES.values():
            with suppress(OSError):
                case.client((case.to, port))
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            events = (event.network_event for event in monitor.connection_events(timeout=0.5))
            seen += [event for event in events if event.dport == port]
            if sum(event.type == "TcpConnectionClose" for event in seen) == len(CASES):
                break
        losses = monitor.losses
    by_cookie: dict[int, list[TcpConnection]] = {}
    for event in seen:
        by_cookie.setdefault(event.cookie, []).append(event)
    return Scene(dict(zip(CASES, by_cookie.values(), strict=True)), losses)


@pytest.mark.parametrize("title", CASES)
def test_a_connection_has_the_name_that_its_client_announces(scene: Scene, title: str) -> None:
    case, events = CASES[title], scene.events[title]
    between = ["TcpConnectionName"] * (case.name is not None)
    assert [event.type for event in events] == ["TcpConnectionEstablish", *between, "TcpConnectionClose"]
    opening, *named = events
    assert opening.names is None
    for event in named:
        found = [(name.name, name.source, name.scope, name.ech) for name in event.names or ()]
        assert found == [(case.name, "sni", "connection", case.ech or None)] * (case.name is not None)
        assert (event.saddr, event.sport, event.daddr, event.dport) == (
            *(opening.saddr, opening.sport),
            *(opening.daddr, opening.dport),
        )


def test_hellos_that_gave_no_name_are_counted(scene: Scene) -> None:
    assert (scene.losses.hellos_unused, scene.losses.hellos_lost) == (UNUSED, LOST)
    assert scene.losses.total == 0

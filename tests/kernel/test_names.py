"""The option names: which answers of name servers give a connection its names, whose they are, and which do not."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from netmon import Config, Losses, Monitor
from netmon.events import TcpConnection
from tests.support.name_server import NameServer, wire_name
from tests.support.netmon_command import PROGRAMS, Netmon
from tests.support.waiting import DEADLINE

ASK = PROGRAMS / "ask"
GROUP = Path("/sys/fs/cgroup/names")
SERVER, SERVER6, ELSEWHERE = ("127.0.0.53", 53), ("::1", 53), ("127.0.0.53", 5353)
DISCARD = 9  # the port, where nobody listens
NET, NET6 = "198.51.100.{}", "2001:db8::{}"
DNSMASQ = "127.0.0.55"
ASYNCIO = """
import asyncio, contextlib, socket
with contextlib.suppress(OSError):
    asyncio.run(asyncio.open_connection("asyncio.test", 9, family=socket.AF_INET))
"""
C_ARES = """
import pycares, select, socket
found = []
channel = pycares.Channel(servers=["127.0.0.53"])
channel.query("cares.test", pycares.QUERY_TYPE_A, lambda answer, error: found.extend(answer or ()))
while not found:
    read, write = channel.getsock()
    ready, writable, _ = select.select(read, write, [], 1)
    for fd in ready or [pycares.ARES_SOCKET_BAD]:
        channel.process_fd(fd, pycares.ARES_SOCKET_BAD)
socket.socket().connect_ex((found[0].host, 9))
"""
DNSPYTHON = """
import dns.message, dns.query, socket
answer = dns.query.{how}(dns.message.make_query("{name}", "A"), "{server}", timeout=9)
socket.socket().connect_ex((answer.answer[-1][0].address, 9))
"""
PYTHON = "import socket; socket.socket(socket.{}).connect_ex(socket.getaddrinfo('{}', 9)[0][4])"


class Case(NamedTuple):
    """A client, and the names that its connection has: name and scope."""

    command: tuple[str, ...]
    peer: str
    names: tuple[tuple[str, str], ...] = ()
    zone: Mapping[str, list[str]] = MappingProxyType({})
    in_group: bool = False


def ask(how: str, number: int, *names: tuple[str, str], server: tuple[str, int] = SERVER, net: str = NET) -> Case:
    """Return a case of the C program, which asks for a name of its own."""
    peer, name = net.format(number), f"{how}{number}.test"
    return Case((str(ASK), how, server[0], str(server[1]), name, peer), peer, names, {name: [peer]})


def told(how: str, number: int, scope: str = "process", **options: Any) -> Case:
    """Return a case in which the answer is seen."""
    return ask(how, number, (f"{how}{number}.test", scope), **options)


def script(code: str, number: int, name: str, *, is_named: bool = True) -> Case:
    """Return a case of a program in Python."""
    peer = NET.format(number)
    names = ((name, "process"),) if is_named else ()
    return Case((sys.executable, "-c", code), peer, names, {name: [peer]})


def by_dnspython(how: str, number: int, name: str, server: str = SERVER[0], *, is_named: bool = True) -> Case:
    """Return a case of dnspython."""
    return script(DNSPYTHON.format(how=how, name=name, server=server), number, name, is_named=is_named)


def literal(peer: str, *names: tuple[str, str], in_group: bool = False) -> Case:
    """Return a case in which the program asks nobody."""
    return Case((str(ASK), "-", "-", "0", "-", peer), peer, names, in_group=in_group)


# In this order: what an earlier one was told may name the connection of a later one.
CASES = {
    "glibc": Case(
        (sys.executable, "-c", PYTHON.format("AF_INET", "glibc.test")),
        NET.format(1),
        (("glibc.test", "process"),),
        {"glibc.test": [NET.format(1)]},
    ),
    "an alias of an alias": Case(
        (sys.executable, "-c", PYTHON.format("AF_INET", "www.alias.test")),
        NET.format(2),
        (("www.alias.test", "process"),),
        {"www.alias.test": ["cdn.alias.test"], "cdn.alias.test": [NET.format(2)]},
    ),
    "threads of curl": Case(
        ("curl", "--silent", "http://curl.test:9/"),
        NET.format(3),
        (("curl.test", "process"),),
        {"curl.test": [NET.format(3)]},
    ),
    "musl": Case(
        (str(PROGRAMS / "resolve_musl"), "musl.test"),
        NET.format(5),
        (("musl.test", "process"),),
        {"musl.test": [NET.format(5)]},
    ),
    "asyncio": script(ASYNCIO, 6, "asyncio.test"),
    "c-ares": script(C_ARES, 7, "cares.test"),
    "dnspython": by_dnspython("udp", 8, "dnspython.test"),
    "dnsmasq": by_dnspython("udp", 9, "dnsmasq.test", DNSMASQ),
    "by TCP": by_dnspython("tcp", 19, "tcp.test", is_named=False),
    "a file": Case((sys.executable, "-c", PYTHON.format("AF_INET", "file.test")), NET.format(4)),
    "not connected": told("recvfrom", 10),
    "connected": told("recv", 11),
    "a buffer filled to its end": told("full", 12),
    "the first of two buffers": told("two", 13),
    "recvmmsg": told("recvmmsg", 14),
    "a server at IPv6": told("recvfrom", 15, server=SERVER6),
    "an address of IPv6": told("recv", 16, server=SERVER6, net=NET6),
    "its child connects": told("fork", 17, "ancestor"),
    "nobody asks for the sender": ask("nobody", 20),
    "many buffers": ask("pieces", 21),
    "a short buffer": ask("short", 22),
    "peeked at alone": ask("peek", 23),
    "another port": ask("recv", 24, server=ELSEWHERE),
    "an answer that is truncated": ask("recv", 25),
    "a loopback address": ask("recv", 77, net="127.0.0.{}"),
    "one of its cgroup asks": told("recv", 30)._replace(in_group=True),
    "another of the cgroup": literal(NET.format(30), ("recv30.test", "cgroup"), in_group=True),
    "one outside of it": literal(NET.format(30), ("recv30.test", "netns")),
    "what it was told itself": Case(
        (str(ASK), "recv", *map(str, SERVER), "other.test", NET.format(30)),
        NET.format(30),
        (("other.test", "process"),),
        {"other.test": [NET.format(30)]},
    ),
    "both names of an address": literal(NET.format(30), ("other.test", "netns"), ("recv30.test", "netns")),
}
TRUNCATED = "recv25.test"


class Scene(NamedTuple):
    """What was reported of each case, and what was lost."""

    events: dict[str, tuple[TcpConnection, TcpConnection]]  # the opening and the close
    losses: Losses


@contextmanager
def addresses() -> Iterator[None]:
    """Give the guest the addresses of the cases."""
    wanted = (f"{NET.format(1)}/24", f"{NET6.format(16)}/128")
    for address in wanted:
        subprocess.run(["ip", "address", "replace", address, "dev", "lo"], check=True)
    yield
    for address in wanted:
        subprocess.run(["ip", "address", "delete", address, "dev", "lo"], check=True)


@contextmanager
def dnsmasq() -> Iterator[None]:
    """Run dnsmasq, which asks the test's name server."""
    flags = ("--no-resolv", "--no-hosts", "--bind-interfaces", f"--server={SERVER[0]}", f"--listen-address={DNSMASQ}")
    command = ["dnsmasq", "--keep-in-foreground", "--pid-file=", "--user=root", *flags]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + DEADLINE
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((DNSMASQ, 53))
            sock.settimeout(0.2)
            while time.monotonic() < deadline:
                with suppress(OSError):  # refused, until it listens
                    sock.send(bytes(2) + b"\1\0\0\1" + bytes(6) + wire_name("dnsmasq.test") + b"\0\1\0\1")
                    sock.recv(512)
                    break
        yield
        process.terminate()


@contextmanager
def resolver() -> Iterator[None]:
    """Have the guest ask the test's name server for names."""
    files = {
        Path("/etc/resolv.conf"): f"nameserver {SERVER[0]}\n",
        Path("/etc/nsswitch.conf"): "hosts: files dns\n",
        Path("/etc/hosts"): f"127.0.0.1 localhost\n{NET.format(4)} file.test\n",
    }
    before = {path: path.read_text() if path.exists() else None for path in files}
    for path, text in files.items():
        path.write_text(text)
    zone = {name: addresses for case in CASES.values() for name, addresses in case.zone.items()}
    with addresses(), NameServer(zone, TRUNCATED).serving(SERVER, SERVER6, ELSEWHERE), dnsmasq():
        yield
    for path, was in before.items():
        path.unlink() if was is None else path.write_text(was)


def run(case: Case) -> None:
    """Run a client to its end."""

    def join() -> None:
        (GROUP / "cgroup.procs").write_text("0")

    subprocess.run(case.command, preexec_fn=join if case.in_group else None, timeout=2 * DEADLINE, check=False)


@pytest.fixture(scope="module")
def scene() -> Scene:
    """All cases, one after another, as one monitor sees them."""
    GROUP.mkdir(exist_ok=True)
    config = Config.from_dict({"egress": {"enabled": True}, "report": {"names": True}})
    seen: list[TcpConnection] = []
    with resolver(), Monitor(config, any_kernel=True) as monitor:
        for case in CASES.values():
            run(case)
        deadline = time.monotonic() + DEADLINE
        while len(seen) < 2 * len(CASES) and time.monotonic() < deadline:
            events = (event.network_event for event in monitor.connection_events(timeout=0.5))
            seen += [event for event in events if event.dport == DISCARD]
        losses = monitor.losses
    GROUP.rmdir()
    openings = [event for event in seen if event.type == "TcpConnectionEstablish"]
    closes = {event.cookie: event for event in seen if event.type == "TcpConnectionClose"}
    pairs = [(opening, closes[opening.cookie]) for opening in openings]
    return Scene(dict(zip(CASES, pairs, strict=True)), losses)


@pytest.mark.parametrize("title", CASES)
def test_a_connection_has_the_names_that_lead_to_it(scene: Scene, title: str) -> None:
    opening, close = scene.events[title]
    case, names = CASES[title], opening.names or []
    assert opening.daddr == case.peer
    assert tuple((name.name, name.scope) for name in names) == case.names
    assert all(name.source == "dns" and 0 <= (name.age_ms or 0) < 1000 * DEADLINE for name in names)
    assert close.names == opening.names


def test_answers_that_gave_no_name_are_counted(scene: Scene) -> None:
    """The one in many buffers, those that were cut short, and the one that was truncated."""
    assert (scene.losses.answers_lost, scene.losses.answers_unused) == (1, 2)


@pytest.mark.once
def test_the_command_names_and_filters_with_few_rights() -> None:
    """It has given up its rights when it reads the first answer."""
    named, nameless = told("recv", 40), literal(NET.format(41))
    zone = NameServer({**named.zone})
    with addresses(), zone.serving(SERVER), Netmon("--egress", "--domain", "*.test", "--each") as netmon:
        for case in (nameless, named):
            run(case)
        netmon.wait_until(lambda: len(netmon.events) == 2, "both events of the connection with a name")
        ended = netmon.stop()
    assert [event["network_event"]["names"][0]["name"] for event in ended.events] == ["recv40.test"] * 2
    assert ": 2 events, 0 lost" in ended.stderr

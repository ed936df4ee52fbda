"""Filters of ports, network namespaces, cgroups and containers, in the kernel: against tests/support/filter_model.py.

One monitor gets one configuration after another. Each is in force when Monitor.reload() returns.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from netmon import Config, Monitor
from netmon.layout import Direction
from tests.support.filter_model import Program, Socket, container_id_of, passes
from tests.support.filtered_monitors import Filtered, events_so_far
from tests.support.sockets import connect_pair, cookie_of, listen, reset
from tests.support.strategies import ID, IN_CONTAINER, ON_THE_HOST, OTHER_ID

CGROUPS = Path("/sys/fs/cgroup")
BLUE = Path("/run/netns/blue")
HERE = Path("/proc/self/ns/net")
CLONE_NEWNET = 0x40000000

Reported = tuple[int, str]  # the cookie and the type of an event


class End(NamedTuple):
    """One end of a connection that was opened and closed, with everything that filters match."""

    cookie: int
    direction: Direction
    saddr: str
    daddr: str
    socket: Socket
    program: Program

    def expected(self, config: Config) -> set[Reported]:
        """Return the events that this end must have."""
        if not passes(config, self.direction, self.saddr, self.daddr, self.program, self.socket):
            return set()
        opening = "Accept" if self.direction == Direction.INGRESS else "Establish"
        return {(self.cookie, f"TcpConnection{opening}"), (self.cookie, "TcpConnectionClose")}


def this_program(cgroup: str = "/") -> Program:
    auid = int(Path("/proc/self/loginuid").read_text())
    path = bytes(Path("/proc/self/exe").readlink())
    return Program(os.getuid(), os.geteuid(), auid, path, cgroup, container_id_of(cgroup))


def config_with(ingress: Any = None, egress: Any = None, **parts: Any) -> Config:
    """Return a configuration of both directions, with these filters."""
    directions = {"ingress": {"enabled": True, **(ingress or {})}, "egress": {"enabled": True, **(egress or {})}}
    return Config.from_dict({**directions, **parts})


def assert_reported_as_modelled(
    filtered: Filtered,
    configs: list[Config],
    make: Callable[[], list[End]],
    as_modelled: Callable[[Config], Config] = lambda c: c,
) -> None:
    """Make the same connections under each configuration, and compare their events with the model's."""
    for config in configs:
        monitor = filtered(config)
        expected: set[Reported] = set().union(*(end.expected(as_modelled(config)) for end in make()))
        reported = [(event.network_event.cookie, event.network_event.type) for event in events_so_far(monitor)]
        assert monitor.losses.total == 0
        assert len(reported) == len(set(reported))
        assert set(reported) == expected


def both_ends(client: socket.socket, server: socket.socket, program: Program, netns: int = 1) -> list[End]:
    """Return the ends of a connection, and reset it, so that its ports can be used again."""
    (saddr, sport, *_), (daddr, dport, *_) = client.getsockname(), client.getpeername()
    ends = [
        End(cookie_of(client), Direction.EGRESS, saddr, daddr, Socket(sport, dport, netns), program),
        End(cookie_of(server), Direction.INGRESS, daddr, saddr, Socket(dport, sport, netns), program),
    ]
    reset(client)
    server.close()
    return ends


def connect(listener: socket.socket, address: str, source_port: int = 0) -> tuple[socket.socket, socket.socket]:
    """Connect to a listener at an address, and accept."""
    client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind((address, source_port))
    client.connect((address, listener.getsockname()[1]))
    return client, listener.accept()[0]


SOURCES, DESTINATIONS = (7001, 7002), (8001, 8002)
PORT_FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [  # for ingress, for egress
    ({"src_port": [8001]}, {"dst_port": [8002]}),
    ({"dst_port": [7001]}, {"src_port": [7002]}),
    ({"src_port": ["8002-65535"]}, {"dst_port": ["0-8001"]}),
    ({"src_port": [8001, 7001], "dst_port": [7001, 8001]}, {"src_port": ["7002-7003"], "dst_port": [8001]}),
    (
        {"src_port": [8001], "dst_port": ["7002-7003"], "match": "all"},
        {"src_port": [7001], "dst_port": [8002], "match": "all"},
    ),
    ({"dst_port": [8001, 8002]}, {"src_port": [7003, 8000, 8003, 65535]}),
]


def test_port_filters_agree_with_the_model(filtered: Filtered) -> None:
    """In both families and for IPv4 addresses through IPv6 sockets; lists that allow or deny; with address filters."""
    configs = [
        config_with(*({"port_filter": {**filter_, "deny_list": deny_list}} for filter_ in filters))
        for filters in PORT_FILTERS
        for deny_list in (False, True)
    ]
    loopback = {"ipv4_filter": {"src_ip": ["127.0.0.0/8"]}, "ipv6_filter": {"src_ip": ["::1"], "deny_list": True}}
    configs.append(config_with(egress={"port_filter": {"dst_port": [8001]}, **loopback}))
    configs.append(config_with())
    listeners = [
        socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        for port in DESTINATIONS
    ]

    def make() -> list[End]:
        return [
            end
            for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
            for source, listener in itertools.product(SOURCES, listeners)
            for end in both_ends(*connect(listener, address, source), this_program())
        ]

    try:
        assert_reported_as_modelled(filtered, configs, make)
    finally:
        for listener in listeners:
            listener.close()


@pytest.fixture(scope="module")
def blue() -> Iterator[Path]:
    """A network namespace named blue."""
    subprocess.run(["ip", "netns", "add", "blue"], check=True)
    subprocess.run(["ip", "-n", "blue", "link", "set", "lo", "up"], check=True)
    yield BLUE
    subprocess.run(["ip", "netns", "delete", "blue"], check=True)


@contextmanager
def within(namespace: Path) -> Iterator[None]:
    """Run this thread in another network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.open(HERE, os.O_RDONLY)
    there = os.open(namespace, os.O_RDONLY)
    try:
        assert libc.setns(there, CLONE_NEWNET) == 0
        yield
    finally:
        assert libc.setns(here, CLONE_NEWNET) == 0
        os.close(here)
        os.close(there)


def inode_of(namespace: Path) -> int:
    return namespace.stat().st_ino


def test_the_sockets_network_namespace_is_filtered(filtered: Filtered, blue: Path) -> None:
    """The namespace in which the socket was created counts, not the one of the process."""
    by_number = {str(path): inode_of(path) for path in (HERE, BLUE)}
    lists: list[list[int | str]] = [[str(BLUE)], [inode_of(BLUE)], [str(HERE)], [str(HERE), inode_of(BLUE)], [7]]
    netns_filters = [{"netns": netns, "deny_list": deny_list} for netns in lists for deny_list in (False, True)]
    configs = [config_with(netns_filter=netns_filter) for netns_filter in netns_filters]

    def numbered(config: Config) -> Config:
        """Replace paths by inode numbers, which are all that the model knows."""
        data = config.to_dict()
        data["netns_filter"]["netns"] = [by_number.get(str(item), item) for item in data["netns_filter"]["netns"]]
        return Config.from_dict(data)

    def make() -> list[End]:
        ends = []
        for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            with listen(address, family) as listener:
                ends += both_ends(*connect(listener, address), this_program(), inode_of(HERE))
            with within(blue):
                listener, client = listen(address, family), socket.socket(family)
            with listener:
                client.connect(listener.getsockname())  # the process is in another namespace than its socket
                ends += both_ends(client, listener.accept()[0], this_program(), inode_of(BLUE))
        return ends

    assert_reported_as_modelled(filtered, configs, make, numbered)


def test_a_program_in_a_network_namespace_is_reported(filtered: Filtered, blue: Path) -> None:
    """Curl runs in the namespace of the filter, and outside of it."""
    monitor = filtered(config_with(netns_filter={"netns": [str(blue)]}))
    for command in ([], ["ip", "netns", "exec", "blue"]):
        child = subprocess.Popen([*command, "curl", "-s", "http://127.0.0.1:1/", "http://[::1]:1/"])
        child.wait()
    events = events_so_far(monitor)
    reported = {(event.process.pid, event.process.filename, event.network_event.daddr) for event in events}
    assert reported == {(child.pid, "curl", "127.0.0.1"), (child.pid, "curl", "::1")}


@contextmanager
def in_cgroup(path: str) -> Iterator[None]:
    """Run this process in a cgroup, which is created."""
    directory = CGROUPS / path.lstrip("/")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cgroup.procs").write_text("0")
    try:
        yield
    finally:
        (CGROUPS / "cgroup.procs").write_text("0")


def connect_in_cgroups(paths: list[str]) -> list[End]:
    """Connect in each cgroup: the process's verdict must not be kept from the one before."""
    ends = []
    for path in paths:
        with in_cgroup(path), listen() as listener:
            ends += both_ends(*connect(listener, "127.0.0.1"), this_program(path or "/"))
    return ends


def process_filters(filters: list[dict[str, Any]]) -> list[Config]:
    """Return a configuration that allows and one that denies what each filter matches."""
    return [
        config_with(process_filter={**filter_, "deny_list": deny_list})
        for filter_ in filters
        for deny_list in (False, True)
    ]


DEEP = "/deep" + "/x" * 150  # deeper than a path in a list can be
LONG = "/" + "l" * 254  # the longest path that a list takes


def test_cgroup_filters_agree_with_the_model(filtered: Filtered) -> None:
    """A path matches itself and all below it. It is compared as text: the cgroup need not exist yet."""
    configs = process_filters(
        [
            {"cgroup": ["/system.slice"]},
            {"cgroup": ["/system.slice/ssh.service", "/absent"]},
            {"cgroup": ["/"]},
            {"cgroup": ["/deep/x/x", LONG]},
            {"cgroup": ["/" + "x" * 200]},
            {"cgroup": ["/system.slice"], "uid": [os.getuid()]},
            {"cgroup": ["/system.slice"], "uid": [os.getuid() + 1]},
            {"cgroup": ["/system.slice"], "binary": {"prefix": ["/usr/"]}},
        ]
    )
    paths = ["/", "/system.slice", "/system.slice/ssh.service", "/system.slicefoo", "/x/system.slice", DEEP, LONG]
    assert_reported_as_modelled(filtered, configs, lambda: connect_in_cgroups([*paths, LONG + "l", "/deep"]))


def test_the_container_of_an_event_agrees_with_the_model(filtered: Filtered) -> None:
    monitor = filtered(config_with())
    ends = connect_in_cgroups([*IN_CONTAINER, *ON_THE_HOST])
    reported = {event.network_event.cookie: event.process.container_id for event in events_so_far(monitor)}
    assert reported == {end.cookie: end.program.container_id for end in ends}
    assert len([end for end in ends if end.program.container_id == ID]) == 2 * len(IN_CONTAINER)


def test_container_filters_agree_with_the_model(filtered: Filtered) -> None:
    lists = [[ID], [OTHER_ID[:12], "f" * 12]]
    configs = process_filters([{"container_id": container_ids} for container_ids in lists])
    assert_reported_as_modelled(filtered, configs, lambda: connect_in_cgroups([*IN_CONTAINER, *ON_THE_HOST]))


def test_deeply_nested_cgroups_do_not_hide_their_container(filtered: Filtered) -> None:
    """Their path is longer than the event's record and /proc hold."""
    path = f"/docker-{ID}.scope" + f"/{'n' * 200}" * 4 + "/x" * 60
    monitor = filtered(process_filters([{"container_id": [ID]}])[0])
    with in_cgroup(path), listen() as listener:
        both_ends(*connect(listener, "127.0.0.1"), this_program())
    assert len(events_so_far(monitor)) == 4


def test_a_program_in_a_container_is_reported(filtered: Filtered) -> None:
    """Curl runs in a container's cgroup and beside it; the container is created after the start."""
    directory = CGROUPS / f"kubepods/cri-containerd-{OTHER_ID}.scope"
    process_filter = {"cgroup": ["/kubepods"], "container_id": [OTHER_ID[:12]], "binary": {"name": ["curl"]}}
    monitor = filtered(config_with(process_filter=process_filter))
    directory.mkdir(parents=True)
    for place in (directory.parent, directory):
        script = f"echo $$ > {place}/cgroup.procs; exec curl -s http://127.0.0.1:1/"
        child = subprocess.Popen(["sh", "-c", script])
        child.wait()
    reported = [(event.process.pid, event.process.container_id) for event in events_so_far(monitor)]
    assert reported == [(child.pid, OTHER_ID)] * 2


def hold(namespace: Path, cgroup: Path, port: int, test: socket.socket) -> None:
    """Hold a connection to a port, in a network namespace and a cgroup, until the test closes its socket."""
    (cgroup / "cgroup.procs").write_text("0")
    with within(namespace), listen(port=port) as listener:
        pair = connect_pair(listener, listener.getsockname())
        test.send(b"connected")
        test.recv(1)
        pair.close()


@contextmanager
def holder(namespace: Path, cgroup: Path, port: int) -> Iterator[int]:
    """Run hold() in a child; yield its process id."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ours.close()
            hold(namespace, cgroup, port, theirs)
            code = 0
        finally:
            os._exit(code)
    theirs.close()
    with ours:
        assert ours.recv(100) == b"connected"
        yield child
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.core
def test_filters_apply_to_connections_open_at_the_start(blue: Path) -> None:
    """Other processes hold them, and netmon finds them by iterating over sockets."""
    place = CGROUPS / f"machine.slice/libpod-{ID}.scope"
    place.mkdir(parents=True, exist_ok=True)
    config = config_with(
        egress={"port_filter": {"dst_port": ["8001-8002"]}},
        ingress={"port_filter": {"src_port": [8001, 8003]}},
        netns_filter={"netns": [str(blue)]},
        process_filter={"container_id": [ID], "cgroup": ["/machine.slice"]},
        report={"existing": True},
    )
    with (
        holder(blue, place, 8001) as first,
        holder(blue, place, 8002) as second,
        holder(blue, CGROUPS, 8003),
        holder(HERE, place, 8001),
        Monitor(config, any_kernel=True) as monitor,
    ):
        monitor.stop()
        reported = {(e.process.pid, e.network_event.sport, e.network_event.dport) for e in monitor}
    assert {(pid, sport if sport < 9000 else 0, dport if dport < 9000 else 0) for pid, sport, dport in reported} == {
        (first, 0, 8001),
        (first, 8001, 0),
        (second, 0, 8002),
    }


def test_filters_apply_to_connects_that_fail_immediately(blue: Path) -> None:
    """The namespace has no route, so there is no connection, only the address asked for."""
    config = config_with(
        egress={"port_filter": {"dst_port": [443]}},
        netns_filter={"netns": [str(blue)]},
        report={"outcome": True},
    )
    cookies = []
    with Monitor(config, any_kernel=True) as monitor:
        for namespace, address, port in itertools.product((HERE, blue), ("192.0.2.1", "2001:db9::1"), (443, 444)):
            with within(namespace):
                client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            if namespace == blue and port == 443:
                cookies.append(cookie_of(client))
            with client, pytest.raises(OSError, match="unreachable"):
                client.connect((address, port))
        monitor.stop()
        assert [event.network_event.cookie for event in monitor] == cookies

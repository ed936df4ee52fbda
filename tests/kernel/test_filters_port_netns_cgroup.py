"""The kernel's verdicts on ports, network namespaces, cgroups and containers, against the model (tests/unit/model.py).

One monitor judges by one configuration after another: each is in force when Monitor.reload() returns, and what was made
under it is told by its cookies.
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
from netmon.decode.format import container_id_of
from netmon.layout import Direction
from tests.support.filter_model import Program, Socket, passes
from tests.support.sockets import cookie_of, listen, reset
from tests.support.strategies import ID, IN_CONTAINER, ON_THE_HOST, OTHER_ID

CGROUPS = Path("/sys/fs/cgroup")
BLUE = Path("/run/netns/blue")
HERE = Path("/proc/self/ns/net")
CLONE_NEWNET = 0x40000000

Told = tuple[int, str]  # a cookie and a type of event


class End(NamedTuple):
    """One end of a connection that was made and closed, and what filters could look at."""

    cookie: int
    direction: Direction
    saddr: str
    daddr: str
    socket: Socket
    program: Program

    def told(self, config: Config) -> set[Told]:
        """Return what must be reported of it."""
        if not passes(config, self.direction, self.saddr, self.daddr, self.program, self.socket):
            return set()
        opening = "Accept" if self.direction == Direction.INGRESS else "Establish"
        return {(self.cookie, f"TcpConnection{opening}"), (self.cookie, "TcpConnectionClose")}


def this_program(cgroup: str = "/") -> Program:
    auid = int(Path("/proc/self/loginuid").read_text())
    path = bytes(Path("/proc/self/exe").readlink())
    return Program(os.getuid(), os.geteuid(), auid, path, cgroup, container_id_of(cgroup))


def config_with(ingress: Any = None, egress: Any = None, **parts: Any) -> Config:
    """Return a configuration of both directions, with filters in each."""
    directions = {"ingress": {"enabled": True, **(ingress or {})}, "egress": {"enabled": True, **(egress or {})}}
    return Config.from_dict({**directions, **parts})


def judge(
    configs: list[Config], make: Callable[[], list[End]], as_modelled: Callable[[Config], Config] = lambda c: c
) -> None:
    """Make the same connections under each configuration: what is reported must be what the model says."""
    expected: set[Told] = set()
    with Monitor(configs[0], any_kernel=True) as monitor:
        for config in configs:
            monitor.reload(config)
            for end in make():
                expected |= end.told(as_modelled(config))
        monitor.stop()
        events = list(monitor)
        assert monitor.losses.total == 0
    told = [(event.network_event.cookie, event.network_event.type) for event in events]
    assert len(told) == len(set(told))
    assert set(told) == expected


def both_ends(client: socket.socket, server: socket.socket, program: Program, netns: int = 1) -> list[End]:
    """Return the ends of a connection, and close it without a trace: its ports can be used again."""
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
PORT_FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [  # of ingress, of egress
    ({"src_port": [8001]}, {"dst_port": [8002]}),
    ({"dst_port": [7001]}, {"src_port": [7002]}),
    ({"src_port": ["8002-65535"]}, {"dst_port": ["0-8001"]}),
    ({"src_port": [8001, 7001], "dst_port": [7001, 8001]}, {"src_port": ["7002-7003"], "dst_port": [8001]}),
    ({"dst_port": [8001, 8002]}, {"src_port": [7003, 8000, 8003, 65535]}),
]


def test_ports() -> None:
    """Of both families, IPv4 also by mapped sockets; allowed and denied; alone and beside addresses."""
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
        judge(configs, make)
    finally:
        for listener in listeners:
            listener.close()


@pytest.fixture(scope="module")
def blue() -> Iterator[Path]:
    """A network namespace of that name."""
    subprocess.run(["ip", "netns", "add", "blue"], check=True)
    subprocess.run(["ip", "-n", "blue", "link", "set", "lo", "up"], check=True)
    yield BLUE
    subprocess.run(["ip", "netns", "delete", "blue"], check=True)


@contextmanager
def within(namespace: Path) -> Iterator[None]:
    """Have this thread in another network namespace."""
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


def test_network_namespaces(blue: Path) -> None:
    """The socket's counts, wherever the process is: this one, or curl that runs in it."""
    by_number = {str(path): inode_of(path) for path in (HERE, BLUE)}
    lists: list[list[int | str]] = [[str(BLUE)], [inode_of(BLUE)], [str(HERE)], [str(HERE), inode_of(BLUE)], [7]]
    netns_filters = [{"netns": netns, "deny_list": deny_list} for netns in lists for deny_list in (False, True)]
    configs = [config_with(netns_filter=netns_filter) for netns_filter in netns_filters]

    def numbered(config: Config) -> Config:
        """The model knows numbers alone."""
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
                client.connect(listener.getsockname())  # from outside
                ends += both_ends(client, listener.accept()[0], this_program(), inode_of(BLUE))
        return ends

    judge(configs, make, numbered)


def test_programs_in_network_namespaces(blue: Path) -> None:
    """Curl, run in one of its own and here."""
    with Monitor(config_with(netns_filter={"netns": [str(blue)]}), any_kernel=True) as monitor:
        for command in ([], ["ip", "netns", "exec", "blue"]):
            child = subprocess.Popen([*command, "curl", "-s", "http://127.0.0.1:1/", "http://[::1]:1/"])
            child.wait()
        monitor.stop()
        told = {(event.process.pid, event.process.filename, event.network_event.daddr) for event in monitor}
    assert told == {(child.pid, "curl", "127.0.0.1"), (child.pid, "curl", "::1")}


@contextmanager
def in_cgroup(path: str) -> Iterator[None]:
    """Have this process in a cgroup, which is made."""
    directory = CGROUPS / path.lstrip("/")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cgroup.procs").write_text("0")
    try:
        yield
    finally:
        (CGROUPS / "cgroup.procs").write_text("0")


def connect_in_cgroups(paths: list[str]) -> list[End]:
    """Connect to oneself in each: a process that was judged in another is judged again."""
    ends = []
    for path in paths:
        with in_cgroup(path), listen() as listener:
            ends += both_ends(*connect(listener, "127.0.0.1"), this_program(path or "/"))
    return ends


def process_filters(filters: list[dict[str, Any]]) -> list[Config]:
    """Return the configurations that allow and that deny what each names."""
    return [
        config_with(process_filter={**filter_, "deny_list": deny_list})
        for filter_ in filters
        for deny_list in (False, True)
    ]


DEEP = "/deep" + "/x" * 150  # further down than a listed path can say
LONG = "/" + "l" * 254  # the longest that can be listed


def test_cgroups() -> None:
    """A path matches itself and what is below it, and is compared as text: the cgroup may be made later."""
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
    judge(configs, lambda: connect_in_cgroups([*paths, LONG + "l", "/deep"]))


def test_containers() -> None:
    """The kernel finds the same ids in cgroups' names as user space (tests/unit/test_texts.py)."""
    lists = [[ID], [ID[:12], "f" * 12], [OTHER_ID], [ID[:-1] + "0"]]
    configs = process_filters([{"container_id": container_ids} for container_ids in lists])
    judge(configs, lambda: connect_in_cgroups([*IN_CONTAINER, *ON_THE_HOST]))


def test_a_container_is_not_hidden_by_what_is_made_in_it() -> None:
    """However deep: the paths of the record, and of /proc, end before."""
    path = f"/docker-{ID}.scope" + f"/{'n' * 200}" * 4 + "/x" * 60
    with in_cgroup(path), Monitor(process_filters([{"container_id": [ID]}])[0], any_kernel=True) as monitor:
        with listen() as listener:
            both_ends(*connect(listener, "127.0.0.1"), this_program())
        monitor.stop()
        assert len(list(monitor)) == 4


def test_a_containers_programs() -> None:
    """Curl, in a container's cgroup and beside it, of a container that is made after the start."""
    directory = CGROUPS / f"kubepods/cri-containerd-{OTHER_ID}.scope"
    process_filter = {"cgroup": ["/kubepods"], "container_id": [OTHER_ID[:12]], "binary": {"name": ["curl"]}}
    with Monitor(config_with(process_filter=process_filter), any_kernel=True) as monitor:
        directory.mkdir(parents=True)
        for place in (directory.parent, directory):
            script = f"echo $$ > {place}/cgroup.procs; exec curl -s http://127.0.0.1:1/"
            child = subprocess.Popen(["sh", "-c", script])
            child.wait()
        monitor.stop()
        told = [(event.process.pid, event.process.container_id) for event in monitor]
    assert told == [(child.pid, OTHER_ID)] * 2


@pytest.mark.core
def test_what_is_open_at_the_start(blue: Path) -> None:
    """It is judged by the same filters, though other processes' and found by another way."""
    place = CGROUPS / f"machine.slice/libpod-{ID}.scope"
    place.mkdir(parents=True, exist_ok=True)
    script = (
        "import socket, sys\n"
        "listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "client = socket.create_connection(listener.getsockname())\n"
        "server, _ = listener.accept()\n"
        "print('connected', flush=True)\n"
        "sys.stdin.read()\n"
    )

    def enter(place: Path = place) -> None:
        (place / "cgroup.procs").write_text("0")

    children = []
    for prefix, port, preexec in (
        (["ip", "netns", "exec", "blue"], "8001", enter),
        (["ip", "netns", "exec", "blue"], "8002", enter),
        (["ip", "netns", "exec", "blue"], "8003", None),
        ([], "8001", enter),
    ):
        command = [*prefix, "python3", "-c", script, port]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=preexec)
        assert child.stdout is not None
        assert child.stdout.readline() == b"connected\n"
        children.append(child)
    config = config_with(
        egress={"port_filter": {"dst_port": ["8001-8002"]}},
        ingress={"port_filter": {"src_port": [8001, 8003]}},
        netns_filter={"netns": [str(blue)]},
        process_filter={"container_id": [ID], "cgroup": ["/machine.slice"]},
        report={"existing": True},
    )
    with Monitor(config, any_kernel=True) as monitor:
        monitor.stop()
        told = {(e.process.pid, e.network_event.sport, e.network_event.dport) for e in monitor}
    for child in children:
        child.communicate()
    first, second = children[:2]
    assert {(pid, sport if sport < 9000 else 0, dport if dport < 9000 else 0) for pid, sport, dport in told} == {
        (first.pid, 0, 8001),
        (first.pid, 8001, 0),
        (second.pid, 0, 8002),
    }


def test_requests_that_fail_at_once(blue: Path) -> None:
    """There is no way out of the namespace: what was asked for is judged."""
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

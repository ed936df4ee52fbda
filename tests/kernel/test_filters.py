"""Address and process filters, in the kernel, on real connections: against tests/support/filter_model.py."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from netmon import Config, ConfigError, Monitor
from netmon.filters.compile import compile_filters
from netmon.layout import Direction
from netmon.rules.load import compile_rules
from netmon.rules.wanted import what_is_wanted
from tests.support.filter_model import Program, passes
from tests.support.filtered_monitors import Filtered, events_so_far
from tests.support.netmon_command import PROGRAMS
from tests.support.rule_evaluator import Condition, Json, evaluate, text_of
from tests.support.rule_strategies import ORDER, joined, of
from tests.support.sockets import cookie_of, listen
from tests.support.strategies import ip_filters, lists, sections, with_deny_list

IPV4 = ["10.0.0.1", "10.0.0.2", "10.128.0.1", "127.0.0.1", "192.168.1.7"]
IPV6 = ["::1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fd00::1"]

examples = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

REFERENCE_CONFIGS = [
    """
    egress:
      enabled: true
      ipv4_filter:
        deny_list: true
        dst_ip: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.1, 0.0.0.0]
      ipv6_filter:
        dst_ip: [2000::/3]
    """,
    """
    ingress:
      enabled: true
    egress:
      enabled: true
    process_filter:
      binary:
        name: [curl]
    """,
]


@pytest.fixture(scope="module", autouse=True)
def addresses() -> None:
    """Add the addresses to the loopback device."""
    for address in (*IPV4, *IPV6):
        subprocess.run(["ip", "address", "replace", address, "dev", "lo"], check=True)


class Connection(NamedTuple):
    """A connection that was opened and closed again."""

    source: str
    destination: str
    client_cookie: int
    server_cookie: int

    def expected(self, config: Config, program: Program) -> set[tuple[int, str, str, str]]:
        """Return the expected events: cookie, type, saddr, daddr."""
        wanted = set()
        for direction, kind, cookie, saddr, daddr in (
            (Direction.EGRESS, "TcpConnectionEstablish", self.client_cookie, self.source, self.destination),
            (Direction.INGRESS, "TcpConnectionAccept", self.server_cookie, self.destination, self.source),
        ):
            if passes(config, direction, saddr, daddr, program):
                wanted |= {(cookie, kind, saddr, daddr), (cookie, "TcpConnectionClose", saddr, daddr)}
        return wanted


def connect(listener: socket.socket, source: str, destination: str, mapped: bool) -> Connection:
    """Connect two addresses of the loopback device. mapped: IPv4 addresses through IPv6 sockets."""
    family = socket.AF_INET6 if mapped or ":" in source else socket.AF_INET
    prefix = "::ffff:" if mapped else ""
    with socket.socket(family) as client:
        client.bind((prefix + source, 0))
        client.connect((prefix + destination, listener.getsockname()[1]))
        server, _ = listener.accept()
        with server:
            return Connection(source, destination, cookie_of(client), cookie_of(server))


def make_connections(listener: socket.socket) -> Iterator[Connection]:
    """Connect each address to the next two, and some IPv4 addresses through IPv6 sockets."""
    for pool in (IPV4, IPV6):
        for step in (1, 2):
            for i, source in enumerate(pool):
                yield connect(listener, source, pool[(i + step) % len(pool)], mapped=False)
    for i, source in enumerate(IPV4):
        yield connect(listener, source, IPV4[i - 1], mapped=True)


def observe(monitor: Monitor) -> tuple[set[Any], list[Connection]]:
    """Make the connections; return a Monitor's events, and the connections."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        made = list(make_connections(listener))
    seen = [
        (event.cookie, event.type, event.saddr, event.daddr)
        for event in (event.network_event for event in events_so_far(monitor))
    ]
    assert monitor.losses.total == 0
    assert len(seen) == len(set(seen))
    return set(seen), made


def this_program() -> Program:
    auid = int(Path("/proc/self/loginuid").read_text())
    return Program(os.getuid(), os.geteuid(), auid, bytes(Path("/proc/self/exe").readlink()))


def assert_reported_as_modelled(monitor: Monitor, config: Config) -> None:
    seen, made = observe(monitor)
    assert seen == set().union(*(connection.expected(config, this_program()) for connection in made))


directions = st.fixed_dictionaries(
    {"enabled": st.booleans()}, optional={"ipv4_filter": ip_filters(IPV4), "ipv6_filter": ip_filters(IPV6)}
)


@pytest.mark.oldest_and_newest
@examples
@given(ingress=directions, egress=directions)
def test_address_filters_agree_with_the_model(
    filtered: Filtered, ingress: dict[str, Any], egress: dict[str, Any]
) -> None:
    if not ingress["enabled"]:
        egress = {**egress, "enabled": True}
    config = Config.from_dict({"ingress": ingress, "egress": egress})
    assert_reported_as_modelled(filtered(config), config)


@pytest.mark.core(end="dst_ip", deny_list=True)
@pytest.mark.parametrize("deny_list", [False, True], ids=["allow", "deny"])
@pytest.mark.parametrize("end", ["src_ip", "dst_ip"])
@pytest.mark.parametrize(
    ("family", "cidr"), [("ipv4_filter", "10.0.0.0/9"), ("ipv6_filter", "2001:db8::/48")], ids=["ipv4", "ipv6"]
)
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_each_kind_of_address_filter_agrees_with_the_model(
    filtered: Filtered, direction: str, family: str, cidr: str, end: str, deny_list: bool
) -> None:
    """Also for IPv4 addresses through IPv6 sockets (tetragon#4618)."""
    filters = {family: {"deny_list": deny_list, end: [cidr]}}
    config = Config.from_dict({direction: {"enabled": True, **filters}})
    assert_reported_as_modelled(filtered(config), config)


@pytest.mark.core
@pytest.mark.parametrize("text", REFERENCE_CONFIGS, ids=["addresses", "binary"])
def test_the_references_configurations_agree_with_the_model(filtered: Filtered, text: str, tmp_path: Path) -> None:
    path = tmp_path / "netmon.yaml"
    path.write_text(text)
    config = Config.from_yaml(path)
    assert_reported_as_modelled(filtered(config), config)


@pytest.mark.oldest_and_newest
def test_a_hundred_thousand_cidrs_are_loaded_and_matched() -> None:
    cidrs = [f"172.{16 + i // 65536}.{i // 256 % 256}.{i % 256}" for i in range(100_000)]
    start = time.monotonic()
    config = Config.from_dict({"egress": {"enabled": True, "ipv4_filter": {"dst_ip": [*cidrs, "10.0.0.2"]}}})
    read = time.monotonic()
    with listen("0.0.0.0") as listener, Monitor(config, any_kernel=True) as monitor:
        print(f"100,001 CIDRs: read in {read - start:.1f} s, loaded in {time.monotonic() - read:.1f} s")
        for address in ("10.0.0.1", "10.0.0.2", "127.0.0.1"):
            socket.create_connection((address, listener.getsockname()[1])).close()
        monitor.stop()
        assert [event.network_event.daddr for event in monitor] == ["10.0.0.2"] * 2


class Subject(NamedTuple):
    """A program that connects, and the user ids that it runs with."""

    path: Path
    uid: int
    euid: int

    def program(self) -> Program:
        comm = self.path.name.encode()[:15]
        return Program(self.uid, self.euid, 0xFFFFFFFF, bytes(self.path), comm=comm, gid=0)


def run_each(subjects: list[Subject], port: int) -> list[int]:
    """Have each subject connect once, one after the other; return their process ids."""
    lines = "".join(f"{subject.uid} {subject.path}\n" for subject in subjects)
    command = [str(PROGRAMS / "run_each"), str(port)]
    done = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True)
    return list(map(int, done.stdout.split()))


DIRECTORIES = ["/usr/local/bin", "/opt/tools", "/opt/tools-2", "/opt/" + "d" * 240]
NAMES = ["curl", "curl2", "tail", "caf\u00e9"]


@pytest.fixture(scope="module")
def subjects() -> Iterator[list[Subject]]:
    """Return copies of one program under many names; those named tail are setuid root."""
    made = []
    for i, directory in enumerate(map(Path, DIRECTORIES)):
        directory.mkdir(parents=True, exist_ok=True)
        for j, name in enumerate(NAMES):
            path = Path(shutil.copy(PROGRAMS / "connect_once", directory / name))
            uid = (0, 1000, 65534)[(i + j) % 3]
            if name == "tail":
                path.chmod(0o4755)
            made.append(Subject(path, uid, 0 if name == "tail" else uid))
    yield made
    for subject in made:  # some are in PATH, where other tests look for programs
        subject.path.unlink()


paths = st.builds(lambda directory, name: f"{directory}/{name}", st.sampled_from(DIRECTORIES), st.sampled_from(NAMES))
ids = lists(st.sampled_from([0, 1000, 65534, 7]))
process_filters = with_deny_list(
    sections(
        uid=ids,
        euid=ids,
        auid=lists(st.sampled_from([0, 1000, 0xFFFFFFFF])),
        gid=lists(st.sampled_from([0, 7])),
        binary=sections(
            name=lists(st.sampled_from(NAMES)),
            prefix=lists(st.builds(lambda path, n: path[: max(1, n)], paths, st.integers(1, 255))),
            path=lists(paths),
            comm=lists(st.sampled_from([*NAMES, "connect_once"])),
        ),
    )
)


@pytest.mark.oldest_and_newest
@examples
@given(process_filter=process_filters)
def test_process_filters_agree_with_the_model(
    filtered: Filtered, subjects: list[Subject], process_filter: dict[str, Any]
) -> None:
    config = Config.from_dict({"egress": {"enabled": True}, "process_filter": process_filter})
    monitor = filtered(config)
    with listen() as listener:
        pids = run_each(subjects, listener.getsockname()[1])
    reported = [event.process.pid for event in events_so_far(monitor)]
    expected = [
        pid
        for subject, pid in zip(subjects, pids, strict=True)
        if passes(config, Direction.EGRESS, "127.0.0.1", "127.0.0.1", subject.program())
    ]
    assert reported == [pid for pid in expected for _ in ("establish", "close")]


PORT, EPHEMERAL = 8443, 40000  # any above 32767 is alike to the rules
ID_NAMES = ("uid", "euid", "gid", "egid", "auid")
RULE_IPV4 = ["10.0.0.0/8", "10.0.0.0/9", "10.0.0.2", "127.0.0.0/8", "0.0.0.0/0"]
RULE_IPV6 = ["2001:db8::/32", "2001:db8::2", "fd00::/8", "::1", "::/0"]
SUBJECT_PATHS = [f"{directory}/{name}" for directory in DIRECTORIES for name in NAMES]
conditions = joined(
    st.one_of(
        of(["ipv4_src", "ipv4_dst"], RULE_IPV4),
        of(["ipv6_src", "ipv6_dst"], RULE_IPV6),
        of(["ip_src", "ip_dst"], RULE_IPV4 + RULE_IPV6),
        of(["port_src", "port_dst"], [22, PORT, 30000], *ORDER),
        of([*ID_NAMES], [0, 1000, 65534, 7], *ORDER),
        of(["binary_name"], NAMES),
        of(["binary_path"], SUBJECT_PATHS),
        of(["binary_prefix"], ["/opt/tools", "/opt/", "/usr/local/bin/", "/"]),
        of(["direction"], ["egress", "ingress"]),
    )
)
rule_lists = st.lists(
    st.tuples(conditions, st.sampled_from(["report", "report", "count", "drop"])), min_size=1, max_size=5
)


@pytest.fixture(scope="module")
def ruled() -> Iterator[Monitor]:
    """Yield a Monitor with the code for rules, which is loaded if there are any."""
    with Monitor(rule_config([{"rule": "none", "when": "port_dst == 0"}]), any_kernel=True) as monitor:
        yield monitor


def rule_config(rules: list[dict[str, str]]) -> Config:
    return Config.from_dict({"ingress": {"enabled": True}, "egress": {"enabled": True}, "rules": rules})


def opening(program: Program, direction: Direction, saddr: str, daddr: str) -> Json:
    """Return what an opening says, as the evaluator of rules reads it."""
    ids = (program.uid, program.euid, program.gid, program.gid, program.auid)
    is_egress = direction == Direction.EGRESS
    names = {"filename": program.name.decode(), "binary_path": program.path.decode(), "cap_effective": ""}
    return {
        "process": {**dict(zip(ID_NAMES, ids, strict=True)), **names},
        "network_event": {
            "type": f"TcpConnection{'Establish' if is_egress else 'Accept'}",
            "saddr": saddr,
            "daddr": daddr,
            "sport": EPHEMERAL if is_egress else PORT,
            "dport": PORT if is_egress else EPHEMERAL,
        },
    }


def matched(rules: list[tuple[Condition, str]], event: Json, direction: Direction) -> list[str] | None:
    """Return the rules that an event has; None if it is not reported."""
    names = []
    is_reported = False
    for i, (condition, action) in enumerate(rules):
        if evaluate(condition, event, direction.name.lower()):
            if action == "drop":
                break
            names.append(f"r{i}")
            is_reported |= action == "report"
    return names if is_reported else None


@examples
@given(rules=rule_lists)
def test_rules_agree_with_the_evaluator(
    ruled: Monitor, subjects: list[Subject], rules: list[tuple[Condition, str]]
) -> None:
    """What the kernel half and user space report together; and what the kernel half knows, it leaves out itself."""
    try:
        config = rule_config(
            [{"rule": f"r{i}", "when": text_of(when), "action": action} for i, (when, action) in enumerate(rules)]
        )
    except ConfigError:  # a rule that can never match, say
        reject()
    ruled.reload(compile_filters(config))
    events_so_far(ruled)
    before = ruled._left_out
    with socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        made = [
            connect(listener, pool[i], pool[i - step], mapped=False)
            for pool in (IPV4, IPV6)
            for step in (1, 2)
            for i in range(len(pool))
        ]
        pids = run_each(subjects, PORT)
    seen: dict[tuple[str, int], list[list[str]]] = {}
    for event in events_so_far(ruled):
        network, pid = event.network_event, event.process.pid
        key = ("cookie", network.cookie) if pid == os.getpid() else ("pid", pid)
        seen.setdefault(key, []).append(event.rules or [])
    expected = {}
    for one in made:
        for direction, cookie, ends in (
            (Direction.EGRESS, one.client_cookie, (one.source, one.destination)),
            (Direction.INGRESS, one.server_cookie, (one.destination, one.source)),
        ):
            expected["cookie", cookie] = matched(rules, opening(this_program(), direction, *ends), direction)
    for subject, pid in zip(subjects, pids, strict=True):
        event_ = opening(subject.program(), Direction.EGRESS, "127.0.0.1", "127.0.0.1")
        expected["pid", pid] = matched(rules, event_, Direction.EGRESS)
    assert seen == {key: [names, names] for key, names in expected.items() if names is not None}
    if {action for _, action in rules} == {"report"} and not what_is_wanted(compile_rules(config)).is_joined:
        assert ruled._left_out == before


@pytest.mark.core
def test_a_close_is_reported_if_its_opening_was(filtered: Filtered) -> None:
    """The process changes its user, by which it is filtered, between the opening and the close."""
    config = Config.from_dict({"egress": {"enabled": True}, "process_filter": {"uid": [0]}})
    script = (
        "import os, socket, sys\n"
        "address = ('127.0.0.1', int(sys.argv[1]))\n"
        "passed = socket.create_connection(address)\n"
        "os.setresuid(1000, 1000, 0)\n"
        "rejected = socket.create_connection(address)\n"
        "passed.close()\n"
        "os.setresuid(0, 0, 0)\n"
        "rejected.close()\n"
    )
    monitor = filtered(config)
    with listen() as listener:
        subprocess.run(["python3", "-c", script, str(listener.getsockname()[1])], check=True)
    reported = [(event.network_event.type, event.process.uid) for event in events_so_far(monitor)]
    assert reported == [("TcpConnectionEstablish", 0), ("TcpConnectionClose", 1000)]

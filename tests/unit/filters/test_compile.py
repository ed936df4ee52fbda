"""Compiled filters, judged as the kernel judges them, against the model of what they mean."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.config import Config
from netmon.errors import ConfigError
from netmon.filters.compile import compile_filters
from netmon.filters.compiled import CompiledFilters, Watched
from netmon.layout import SETTINGS, Direction, Endpoint, Family, FilterMode, IdKind, Settings
from netmon.report import OPTIONS
from tests.support import filter_model, strategies
from tests.support.filter_model import SOCKET, Program, Socket

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
ON = {"enabled": True}
CURL = Program(uid=1000, euid=1000, auid=1000, path=b"/usr/bin/curl")

KEY_SIZES = {
    "ipv4_cidrs": 12,
    "ipv6_cidrs": 24,
    "ids": 8,
    "binary_names": 256,
    "binary_paths": 512,
    "binary_prefixes": 260,
    "cgroups": 260,
    "container_ids": 260,
}
PORT_SET = 65536 // 8


class Kernel:
    """Judges by settings and maps as bpf/filter.h does, the maps' lookups written in Python."""

    def __init__(self, filters: CompiledFilters) -> None:
        self.filters = filters
        self.settings = Settings._make(SETTINGS.unpack(filters.settings))._asdict()

    def passes(self, direction: Direction, saddr: str, daddr: str, program: Program, socket: Socket) -> bool:
        filters = f"connection_filters_{direction:d}"
        return (
            not self.settings[f"{filters}_any"]
            or (
                self._passes_ports(f"{filters}_ports", direction, socket)
                and self._passes_netns(socket.netns)
                and self._passes_addresses(filters, direction, saddr, daddr)
            )
        ) and self._passes_process(program)

    def _passes_ports(self, filter_: str, direction: Direction, socket: Socket) -> bool:
        mode = self.settings[f"{filter_}_mode"]
        if mode == FilterMode.OFF:
            return True
        match = any(
            self.settings[f"{filter_}_{endpoint.name.lower()}"] and self._is_port_listed(direction * 2 + endpoint, port)
            for endpoint, port in ((Endpoint.SRC, socket.sport), (Endpoint.DST, socket.dport))
        )
        return bool(match == (mode == FilterMode.ALLOW))

    def _is_port_listed(self, number: int, port: int) -> bool:
        assert len(self.filters.ports) == 4 * PORT_SET
        return bool(self.filters.ports[number * PORT_SET + port // 8] >> port % 8 & 1)

    def _passes_netns(self, netns: int) -> bool:
        mode = self.settings["netns_mode"]
        match = struct.pack("=II", IdKind.NETNS, netns) in keys_of(self.filters, "ids")
        return bool(mode == FilterMode.OFF or match == (mode == FilterMode.ALLOW))

    def _passes_addresses(self, filters: str, direction: Direction, saddr: str, daddr: str) -> bool:
        family = Family.IPV6 if ":" in saddr else Family.IPV4
        filter_ = f"{filters}_addresses_{family:d}"
        mode = self.settings[f"{filter_}_mode"]
        if mode == FilterMode.OFF:
            return True
        match = any(
            self.settings[f"{filter_}_{endpoint.name.lower()}"]
            and self._is_listed(family, direction * 2 + endpoint, address)
            for endpoint, address in ((Endpoint.SRC, saddr), (Endpoint.DST, daddr))
        )
        return bool(match == (mode == FilterMode.ALLOW))

    def _is_listed(self, family: Family, number: int, address: str) -> bool:
        if family == Family.IPV4:
            keys, packed = keys_of(self.filters, "ipv4_cidrs"), socket.inet_pton(socket.AF_INET, address)
        else:
            keys, packed = keys_of(self.filters, "ipv6_cidrs"), socket.inet_pton(socket.AF_INET6, address)
        return is_in_trie(keys, struct.pack(">I", number) + packed)

    def _passes_process(self, program: Program) -> bool:
        mode = self.settings["process_filter_mode"]
        if mode == FilterMode.OFF:
            return True
        match = self._matches_ids(program) and self._matches_cgroup(program) and self._matches_binary(program)
        return bool(match == (mode == FilterMode.ALLOW))

    def _matches_ids(self, program: Program) -> bool:
        return all(
            not self.settings[f"process_filter_{kind.name.lower()}"]
            or struct.pack("=II", kind, getattr(program, kind.name.lower())) in keys_of(self.filters, "ids")
            for kind in (IdKind.UID, IdKind.EUID, IdKind.AUID)
        )

    def _matches_cgroup(self, program: Program) -> bool:
        path = f"{program.cgroup.rstrip('/')}/".encode().ljust(256, b"\0")[:256]
        container = (program.container_id or "").encode().ljust(256, b"\0")
        return all(
            not self.settings[f"process_filter_{key}"] or is_in_trie(keys_of(self.filters, f"{key}s"), text)
            for key, text in (("cgroup", path), ("container_id", container))
        )

    def _matches_binary(self, program: Program) -> bool:
        has = {key: self.settings[f"process_filter_{key}"] for key in ("name", "prefix", "path")}
        name, path = program.name.ljust(256, b"\0"), program.path.ljust(512, b"\0")
        return not any(has.values()) or bool(
            (has["name"] and name in keys_of(self.filters, "binary_names"))
            or (has["path"] and len(program.path) < 512 and path in keys_of(self.filters, "binary_paths"))
            or (has["prefix"] and is_in_trie(keys_of(self.filters, "binary_prefixes"), path[:256]))
        )


def keys_of(filters: CompiledFilters, name: str) -> list[bytes]:
    keys: bytes = getattr(filters, name)
    size = KEY_SIZES[name]
    assert len(keys) % size == 0
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def is_in_trie(keys: Iterable[bytes], data: bytes) -> bool:
    """Look data up among an LPM trie's keys: the prefix's length in bits, and the prefix, padded."""
    return any(is_prefix(struct.unpack("=I", key[:4])[0], key[4:], data) for key in keys)


def is_prefix(bits: int, prefix: bytes, data: bytes) -> bool:
    assert len(prefix) == len(data)
    beyond = 8 * len(data) - bits
    return int.from_bytes(prefix, "big") >> beyond == int.from_bytes(data, "big") >> beyond


def verdict(
    config: Config,
    direction: Direction,
    saddr: str,
    daddr: str,
    program: Program = CURL,
    socket: Socket = SOCKET,
) -> bool:
    """Return what the model and the kernel agree on."""
    expected = filter_model.passes(config, direction, saddr, daddr, program, socket)
    assert Kernel(compile_filters(config)).passes(direction, saddr, daddr, program, socket) == expected
    return expected


@given(
    strategies.configs(both=True), st.sampled_from(Direction), strategies.ends, strategies.programs, strategies.sockets
)
def test_filters_agree_with_the_model(
    config: Config, direction: Direction, ends: tuple[str, str], program: Program, socket: Socket
) -> None:
    verdict(config, direction, *ends, program, socket)


OUT_OF_THE_CLUSTER = Config.from_dict(
    {
        "egress": {
            "enabled": True,
            "ipv4_filter": {
                "deny_list": True,
                "dst_ip": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.1", "0.0.0.0"],
            },
            "ipv6_filter": {"dst_ip": ["2000::/3"]},
        }
    }
)


@pytest.mark.parametrize(
    ("daddr", "passes"),
    [
        ("10.0.0.0", False),
        ("10.255.255.255", False),
        ("11.0.0.0", True),
        ("172.31.255.255", False),
        ("172.32.0.0", True),
        ("127.0.0.1", False),
        ("127.0.0.2", True),
        ("0.0.0.0", False),
        ("8.8.8.8", True),
        ("2000::", True),
        ("3fff:ffff::1", True),
        ("4000::", False),
        ("::1", False),
        ("fe80::1", False),
    ],
)
def test_the_references_example(daddr: str, passes: bool) -> None:
    saddr = "fd00::1" if ":" in daddr else "198.51.100.1"
    assert verdict(OUT_OF_THE_CLUSTER, EGRESS, saddr, daddr) == passes


@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize("deny_list", [False, True])
@pytest.mark.parametrize(
    ("family", "inside", "outside", "cidr"),
    [
        ("ipv4_filter", "10.1.2.3", "11.1.2.3", "10.0.0.0/8"),
        ("ipv6_filter", "2001:db8::1", "2001:db9::1", "2001:db8::/32"),
    ],
)
@pytest.mark.parametrize(
    ("lists", "matching"),
    [
        (["src_ip"], {"src", "both"}),
        (["dst_ip"], {"dst", "both"}),
        (["src_ip", "dst_ip"], {"src", "dst", "both"}),
    ],
)
def test_allow_and_deny_each_end_of_each_family_in_each_direction(
    direction: str,
    deny_list: bool,
    family: str,
    inside: str,
    outside: str,
    cidr: str,
    lists: list[str],
    matching: set[str],
) -> None:
    filter_ = {"deny_list": deny_list, **{name: [cidr] for name in lists}}
    config = Config.from_dict({"ingress": ON, "egress": ON, direction: {**ON, family: filter_}})
    here, there = (INGRESS, EGRESS) if direction == "ingress" else (EGRESS, INGRESS)
    other_family = ("192.0.2.1",) * 2 if family == "ipv6_filter" else ("fd00::1",) * 2
    connections = {
        "neither": (outside, outside),
        "src": (inside, outside),
        "dst": (outside, inside),
        "both": (inside, inside),
    }
    for name, ends in connections.items():
        assert verdict(config, here, *ends) == ((name in matching) != deny_list), name
        assert verdict(config, there, *ends), "the other direction is not filtered"
    assert verdict(config, here, *other_family), "the other family is not filtered"


def test_a_mapped_address_is_judged_by_the_ipv4_filter() -> None:
    """The kernel side gives it over as IPv4; the model does so itself."""
    mapped = ("::ffff:198.51.100.1", "::ffff:10.0.0.1")
    assert not filter_model.passes(OUT_OF_THE_CLUSTER, EGRESS, *mapped, CURL)


PROCESS = {
    "uid": [0],
    "euid": [0, 5],
    "auid": [1000, 2**32 - 1],
    "binary": {"name": ["tail", "curl"], "prefix": ["/usr/local/bin/"], "path": ["/usr/bin/uname"]},
}
TAIL = Program(uid=0, euid=0, auid=1000, path=b"/usr/bin/tail")


@pytest.mark.parametrize("deny_list", [False, True])
@pytest.mark.parametrize(
    ("program", "matches"),
    [
        (TAIL, True),
        (TAIL._replace(uid=1), False),
        (TAIL._replace(uid=5), False),  # an euid is no uid
        (TAIL._replace(euid=5), True),
        (TAIL._replace(euid=1), False),
        (TAIL._replace(auid=2**32 - 1), True),
        (TAIL._replace(auid=0), False),
        (TAIL._replace(path=b"/opt/tail"), True),
        (TAIL._replace(path=b"/opt/tails"), False),
        (TAIL._replace(path=b"/tail/x"), False),
        (TAIL._replace(path=b"/usr/local/bin/x"), True),
        (TAIL._replace(path=b"/usr/local/bin/x/y"), True),
        (TAIL._replace(path=b"/usr/local/binx"), False),
        (TAIL._replace(path=b"/opt/usr/local/bin/x"), False),
        (TAIL._replace(path=b"/usr/bin/uname"), True),
        (TAIL._replace(path=b"/usr/bin/uname2"), False),
        (TAIL._replace(path=b""), False),
    ],
)
def test_the_process_filter(deny_list: bool, program: Program, matches: bool) -> None:
    config = Config.from_dict({"ingress": ON, "egress": ON, "process_filter": {**PROCESS, "deny_list": deny_list}})
    for direction in Direction:
        ends = ("192.0.2.1", "192.0.2.2")
        assert verdict(config, direction, *ends, program) == (matches != deny_list)


PORTS = {"src_port": [22, "8000-8999"], "dst_port": [443]}


@pytest.mark.parametrize("deny_list", [False, True])
@pytest.mark.parametrize(
    ("sport", "dport", "matches"),
    [
        (22, 1, True),
        (1, 22, False),
        (443, 1, False),
        (1, 443, True),
        (22, 443, True),
        (7999, 1, False),
        (8000, 1, True),
        (8999, 1, True),
        (9000, 1, False),
        (0, 65535, False),
    ],
)
def test_the_port_filter(deny_list: bool, sport: int, dport: int, matches: bool) -> None:
    """Of one direction, and both families."""
    config = Config.from_dict({"ingress": {**ON, "port_filter": {**PORTS, "deny_list": deny_list}}, "egress": ON})
    for ends in (("192.0.2.1", "192.0.2.2"), ("::1", "::1")):
        assert verdict(config, INGRESS, *ends, socket=Socket(sport, dport)) == (matches != deny_list)
        assert verdict(config, EGRESS, *ends, socket=Socket(sport, dport))


def test_ports_and_addresses_must_both_pass() -> None:
    filters = {"ipv4_filter": {"dst_ip": ["10.0.0.1"]}, "port_filter": {"dst_port": [443]}}
    config = Config.from_dict({"egress": {**ON, **filters}})
    assert verdict(config, EGRESS, "10.0.0.9", "10.0.0.1", socket=Socket(dport=443))
    assert not verdict(config, EGRESS, "10.0.0.9", "10.0.0.2", socket=Socket(dport=443))
    assert not verdict(config, EGRESS, "10.0.0.9", "10.0.0.1", socket=Socket(dport=444))
    assert verdict(config, EGRESS, "::1", "::1", socket=Socket(dport=443)), "the other family has no filter"


def test_the_ports_bits() -> None:
    """A bit each, in the order of struct port_sets: ingress src and dst, egress src and dst."""
    egress = {**ON, "port_filter": {"src_port": [0, 9], "dst_port": ["7-8", 65535]}}
    ports = compile_filters(Config.from_dict({"egress": egress})).ports
    assert len(ports) == 4 * PORT_SET
    assert {(i, byte) for i, byte in enumerate(ports) if byte} == {
        (2 * PORT_SET, 0b1),
        (2 * PORT_SET + 1, 0b10),
        (3 * PORT_SET, 0b10000000),
        (3 * PORT_SET + 1, 0b1),
        (4 * PORT_SET - 1, 0b10000000),
    }
    off = {"enabled": False, "port_filter": {"src_port": [1]}}
    assert compile_filters(Config.from_dict({"ingress": off, "egress": ON})).ports == b""


@pytest.mark.parametrize("deny_list", [False, True])
def test_the_netns_filter(deny_list: bool) -> None:
    netns = {"netns": [7, 4026531840], "deny_list": deny_list}
    config = Config.from_dict({"ingress": ON, "egress": ON, "netns_filter": netns})
    for direction in Direction:
        for number, matches in ((7, True), (4026531840, True), (8, False)):
            assert verdict(config, direction, "::1", "::1", socket=Socket(netns=number)) == (matches != deny_list)


def with_netns(*listed: str | int) -> Config:
    return Config.from_dict({"egress": ON, "netns_filter": {"netns": listed}})


def test_a_network_namespaces_path_is_resolved() -> None:
    number = Path("/proc/self/ns/net").stat().st_ino
    keys = compile_filters(with_netns(7, "/proc/self/ns/net")).ids
    assert keys == struct.pack("=4I", IdKind.NETNS, 7, IdKind.NETNS, number)


def test_paths_that_stand_for_no_network_namespace(tmp_path: Path) -> None:
    """All are told; no pipe is waited for."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    config = with_netns(7, f"{tmp_path}/absent", f"{tmp_path}/file", f"{tmp_path}/pipe", "/proc/self/ns/mnt", "/dev")
    with pytest.raises(ConfigError) as caught:
        compile_filters(config)
    remedy = "give the path of an existing network namespace, or its inode number"
    absent = f"cannot be used: No such file or directory; {remedy}"
    assert [str(problem) for problem in caught.value.problems] == [
        f"configuration: netns_filter.netns[1]: '{tmp_path}/absent' {absent}",
        f"configuration: netns_filter.netns[2]: '{tmp_path}/file' is not a namespace; {remedy}",
        f"configuration: netns_filter.netns[3]: '{tmp_path}/pipe' is not a namespace; {remedy}",
        f"configuration: netns_filter.netns[4]: '/proc/self/ns/mnt' is a namespace of another kind; {remedy}",
        f"configuration: netns_filter.netns[5]: '/dev' is not a namespace; {remedy}",
    ]


ID = strategies.ID
IN_DOCKER = CURL._replace(cgroup=f"/system.slice/docker-{ID}.scope", container_id=ID)


@pytest.mark.parametrize("deny_list", [False, True])
@pytest.mark.parametrize(
    ("key", "listed", "matches"),
    [
        ("cgroup", "/", True),
        ("cgroup", "/system.slice", True),
        ("cgroup", f"/system.slice/docker-{ID}.scope", True),
        ("cgroup", f"/system.slice/docker-{ID}.scope/x", False),
        ("cgroup", f"/system.slice/docker-{ID}", False),
        ("cgroup", "/system.slic", False),
        ("cgroup", "/docker", False),
        ("container_id", ID, True),
        ("container_id", ID[:12], True),
        ("container_id", ID[:13], True),
        ("container_id", ID[1:], False),
        ("container_id", ID[:-1] + "0", False),
    ],
)
def test_where_a_process_is(key: str, listed: str, matches: bool, deny_list: bool) -> None:
    config = Config.from_dict({"egress": ON, "process_filter": {key: [listed], "deny_list": deny_list}})
    assert verdict(config, EGRESS, "::1", "::1", IN_DOCKER) == (matches != deny_list)
    on_the_host = listed == "/"
    assert verdict(config, EGRESS, "::1", "::1", CURL) == (on_the_host != deny_list)


def test_a_prefix_need_not_end_at_a_slash() -> None:
    config = Config.from_dict({"egress": ON, "process_filter": {"binary": {"prefix": ["/usr/bin/cu"]}}})
    assert verdict(config, EGRESS, "::1", "::1", CURL)
    assert not verdict(config, EGRESS, "::1", "::1", CURL._replace(path=b"/usr/bin/cat"))


def test_address_and_process_filters_must_both_pass() -> None:
    config = Config.from_dict(
        {
            "egress": {"enabled": True, "ipv4_filter": {"dst_ip": ["10.0.0.0/8"]}},
            "process_filter": {"binary": {"name": ["curl"]}},
        }
    )
    other = CURL._replace(path=b"/usr/bin/wget")
    assert verdict(config, EGRESS, "192.0.2.1", "10.0.0.1", CURL)
    assert not verdict(config, EGRESS, "192.0.2.1", "11.0.0.1", CURL)
    assert not verdict(config, EGRESS, "192.0.2.1", "10.0.0.1", other)


def egress(family: str, cidrs: list[str]) -> Config:
    return Config.from_dict({"egress": {"enabled": True, family: {"dst_ip": cidrs}}})


@pytest.mark.parametrize(
    ("cidr", "bits", "address"),
    [
        ("10.0.0.0/8", 40, b"\x0a\0\0\0"),
        ("192.0.2.1", 64, b"\xc0\0\2\1"),
        ("0.0.0.0/0", 32, bytes(4)),
    ],
)
def test_an_ipv4_cidrs_key(cidr: str, bits: int, address: bytes) -> None:
    """Prefix length in host order, list number 3 (egress, dst) in network order, address."""
    key = compile_filters(egress("ipv4_filter", [cidr])).ipv4_cidrs
    assert key == struct.pack("=I", bits) + b"\0\0\0\3" + address


@pytest.mark.parametrize(
    ("cidr", "bits", "address"),
    [("2000::/3", 35, b"\x20" + bytes(15)), ("::1", 160, bytes(15) + b"\1"), ("::/0", 32, bytes(16))],
)
def test_an_ipv6_cidrs_key(cidr: str, bits: int, address: bytes) -> None:
    key = compile_filters(egress("ipv6_filter", [cidr])).ipv6_cidrs
    assert key == struct.pack("=I", bits) + b"\0\0\0\3" + address


def test_the_process_filters_keys() -> None:
    config = Config.from_dict(
        {
            "egress": ON,
            "process_filter": {
                "uid": [7],
                "auid": [2**32 - 1],
                "binary": {"name": ["caf\u00e9"], "prefix": ["/\u00e9"], "path": ["/b"]},
                "cgroup": ["/a/\u00e9", "/"],
                "container_id": ["0" * 12],
            },
        }
    )
    filters = compile_filters(config)
    assert filters.ids == struct.pack("=4I", 0, 7, 2, 2**32 - 1)
    assert filters.binary_names == b"caf\xc3\xa9" + bytes(251)
    assert filters.binary_paths == b"/b" + bytes(510)
    assert filters.binary_prefixes == struct.pack("=I", 24) + b"/\xc3\xa9" + bytes(253)
    assert filters.cgroups == b"".join(struct.pack("=I256s", 8 * len(path), path) for path in (b"/a/\xc3\xa9/", b"/"))
    assert filters.container_ids == struct.pack("=I256s", 96, b"0" * 12)


@pytest.mark.parametrize(
    ("process_filter", "settings"),
    [
        (None, {}),
        ({"uid": [0]}, {"mode": FilterMode.ALLOW, "uid": 1}),
        ({"euid": [0], "deny_list": True}, {"mode": FilterMode.DENY, "euid": 1}),
        ({"auid": [0]}, {"mode": FilterMode.ALLOW, "auid": 1}),
        ({"binary": {"name": ["x"]}}, {"mode": FilterMode.ALLOW, "name": 1}),
        ({"binary": {"prefix": ["/"]}}, {"mode": FilterMode.ALLOW, "prefix": 1}),
        ({"binary": {"path": ["/x"]}}, {"mode": FilterMode.ALLOW, "path": 1}),
        ({"cgroup": ["/"]}, {"mode": FilterMode.ALLOW, "cgroup": 1}),
        ({"container_id": ["0" * 12]}, {"mode": FilterMode.ALLOW, "container_id": 1}),
    ],
)
def test_the_settings_say_what_the_kernel_may_leave_out(
    process_filter: dict[str, Any] | None, settings: dict[str, int]
) -> None:
    ingress = {"enabled": True, "ipv4_filter": {"src_ip": ["10.0.0.0/8"]}}
    config = {**OUT_OF_THE_CLUSTER.to_dict(), "ingress": ingress}
    if process_filter is not None:
        config["process_filter"] = process_filter
    expected = {
        "connection_filters_0_any": 1,
        "connection_filters_0_addresses_0_mode": FilterMode.ALLOW,
        "connection_filters_0_addresses_0_src": 1,
        "connection_filters_1_any": 1,
        "connection_filters_1_addresses_0_mode": FilterMode.DENY,
        "connection_filters_1_addresses_0_dst": 1,
        "connection_filters_1_addresses_1_mode": FilterMode.ALLOW,
        "connection_filters_1_addresses_1_dst": 1,
        **{f"process_filter_{key}": value for key, value in settings.items()},
    }
    compiled = Kernel(compile_filters(Config.from_dict(config))).settings
    assert {key: value for key, value in compiled.items() if value} == expected


def test_without_filters_nothing_is_set() -> None:
    filters = CompiledFilters(Watched(), bytes(SETTINGS.size))
    assert compile_filters(None) == filters
    assert compile_filters(Config.everything()) == filters._replace(configured=True)


def test_no_key_of_a_hash_comes_twice() -> None:
    """It would take room of its own; in a trie it does not."""
    config = Config.from_dict({"egress": ON, "process_filter": {"uid": [7, 7], "binary": {"name": ["x", "x"]}}})
    filters = compile_filters(config)
    assert len(keys_of(filters, "ids")) == len(keys_of(filters, "binary_names")) == 1


def test_ends_have_keys_of_their_own() -> None:
    both_ends: dict[str, Any] = {"src_ip": ["::1"], "dst_ip": ["::1"]}
    config = Config.from_dict({"egress": {"enabled": True, "ipv6_filter": both_ends}})
    assert len(set(keys_of(compile_filters(config), "ipv6_cidrs"))) == 2


def test_a_direction_that_is_off_takes_no_room() -> None:
    off = {"enabled": False, "ipv4_filter": {"dst_ip": ["10.0.0.0/8"]}}
    config = Config.from_dict({"ingress": off, "egress": ON})
    assert compile_filters(config) == compile_filters(Config.from_dict({"egress": ON}))
    assert not filter_model.passes(config, INGRESS, "192.0.2.1", "192.0.2.2", CURL)


def test_what_a_reload_cannot_change_is_named_by_its_keys() -> None:
    before, after = (
        compile_filters(Config.from_dict(config)).watched
        for config in (
            {"egress": ON, "report": {"outcome": True, "parent": True}},
            {"ingress": ON, "report": {**dict.fromkeys(OPTIONS, True), "outcome": False}},
        )
    )
    others = [f"report.{name}" for name in OPTIONS if name != "parent"]
    assert before.differences(after) == ["ingress.enabled", "egress.enabled", *others]
    assert before.differences(before) == []

"""The keys of the filter maps, byte by byte."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pytest

from netmon.config import Config
from netmon.errors import ConfigError
from netmon.filters.compile import compile_filters
from netmon.layout import IdKind
from tests.unit.filters.evaluator import ON, PORT_SET, keys_of


def with_netns(*listed: str | int) -> Config:
    return Config.from_dict({"egress": ON, "netns_filter": {"netns": listed}})


def test_the_path_of_a_network_namespace_is_resolved() -> None:
    number = Path("/proc/self/ns/net").stat().st_ino
    keys = compile_filters(with_netns(7, "/proc/self/ns/net")).ids
    assert keys == struct.pack("=4I", IdKind.NETNS, 7, IdKind.NETNS, number)


def test_paths_that_are_not_network_namespaces(tmp_path: Path) -> None:
    """All of them are reported, and reading a pipe does not block."""
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


def test_the_bits_of_ports() -> None:
    """Each port has a bit; the sets are in the order of struct port_sets: ingress src and dst, egress src and dst."""
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
def test_the_key_of_an_ipv4_cidr(cidr: str, bits: int, address: bytes) -> None:
    """It is the length in host order, the list number 3 (egress, dst) in network order, and the address."""
    key = compile_filters(egress("ipv4_filter", [cidr])).ipv4_cidrs
    assert key == struct.pack("=I", bits) + b"\0\0\0\3" + address


@pytest.mark.parametrize(
    ("cidr", "bits", "address"),
    [("2000::/3", 35, b"\x20" + bytes(15)), ("::1", 160, bytes(15) + b"\1"), ("::/0", 32, bytes(16))],
)
def test_the_key_of_an_ipv6_cidr(cidr: str, bits: int, address: bytes) -> None:
    key = compile_filters(egress("ipv6_filter", [cidr])).ipv6_cidrs
    assert key == struct.pack("=I", bits) + b"\0\0\0\3" + address


def test_the_keys_of_the_process_filter() -> None:
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


def test_the_keys_of_a_hash_are_unique() -> None:
    """An equal key would take a place of its own in a hash. In a trie it does not."""
    config = Config.from_dict({"egress": ON, "process_filter": {"uid": [7, 7], "binary": {"name": ["x", "x"]}}})
    filters = compile_filters(config)
    assert len(keys_of(filters, "ids")) == len(keys_of(filters, "binary_names")) == 1


def test_each_endpoint_has_its_own_keys() -> None:
    both_ends: dict[str, Any] = {"src_ip": ["::1"], "dst_ip": ["::1"]}
    config = Config.from_dict({"egress": {"enabled": True, "ipv6_filter": both_ends}})
    assert len(set(keys_of(compile_filters(config), "ipv6_cidrs"))) == 2

"""Values in configurations: which are accepted, which are refused and with which messages."""

from __future__ import annotations

from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from netmon.config import (
    BinaryFilter,
    Config,
    NetnsFilter,
    PortFilter,
)
from netmon.errors import ConfigError
from tests.support import strategies
from tests.unit.config.documents import (
    NOT_A_NUMBER,
    NOT_ABSOLUTE,
    OUT_OF_RANGE,
    lines_of,
    load,
    problems_in,
    with_value,
)

A_NAME = "is a name, and names are not looked up; give its addresses, which `getent ahosts"
NOT_IPV4 = "is not an IPv4 address or CIDR; write it like 10.0.0.0/8 or 10.1.2.3"

NOT_IPV6 = "is not an IPv6 address or CIDR; write it like 2001:db8::/32 or ::1"


@pytest.mark.parametrize(
    ("family", "cidr"),
    [
        ("ipv4_filter", "0.0.0.0/0"),
        ("ipv4_filter", "255.255.255.255/32"),
        ("ipv6_filter", "::/0"),
        ("ipv6_filter", "::/95"),  # contains more than IPv4-mapped addresses
        ("ipv6_filter", "2001:DB8::/32"),
        ("ipv6_filter", "::fffe:0:0/96"),
        ("ipv6_filter", "::1.2.3.4"),
        ("ipv6_filter", "::1/128"),
        ("ipv6_filter", IPv6Network("2000::/3")),
    ],
)
def test_accepted_cidrs(family: str, cidr: Any) -> None:
    assert Config.from_dict(with_value(f"egress.{family}.src_ip", [cidr]))


@pytest.mark.parametrize(
    ("family", "cidr", "problem"),
    [
        (4, "10.0.0.1/8", "'10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?"),
        (4, "1.2.3.4/0", "'1.2.3.4/0' has host bits set; did you mean 0.0.0.0/0?"),
        (4, "::1", "'::1' is IPv6, in an IPv4 list; move it to ipv6_filter"),
        (4, "2000::/3", "'2000::/3' is IPv6, in an IPv4 list; move it to ipv6_filter"),
        (
            4,
            "::ffff:1.2.3.4",
            "'::ffff:1.2.3.4' is IPv4-mapped IPv6, in an IPv4 list; write it as IPv4: 1.2.3.4",
        ),
        (
            4,
            "1.2.3.4/33",
            "'1.2.3.4/33' has a bad prefix length '33'; it must be a number from 0 to 32",
        ),
        (4, "1.2.3.4/", "'1.2.3.4/' has a bad prefix length ''; it must be a number from 0 to 32"),
        (
            4,
            "1.2.3.4/\u0668",
            "'1.2.3.4/\u0668' has a bad prefix length '\u0668'; it must be a number from 0 to 32",
        ),
        (4, "1.2.3.4/+8", "'1.2.3.4/+8' has a bad prefix length '+8'; it must be a number from 0 to 32"),
        (4, "1.2.3.4/-8", "'1.2.3.4/-8' has a bad prefix length '-8'; it must be a number from 0 to 32"),
        (4, "1.0.0.0/08", "'1.0.0.0/08' has a bad prefix length '08'; it must be a number from 0 to 32"),
        (
            4,
            "10.0.0.0/255.0.0.0",
            "'10.0.0.0/255.0.0.0' has a netmask instead of a prefix length; did you mean 10.0.0.0/8?",
        ),
        (4, "example.org", f"'example.org' {A_NAME} example.org` prints"),
        (6, "cafe-1.example", f"'cafe-1.example' {A_NAME} cafe-1.example` prints"),
        (4, "-x.org", f"'-x.org' {NOT_IPV4}"),
        (4, "10.0.0", f"'10.0.0' {NOT_IPV4}"),
        (4, "010.0.0.1", f"'010.0.0.1' {NOT_IPV4}"),
        (4, " 10.0.0.1", f"' 10.0.0.1' {NOT_IPV4}"),
        (4, "10.0.0.1\0", rf"'10.0.0.1\x00' {NOT_IPV4}"),
        (4, "", f"'' {NOT_IPV4}"),
        (4, 10, f"10 {NOT_IPV4}"),
        (4, 10.1, f"10.1 {NOT_IPV4}"),
        (4, None, NOT_IPV4),
        (4, ["10.0.0.1"], NOT_IPV4),
        (6, "2000::1/3", "'2000::1/3' has host bits set; did you mean 2000::/3?"),
        (6, "10.0.0.0/8", "'10.0.0.0/8' is IPv4, in an IPv6 list; move it to ipv4_filter"),
        (
            6,
            "::1/129",
            "'::1/129' has a bad prefix length '129'; it must be a number from 0 to 128",
        ),
        (
            6,
            "::ffff:10.1.2.3",
            "'::ffff:10.1.2.3' is IPv4-mapped, so the IPv4 filter applies; put 10.1.2.3/32 in ipv4_filter",
        ),
        (
            6,
            "::ffff:a00:0/104",
            "'::ffff:a00:0/104' is IPv4-mapped, so the IPv4 filter applies; put 10.0.0.0/8 in ipv4_filter",
        ),
        (
            6,
            "::ffff:0:0/96",
            "'::ffff:0:0/96' is IPv4-mapped, so the IPv4 filter applies; put 0.0.0.0/0 in ipv4_filter",
        ),
        (
            6,
            "fe80::1%eth0",
            "'fe80::1%eth0' has a scope, which filters do not support; remove '%' and what follows it",
        ),
        (6, "[::1]", f"'[::1]' {NOT_IPV6}"),
        (6, 1, f"1 {NOT_IPV6}"),
    ],
)
@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize("end", ["src_ip", "dst_ip"])
def test_refused_cidrs(direction: str, family: int, end: str, cidr: Any, problem: str) -> None:
    key = f"{direction}.ipv{family}_filter.{end}"
    right = "10.0.0.0/8" if family == 4 else "2000::/3"
    assert problems_in(with_value(key, [right, cidr])) == [f"test: {key}[1]: {problem}"]


NO_PATH = "can match nothing: executables' paths have no '//', '/./' or '/../' and no '/' at the end; remove these"

NO_NAME = "is not the name of a file; give the executable's file name"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("uid", -1, f"-1 {OUT_OF_RANGE}"),
        ("euid", 2**32, f"4294967296 {OUT_OF_RANGE}"),
        ("auid", True, f"true {NOT_A_NUMBER}"),
        ("uid", "0", f"'0' {NOT_A_NUMBER}"),
        ("uid", "root", f"'root' {NOT_A_NUMBER}; `id -u NAME` prints that of a user"),
        ("gid", "root", f"'root' {NOT_A_NUMBER}; `getent group NAME` prints that of a group"),
        ("uid", 1.0, f"1.0 {NOT_A_NUMBER}"),
        ("uid", None, f"null {NOT_A_NUMBER}"),
        ("binary.name", "/bin/x", "'/bin/x' is a path, not a file name; put it in path or prefix"),
        ("binary.name", "", "'' is empty; leave it out"),
        ("binary.name", "a\0b", r"'a\x00b' contains a NUL character, which no path can contain"),
        ("binary.name", 7, "7 must be text; put it in quotes"),
        ("binary.name", "\ud800", r"'\ud800' cannot be written as UTF-8"),
        ("binary.path", "curl", f"'curl' {NOT_ABSOLUTE}"),
        ("binary.path", "./curl", f"'./curl' {NOT_ABSOLUTE}"),
        ("binary.prefix", "usr/", f"'usr/' {NOT_ABSOLUTE}"),
        ("binary.prefix", "", "'' is empty; leave it out"),
        ("binary.name", "..", f"'..' {NO_NAME}"),
        ("binary.path", "/", f"'/' {NO_PATH}"),
        ("binary.path", "/usr/bin/curl/", f"'/usr/bin/curl/' {NO_PATH}"),
        ("binary.path", "/usr//bin/curl", f"'/usr//bin/curl' {NO_PATH}"),
        ("binary.path", "/usr/bin/../bin/curl", f"'/usr/bin/../bin/curl' {NO_PATH}"),
        ("binary.path", "/usr/./bin/curl", f"'/usr/./bin/curl' {NO_PATH}"),
        ("binary.path", "/usr/bin/..", f"'/usr/bin/..' {NO_PATH}"),
        ("binary.prefix", "//", f"'//' {NO_PATH}"),
        ("binary.prefix", "/../usr", f"'/../usr' {NO_PATH}"),
        ("binary.prefix", "/usr/./", f"'/usr/./' {NO_PATH}"),
    ],
)
def test_refused_process_filter_values(key: str, value: Any, problem: str) -> None:
    path = f"process_filter.{key}"
    assert problems_in(with_value(path, [value])) == [f"test: {path}[0]: {problem}"]


NOT_A_PORT = "is not a port or a range of ports; write it like 443 or 8000-8999"

NO_PORT = "is out of range; ports go from 0 to 65535"


@pytest.mark.parametrize("key", ["ingress.port_filter.src_port", "egress.port_filter.dst_port"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (-1, f"-1 {NO_PORT}"),
        (65536, f"65536 {NO_PORT}"),
        ("1-65536", f"'1-65536' {NO_PORT}"),
        ("443", "'443' is text, not a number; write it like 443, without quotes and without leading zeros"),
        ("8999-8000", "'8999-8000' runs backwards; did you mean 8000-8999?"),
        ("8000-", f"'8000-' {NOT_A_PORT}"),
        ("-8000", f"'-8000' {NOT_A_PORT}"),
        ("8000 - 8999", f"'8000 - 8999' {NOT_A_PORT}"),
        ("1-\u0668", f"'1-\u0668' {NOT_A_PORT}"),
        ("https", "'https' is a service, not a port; did you mean 443?"),
        ("httpss", f"'httpss' {NOT_A_PORT}"),
        (True, f"true {NOT_A_PORT}"),
        (443.0, f"443.0 {NOT_A_PORT}"),
        (None, NOT_A_PORT),
    ],
)
def test_refused_ports(key: str, value: Any, problem: str) -> None:
    assert problems_in(with_value(key, [1, value])) == [f"test: {key}[1]: {problem}"]


def test_accepted_ports() -> None:
    config = load("egress:\n  enabled: true\n  port_filter:\n    dst_port: [0, 65535, 8000-8999, '7-7', 0-65535]\n")
    assert config.egress.port_filter == PortFilter(dst_port=[0, 65535, "8000-8999", "7-7", "0-65535"])


NOT_A_NETNS = "is not a network namespace; write its inode number, or a path like /run/netns/NAME or /proc/PID/ns/net"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (0, "0 is out of range; inode numbers of namespaces go from 1 to 4294967295"),
        (2**32, "4294967296 is out of range; inode numbers of namespaces go from 1 to 4294967295"),
        ("4026531840", "'4026531840' is text, not a number; did you mean 4026531840, without quotes?"),
        (
            "net:[4026531840]",
            "'net:[4026531840]' is text, not a number; did you mean 4026531840, without quotes?",
        ),
        ("blue", "'blue' is not a path; did you mean /run/netns/blue?"),
        ("run/netns/blue", f"'run/netns/blue' {NOT_A_NETNS}"),
        ("", f"'' {NOT_A_NETNS}"),
        ("/a\0b", r"'/a\x00b' contains a NUL character, which no path can contain"),
        (True, f"true {NOT_A_NETNS}"),
        (7.0, f"7.0 {NOT_A_NETNS}"),
        (None, NOT_A_NETNS),
    ],
)
def test_refused_network_namespaces(value: Any, problem: str) -> None:
    assert problems_in(with_value("netns_filter.netns", [1, value])) == [f"test: netns_filter.netns[1]: {problem}"]


def test_accepted_network_namespaces() -> None:
    """A path need not exist."""
    config = load("egress:\n  enabled: true\nnetns_filter:\n  netns: [1, 4294967295, /run/netns/absent]\n")
    assert config.netns_filter == NetnsFilter(netns=[1, 4294967295, "/run/netns/absent"])


def test_network_namespaces_are_looked_up_on_demand() -> None:
    text = "egress:\n  enabled: true\nnetns_filter:\n  netns:\n    - 7\n    - /proc/self/ns/net\n"
    config = load(text)
    assert Config.from_yaml("netmon.yaml", resolve=True) == config
    Path("netmon.yaml").write_text(f"{text}    - /run/netns/absent\n    - /dev/null\nreport: {{parent: 1}}\n")
    remedy = "give the path of an existing network namespace, or its inode number"
    absent = f"cannot be used: No such file or directory; {remedy}"
    with pytest.raises(ConfigError) as caught:
        Config.from_yaml("netmon.yaml", resolve=True)
    assert lines_of(caught.value) == [
        f"netmon.yaml:7: netns_filter.netns[2]: '/run/netns/absent' {absent}",
        f"netmon.yaml:8: netns_filter.netns[3]: '/dev/null' is not a namespace; {remedy}",
        "netmon.yaml:9: report.parent: 1 must be true or false, without quotes",
    ]


ID = strategies.ID

NO_CGROUP = "can match nothing: cgroups' paths have no '//', '/./' or '/../' and no '/' at the end; remove these"

NO_CONTAINER = "is not a container id, which has the digits 0 to 9 and a to f; give the id, not a name"

MORE = "has a prefix that is not part of a cgroup's path; did you mean"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        (
            "cgroup",
            "system.slice",
            "'system.slice' does not begin with '/'; give the path that follows '0::' in /proc/PID/cgroup",
        ),
        ("cgroup", "/system.slice/", f"'/system.slice/' {NO_CGROUP}"),
        ("cgroup", "//", f"'//' {NO_CGROUP}"),
        ("cgroup", "/a/../b", f"'/a/../b' {NO_CGROUP}"),
        ("cgroup", "0::/a", f"'0::/a' {MORE} /a?"),
        ("cgroup", "/sys/fs/cgroup/a", f"'/sys/fs/cgroup/a' {MORE} /a?"),
        ("cgroup", "", "'' is empty; leave it out"),
        ("cgroup", 7, "7 must be text; put it in quotes"),
        ("container_id", ID[:11], f"'{ID[:11]}' has 11 digits; give at least the first 12"),
        ("container_id", ID + "0", f"'{ID}0' has 65 digits; container ids have 64"),
        ("container_id", ID[:12].upper(), f"'{ID[:12].upper()}' {NO_CONTAINER}"),
        ("container_id", "web", f"'web' {NO_CONTAINER}"),
        ("container_id", ID[:12] + "\n", f"'{ID[:12]}\\n' {NO_CONTAINER}"),
        (
            "container_id",
            f"docker://{ID[:12]}",
            f"'docker://{ID[:12]}' includes the name of the runtime; did you mean {ID[:12]}?",
        ),
        ("container_id", 123456789012, "123456789012 must be text; put it in quotes"),
    ],
)
def test_refused_cgroups_and_container_ids(key: str, value: Any, problem: str) -> None:
    path = f"process_filter.{key}"
    assert problems_in(with_value(path, [value])) == [f"test: {path}[0]: {problem}"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("cgroup", "/"), ("cgroup", "/" + "x" * 254), ("container_id", ID), ("container_id", "0" * 12)],
)
def test_accepted_cgroups_and_container_ids(key: str, value: str) -> None:
    assert Config.from_dict(with_value(f"process_filter.{key}", [value]))


def test_accepted_dots_at_the_ends_of_names() -> None:
    binary = BinaryFilter(name=["..."], prefix=["/", "/x/.", "/x/.."], path=["/x/.local/a..", "/..."])
    assert Config.from_dict(with_value("process_filter.binary", binary.model_dump(exclude_none=True)))


@pytest.mark.parametrize(
    ("key", "most"), [("binary.name", 255), ("binary.path", 511), ("binary.prefix", 256), ("cgroup", 255)]
)
def test_lengths_are_counted_in_bytes(key: str, most: int) -> None:
    start = "" if key == "binary.name" else "/"
    longest = start + "x" * (most - len(start) - 2) + "\u00e9"
    path = f"process_filter.{key}"
    assert Config.from_dict(with_value(path, [longest]))
    (problem,) = problems_in(with_value(path, [longest + "x"]))
    assert problem.startswith(f"test: {path}[0]: '")
    assert problem.endswith(f"is {most + 1} bytes long; the kernel side compares at most {most}: shorten it")
    assert len(problem) < 200  # the value is shortened


def test_a_long_value_is_shortened() -> None:
    (problem,) = problems_in(with_value("egress.ipv4_filter.src_ip", ["10.0.0.0/" + "8" * 10_000]))
    assert len(problem) < 300

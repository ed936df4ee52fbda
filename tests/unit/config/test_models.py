"""Configurations: what is taken, what is refused and in which words, and the schema."""

from __future__ import annotations

import json
import os
import pickle
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from netmon.config import (
    BinaryFilter,
    Config,
    Direction,
    Ipv4Filter,
    Ipv6Filter,
    NetnsFilter,
    PortFilter,
    ProcessFilter,
    config_schema,
)
from netmon.config.problems import MAX_TOLD
from netmon.config.yaml_reader import REFUSED, load_yaml
from netmon.errors import ConfigError
from netmon.report import OPTIONS, Report
from tests.support import strategies

ON = {"enabled": True}
NOTHING_ENABLED = "neither ingress.enabled nor egress.enabled is true: nothing to watch; set one"

REFERENCE_BOTH = """
ingress:
  enabled: true
egress:
  enabled: true
"""
REFERENCE_CLUSTER = """
egress:
  enabled: true
  ipv4_filter:
    deny_list: true
    dst_ip:
      - 10.0.0.0/8
      - 172.16.0.0/12
      - 192.168.0.0/16
      - 127.0.0.1
      - 0.0.0.0
  ipv6_filter:
    dst_ip:
      - 2000::/3
process_filter:
  binary:
    name:
      - curl
"""


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str | bytes) -> Config:
    """Load netmon.yaml, with text in it."""
    path = Path("netmon.yaml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Config.from_yaml(path)


def problems_of(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def problems_in(data: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(data, source="test")
    return caught.value.problems


def nested(path: str, value: Any) -> dict[str, Any]:
    """Return {"a": {"b": value}} for "a.b"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def with_value(path: str, value: Any) -> dict[str, Any]:
    """Return a configuration that would be right, but for the value at a path."""
    data = nested(path, value)
    for direction in ("ingress", "egress"):
        if isinstance(data.get(direction, {}), dict):
            data[direction] = {**ON, **data.get(direction, {})}
    return data


def test_the_references_examples() -> None:
    assert load(REFERENCE_BOTH) == Config.everything()
    config = load(REFERENCE_CLUSTER)
    assert not config.ingress.enabled
    assert config.egress.enabled
    assert config.egress.ipv4_filter is not None
    assert config.egress.ipv4_filter.deny_list
    assert config.egress.ipv4_filter.dst_ip == (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.1",
        "0.0.0.0",
    )
    assert config.egress.ipv6_filter == Ipv6Filter(dst_ip=["2000::/3"])
    assert config.process_filter == ProcessFilter(binary=BinaryFilter(name=["curl"]))


def test_in_python() -> None:
    """Lists, tuples and ipaddress's objects are taken; the models cannot be changed."""
    network, address = IPv4Network("10.0.0.0/8"), IPv4Address("192.0.2.1")
    filter_ = Ipv4Filter(dst_ip=[network, address])  # type: ignore[list-item]
    config = Config(egress=Direction(enabled=True, ipv4_filter=filter_))
    assert config == Config.from_dict(
        {"egress": {"enabled": True, "ipv4_filter": {"dst_ip": ("10.0.0.0/8", "192.0.2.1")}}}
    )
    assert hash(config) == hash(Config.from_dict(config.to_dict()))
    with pytest.raises(ValidationError, match="frozen"):
        config.egress.enabled = False
    with pytest.raises(ValidationError, match="nothing to watch"):
        Config()


def test_filters_of_a_direction_that_is_off_are_taken() -> None:
    data = {"ingress": {"enabled": False, "ipv4_filter": {"src_ip": ["10.0.0.0/8"]}}, "egress": ON}
    assert Config.from_dict(data).ingress.ipv4_filter == Ipv4Filter(src_ip=["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("family", "cidr"),
    [
        ("ipv4_filter", "0.0.0.0/0"),
        ("ipv4_filter", "255.255.255.255/32"),
        ("ipv6_filter", "::/0"),
        ("ipv6_filter", "::/95"),  # IPv4-mapped addresses are among others
        ("ipv6_filter", "2001:DB8::/32"),
        ("ipv6_filter", "::fffe:0:0/96"),
        ("ipv6_filter", "::1.2.3.4"),
        ("ipv6_filter", "::1/128"),
        ("ipv6_filter", IPv6Network("2000::/3")),
    ],
)
def test_cidrs_that_are_taken(family: str, cidr: Any) -> None:
    assert Config.from_dict(with_value(f"egress.{family}.src_ip", [cidr]))


NOT_IPV4 = "is not an IPv4 address or CIDR; write it like 10.0.0.0/8 or 10.1.2.3"
NOT_IPV6 = "is not an IPv6 address or CIDR; write it like 2001:db8::/32 or ::1"


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
            "'::ffff:1.2.3.4' is IPv4-mapped, in an IPv4 list; write it as IPv4, like 1.2.3.4",
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
            "'10.0.0.0/255.0.0.0' has a netmask for a prefix length; did you mean 10.0.0.0/8?",
        ),
        (4, "example.org", f"'example.org' {NOT_IPV4}"),
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
            "'::ffff:10.1.2.3' is IPv4-mapped, which the IPv4 filter judges; put 10.1.2.3/32 in ipv4_filter",
        ),
        (
            6,
            "::ffff:a00:0/104",
            "'::ffff:a00:0/104' is IPv4-mapped, which the IPv4 filter judges; put 10.0.0.0/8 in ipv4_filter",
        ),
        (
            6,
            "::ffff:0:0/96",
            "'::ffff:0:0/96' is IPv4-mapped, which the IPv4 filter judges; put 0.0.0.0/0 in ipv4_filter",
        ),
        (
            6,
            "fe80::1%eth0",
            "'fe80::1%eth0' has a scope, which a filter cannot match; leave out '%' and what follows",
        ),
        (6, "[::1]", f"'[::1]' {NOT_IPV6}"),
        (6, 1, f"1 {NOT_IPV6}"),
    ],
)
@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize("end", ["src_ip", "dst_ip"])
def test_cidrs_that_are_refused(direction: str, family: int, end: str, cidr: Any, problem: str) -> None:
    key = f"{direction}.ipv{family}_filter.{end}"
    right = "10.0.0.0/8" if family == 4 else "2000::/3"
    assert problems_in(with_value(key, [right, cidr])) == [f"test: {key}[1]: {problem}"]


OUT_OF_RANGE = "is out of range; ids go from 0 to 4294967295"
NOT_A_NUMBER = "must be a whole number: decimal, without quotes"
NOT_ABSOLUTE = "does not begin with '/'; give the full path, or put a file name in name"
NO_PATH = "can match nothing: no executable's path has '//', '/./', '/../' or a '/' at its end"
NO_NAME = "is no file's name; give the executable's"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("uid", -1, f"-1 {OUT_OF_RANGE}"),
        ("euid", 2**32, f"4294967296 {OUT_OF_RANGE}"),
        ("auid", True, f"true {NOT_A_NUMBER}"),
        ("uid", "0", f"'0' {NOT_A_NUMBER}"),
        ("uid", "root", f"'root' {NOT_A_NUMBER}"),
        ("uid", 1.0, f"1.0 {NOT_A_NUMBER}"),
        ("uid", None, f"null {NOT_A_NUMBER}"),
        ("binary.name", "/bin/x", "'/bin/x' is a path, not a file name; put it in path, or prefix"),
        ("binary.name", "", "'' is empty; leave it out"),
        ("binary.name", "a\0b", r"'a\x00b' holds a NUL character, which no path can"),
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
def test_values_of_the_process_filter_that_are_refused(key: str, value: Any, problem: str) -> None:
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
        ("443", "'443' is not how a port is written; write it like 443, without quotes and without 0 before it"),
        ("8999-8000", "'8999-8000' runs backwards; did you mean 8000-8999?"),
        ("8000-", f"'8000-' {NOT_A_PORT}"),
        ("-8000", f"'-8000' {NOT_A_PORT}"),
        ("8000 - 8999", f"'8000 - 8999' {NOT_A_PORT}"),
        ("1-\u0668", f"'1-\u0668' {NOT_A_PORT}"),
        ("https", f"'https' {NOT_A_PORT}"),
        (True, f"true {NOT_A_PORT}"),
        (443.0, f"443.0 {NOT_A_PORT}"),
        (None, NOT_A_PORT),
    ],
)
def test_ports_that_are_refused(key: str, value: Any, problem: str) -> None:
    assert problems_in(with_value(key, [1, value])) == [f"test: {key}[1]: {problem}"]


def test_ports_that_are_taken() -> None:
    config = load("egress:\n  enabled: true\n  port_filter:\n    dst_port: [0, 65535, 8000-8999, '7-7', 0-65535]\n")
    assert config.egress.port_filter == PortFilter(dst_port=[0, 65535, "8000-8999", "7-7", "0-65535"])


NOT_A_NETNS = "is not a network namespace; write its inode number, or a path like /run/netns/NAME or /proc/PID/ns/net"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (0, "0 is out of range; inode numbers of namespaces go from 1 to 4294967295"),
        (2**32, "4294967296 is out of range; inode numbers of namespaces go from 1 to 4294967295"),
        ("4026531840", "'4026531840' is not how a number is written; did you mean 4026531840, without quotes?"),
        (
            "net:[4026531840]",
            "'net:[4026531840]' is not how a number is written; did you mean 4026531840, without quotes?",
        ),
        ("blue", "'blue' is not a path; did you mean /run/netns/blue?"),
        ("run/netns/blue", f"'run/netns/blue' {NOT_A_NETNS}"),
        ("", f"'' {NOT_A_NETNS}"),
        ("/a\0b", r"'/a\x00b' holds a NUL character, which no path can"),
        (True, f"true {NOT_A_NETNS}"),
        (7.0, f"7.0 {NOT_A_NETNS}"),
        (None, NOT_A_NETNS),
    ],
)
def test_network_namespaces_that_are_refused(value: Any, problem: str) -> None:
    assert problems_in(with_value("netns_filter.netns", [1, value])) == [f"test: netns_filter.netns[1]: {problem}"]


def test_network_namespaces_that_are_taken() -> None:
    """A path need not be there to be right."""
    config = load("egress:\n  enabled: true\nnetns_filter:\n  netns: [1, 4294967295, /run/netns/absent]\n")
    assert config.netns_filter == NetnsFilter(netns=[1, 4294967295, "/run/netns/absent"])


def test_network_namespaces_are_looked_up_on_demand() -> None:
    text = "egress:\n  enabled: true\nnetns_filter:\n  netns:\n    - 7\n    - /proc/self/ns/net\n"
    config = load(text)
    assert Config.from_yaml("netmon.yaml", look_up=True) == config
    Path("netmon.yaml").write_text(f"{text}    - /run/netns/absent\n    - /dev/null\nreport: {{parent: 1}}\n")
    remedy = "give the path of a network namespace that is there, or its inode number"
    absent = f"cannot be used: No such file or directory; {remedy}"
    with pytest.raises(ConfigError) as caught:
        Config.from_yaml("netmon.yaml", look_up=True)
    assert caught.value.problems == [
        f"netmon.yaml:7: netns_filter.netns[2]: '/run/netns/absent' {absent}",
        f"netmon.yaml:8: netns_filter.netns[3]: '/dev/null' is not a namespace; {remedy}",
        "netmon.yaml:9: report.parent: 1 must be true or false, without quotes",
    ]


ID = strategies.ID
NO_CGROUP = "can match nothing: no cgroup's path has '//', '/./', '/../' or a '/' at its end"
NO_CONTAINER = "is not a container's id, of the digits 0 to 9 and a to f; names are not looked up"
MORE = "has more before it than a cgroup's path; did you mean"


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
        ("container_id", ID + "0", f"'{ID}0' has 65 digits; ids have 64"),
        ("container_id", ID[:12].upper(), f"'{ID[:12].upper()}' {NO_CONTAINER}"),
        ("container_id", "web", f"'web' {NO_CONTAINER}"),
        ("container_id", ID[:12] + "\n", f"'{ID[:12]}\\n' {NO_CONTAINER}"),
        (
            "container_id",
            f"docker://{ID[:12]}",
            f"'docker://{ID[:12]}' names the runtime, too; did you mean {ID[:12]}?",
        ),
        ("container_id", 123456789012, "123456789012 must be text; put it in quotes"),
    ],
)
def test_where_a_process_is_that_is_refused(key: str, value: Any, problem: str) -> None:
    path = f"process_filter.{key}"
    assert problems_in(with_value(path, [value])) == [f"test: {path}[0]: {problem}"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("cgroup", "/"), ("cgroup", "/" + "x" * 254), ("container_id", ID), ("container_id", "0" * 12)],
)
def test_where_a_process_is_that_is_taken(key: str, value: str) -> None:
    assert Config.from_dict(with_value(f"process_filter.{key}", [value]))


def test_dots_that_names_begin_or_end_with() -> None:
    binary = BinaryFilter(name=["..."], prefix=["/", "/x/.", "/x/.."], path=["/x/.local/a..", "/..."])
    assert Config.from_dict(with_value("process_filter.binary", binary.model_dump()))


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
    assert problem.endswith(f"is {most + 1} bytes long; the kernel side compares at most {most}")
    assert len(problem) < 200  # the value is shortened


EMPTY_LIST = "is an empty list, which nothing can match; fill it or leave it out"
NULL = "is empty; fill it or leave it out"


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("ingress.ipv4_filter", {}, "is empty; give at least one of src_ip, dst_ip, or leave it out"),
        (
            "egress.ipv6_filter",
            {"deny_list": True},
            "is empty; give at least one of src_ip, dst_ip, or leave it out",
        ),
        ("egress.ipv4_filter.src_ip", [], EMPTY_LIST),
        ("egress.ipv4_filter.src_ip", "10.0.0.0/8", "'10.0.0.0/8' must be a list, even of one"),
        ("egress.ipv4_filter.src_ip", None, NULL),
        ("egress.ipv4_filter", None, NULL),
        ("egress.ipv4_filter", ["10.0.0.0/8"], "['10.0.0.0/8'] must be a mapping of keys"),
        ("egress.enabled", "yes", "'yes' must be true or false, without quotes"),
        ("egress.enabled", 1, "1 must be true or false, without quotes"),
        ("egress", None, NULL),
        ("egress", True, "true must be a mapping of keys"),
        ("egress.enabled", None, "null must be true or false, without quotes"),
        (
            "process_filter",
            {},
            "is empty; give at least one of uid, euid, auid, binary, cgroup, container_id, or leave it out",
        ),
        ("process_filter", None, NULL),
        ("process_filter.deny_list", "no", "'no' must be true or false, without quotes"),
        ("process_filter.uid", [], EMPTY_LIST),
        ("process_filter.uid", 0, "0 must be a list, even of one"),
        (
            "process_filter.binary",
            {},
            "is empty; give at least one of name, prefix, path, or leave it out",
        ),
        ("process_filter.binary", "curl", "'curl' must be a mapping of keys"),
        ("process_filter.binary.name", [], EMPTY_LIST),
        ("egres", {}, "unknown key; did you mean egress?"),
        (
            "other",
            1,
            "unknown key; known here: ingress, egress, netns_filter, process_filter, report",
        ),
        ("egress.enable", True, "unknown key; did you mean enabled?"),
        (
            "egress.port_filter",
            {"deny_list": True},
            "is empty; give at least one of src_port, dst_port, or leave it out",
        ),
        ("ingress.port_filter.src_port", [], EMPTY_LIST),
        ("ingress.port_filter.src_port", 22, "22 must be a list, even of one"),
        ("ingress.port_filter.ports", [22], "unknown key; did you mean src_port?"),
        ("netns_filter", {}, "is empty; give at least one of netns, or leave it out"),
        ("netns_filter", [7], "[7] must be a mapping of keys"),
        ("netns_filter.netns", 7, "7 must be a list, even of one"),
        ("netns_filter.netns", [], EMPTY_LIST),
        ("process_filter.container_ids", [], "unknown key; did you mean container_id?"),
        ("egress.ipv4_filters", {}, "unknown key; did you mean ipv4_filter?"),
        ("process_filter.uids", [0], "unknown key; did you mean uid?"),
        ("process_filter.gid", [0], "unknown key; did you mean uid?"),
        ("process_filter.binary.names", ["x"], "unknown key; did you mean name?"),
        ("report", None, NULL),
        ("report", ["parent"], "['parent'] must be a mapping of keys"),
        ("report", True, "true must be a mapping of keys"),
        ("report.parent", "yes", "'yes' must be true or false, without quotes"),
        ("report.parents", True, "unknown key; did you mean parent?"),
        ("report.enabled", True, f"unknown key; known here: {', '.join(OPTIONS)}"),
        *((name, True, f"moved: write report.{name}") for name in OPTIONS),
        *((f"{direction}.outcome", True, "moved: write report.outcome") for direction in ("ingress", "egress")),
    ],
)
def test_parts_that_are_refused(path: str, value: Any, problem: str) -> None:
    assert f"test: {path}: {problem}" in problems_in(with_value(path, value))


def test_report_options() -> None:
    text = "egress:\n  enabled: true\nreport:\n  outcome: true\n  parent: true\n"
    config = load(text)
    assert config.report == Report(outcome=True, parent=True)
    assert config == Config(egress=Direction(enabled=True), report=Report(outcome=True, parent=True))
    assert load("egress:\n  enabled: true\nreport: {}\n").report == Report() == Config.everything().report
    with pytest.raises(ValidationError, match="valid boolean"):
        Config(egress=Direction(enabled=True), report=Report(parent=1))  # type: ignore[arg-type]


NEEDS_EGRESS = "needs egress.enabled: true; set it, or leave outcome out"


@pytest.mark.parametrize("egress", [{}, {"egress": {}}, {"egress": {"enabled": False}}])
def test_outcome_without_egress_is_refused(egress: dict[str, Any]) -> None:
    config = {"ingress": ON, **egress, "report": {"outcome": True, "parent": True}}
    assert problems_in(config) == [f"test: report.outcome: {NEEDS_EGRESS}"]
    with pytest.raises(ValidationError, match=NEEDS_EGRESS):
        Config(ingress=Direction(enabled=True), report=Report(outcome=True))


def test_outcome_without_egress_is_reported_with_the_other_problems() -> None:
    assert problems_of("ingress:\n  enabled: true\nreport:\n  outcome: true\n  parent: 1\n") == [
        f"netmon.yaml:4: report.outcome: {NEEDS_EGRESS}",
        "netmon.yaml:5: report.parent: 1 must be true or false, without quotes",
    ]
    assert problems_in({"egress": {"enabled": "yes"}, "report": {"outcome": True}}) == [
        "test: egress.enabled: 'yes' must be true or false, without quotes"
    ]


def test_keys_that_are_not_text_or_not_words() -> None:
    assert problems_in({"egress": ON, 1: 2}) == ["test: [1]: 1 is a key, but not text; put it in quotes"]
    (problem,) = problems_in({"egress": {**ON, "a\nb": 1}})
    assert problem.startswith(r"test: egress['a\nb']: unknown key")


@pytest.mark.parametrize(
    "data",
    [{}, {"ingress": {}}, {"ingress": {"enabled": False}, "egress": {"enabled": False}}],
)
def test_nothing_enabled(data: dict[str, Any]) -> None:
    assert problems_in(data) == [f"test: {NOTHING_ENABLED}"]


@pytest.mark.parametrize("data", [None, [], "egress", 1])
def test_not_a_mapping(data: Any) -> None:
    expected = "must be a mapping with the keys ingress, egress, process_filter"
    assert problems_in(data) == [f"test: {expected}"]


def test_every_problem_is_told_at_once_where_it_stands() -> None:
    text = """\
ingress:
  enabled: "yes"
  ipv4_filter: {}
egress:
  enabled: false
  ipv4_filter:
    dst_ip:
      - 10.0.0.0/8
      - ::1
      - 10.0.0.1/8
  ipv6_filter:
    src_ip: ["::ffff:1.2.3.4", "2000::/3"]
    dst_ip: []
process_filter:
  binray:
    name: [a]
  binary:
    path: [x]
  uid: [0]
  uid: [-1]
"""
    assert problems_of(text) == [
        "netmon.yaml:2: ingress.enabled: 'yes' must be true or false, without quotes",
        "netmon.yaml:3: ingress.ipv4_filter: is empty; give at least one of src_ip, dst_ip, or leave it out",
        "netmon.yaml:9: egress.ipv4_filter.dst_ip[1]: '::1' is IPv6, in an IPv4 list; move it to ipv6_filter",
        "netmon.yaml:10: egress.ipv4_filter.dst_ip[2]: '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?",
        "netmon.yaml:12: egress.ipv6_filter.src_ip[0]: '::ffff:1.2.3.4' is IPv4-mapped, which the IPv4 filter "
        "judges; put 1.2.3.4/32 in ipv4_filter",
        f"netmon.yaml:13: egress.ipv6_filter.dst_ip: {EMPTY_LIST}",
        "netmon.yaml:15: process_filter.binray: unknown key; did you mean binary?",
        f"netmon.yaml:18: process_filter.binary.path[0]: 'x' {NOT_ABSOLUTE}",
        "netmon.yaml:20: process_filter.uid: stands twice, first on line 19; keep one",
        f"netmon.yaml:20: process_filter.uid[0]: -1 {OUT_OF_RANGE}",
    ]


def test_nothing_enabled_is_told_with_the_other_problems() -> None:
    assert problems_of("egress:\n  enabled: false\nprocess_filter:\n  uid: [x]\n") == [
        f"netmon.yaml:4: process_filter.uid[0]: 'x' {NOT_A_NUMBER}",
        f"netmon.yaml: {NOTHING_ENABLED}",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "netmon.yaml: is empty; enable ingress, egress or both"),
        ("# nothing\n", "netmon.yaml: is empty; enable ingress, egress or both"),
        ("- egress\n", "netmon.yaml: must be a mapping with the keys ingress, egress, process_filter"),
        (b"\xff\xfeegress:", "netmon.yaml: is not UTF-8 (byte 0); save it as UTF-8"),
        ("egress: \x01\n", "netmon.yaml: is not YAML: unacceptable character #x0001"),
        ("a: 1\n---\nb: 2\n", "netmon.yaml:2:1: is not YAML: expected a single document in the stream"),
        ("egress:\n\tenabled: true\n", "netmon.yaml:2:1: is not YAML: "),
        ("egress: {enabled: true\n", "netmon.yaml:2:1: is not YAML: while parsing a flow mapping"),
        ("[" * 5000, "netmon.yaml"),
        ("[" * 50 + "]" * 50, f"netmon.yaml:1: {'[0]' * 20}: is nested too deeply"),
        ("[" * 200 + "]" * 200, "netmon.yaml:1:121: is not YAML: is nested too deeply"),
        ("egress: *x\n", "netmon.yaml:1:9: is not YAML: found undefined alias"),
        ("? [a]\n: b\n", "netmon.yaml:1: 'a list or mapping' is a key, but not text; put it in quotes"),
        ("egress:\n  1: b\n", "netmon.yaml:2: egress: '1' is a key, but not text; put it in quotes"),
        ("egress: !x {}\n", "netmon.yaml:1: egress: has the tag '!x', which is not taken; leave it out"),
        ("egress: {enabled: !!bool yes}\n", "netmon.yaml:1: egress.enabled: has the tag "),
        ("egress: {enabled: !!int x}\n", "netmon.yaml:1: egress.enabled: has the tag "),
        ("process_filter: {uid: [!!int 010]}\n", "netmon.yaml:1: process_filter.uid[0]: has the tag "),
        ("egress: {enabled: true, <<: {}}\n", "netmon.yaml:1: egress['<<']: unknown key"),
        ("egress: {enabled: true}\negress: {}\n", "netmon.yaml:2: egress: stands twice, first on line 1; keep one"),
    ],
)
def test_files_that_are_refused(text: str | bytes, problem: str) -> None:
    assert problems_of(text)[0].startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("egress: &x {enabled: true}\ningress: *x\n", "2: ingress:"),
        ("egress: &x {enabled: true, ipv4_filter: *x}\n", "1: egress.ipv4_filter:"),
        ("egress: {enabled: &x true}\ningress: {enabled: *x}\n", "2: ingress.enabled:"),
    ],
)
def test_aliases_are_refused_and_what_they_stand_for_left_alone(text: str, problem: str) -> None:
    assert problems_of(text) == [f"netmon.yaml:{problem} is an alias (*), which is not taken; write it out"]


def test_an_alias_for_a_key() -> None:
    assert problems_of("&x egress: {enabled: true}\n*x : {}\n") == [
        "netmon.yaml:2: has an alias (*) for a key, which is not taken; write it out"
    ]


def test_an_alias_in_a_list_is_told_on_its_own_line() -> None:
    text = "egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n      - &x 10.0.0.0/8\n      - *x\n"
    assert problems_of(text) == [
        "netmon.yaml:6: egress.ipv4_filter.dst_ip[1]: is an alias (*), which is not taken; write it out"
    ]


def test_aliases_that_stand_for_very_much() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]" for i in range(20)]
    lines += ["egress: {enabled: true, ipv4_filter: {src_ip: *a20}}"]
    problems = problems_of("\n".join(lines))
    assert "netmon.yaml:22: egress.ipv4_filter.src_ip: is an alias (*), which is not taken; write it out" in problems


@pytest.mark.parametrize("scalar", ["yes", "on", "010", "0x10", "1_0", "1:30", "1e3", "1.0", "2024-01-01"])
def test_yaml_11s_surprises_are_text(scalar: str) -> None:
    """A uid of 010 is neither 8 nor 10, and `yes` is not true."""
    text = f"egress: {{enabled: {scalar}}}\nprocess_filter: {{uid: [{scalar}]}}\n"
    assert problems_of(text) == [
        f"netmon.yaml:1: egress.enabled: '{scalar}' must be true or false, without quotes",
        f"netmon.yaml:2: process_filter.uid[0]: '{scalar}' {NOT_A_NUMBER}",
    ]


def test_tags_that_say_what_a_value_is_anyway() -> None:
    text = "egress: !!map {enabled: !!bool true, ipv4_filter: {dst_ip: !!seq [!!str 10.0.0.0/8]}}"
    assert load(text) == load("egress: {enabled: true, ipv4_filter: {dst_ip: [10.0.0.0/8]}}")


def test_addresses_that_yaml_11_takes_for_numbers() -> None:
    text = "egress: {enabled: true, ipv6_filter: {dst_ip: [12:30:45:10:20:30:40:50]}}"
    assert load(text).egress.ipv6_filter == Ipv6Filter(dst_ip=["12:30:45:10:20:30:40:50"])


@pytest.mark.parametrize("scalar", ["true", "True", "TRUE"])
def test_truth(scalar: str) -> None:
    assert load(f"\ufeffegress: {{enabled: {scalar}}}").egress.enabled


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "x", "No such file or directory")):
        with pytest.raises(ConfigError) as caught:
            Config.from_yaml(str(path))
        assert caught.value.problems == [f"{path}: cannot be read: {reason}"]


def test_a_file_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"^'a\\x00b': cannot be read: "):
        Config.from_yaml("a\0b")


@pytest.mark.parametrize("address", ["::1", "fe80::"])
def test_an_ipv6_address_in_brackets_without_quotes(address: str) -> None:
    (problem,) = problems_of(f"egress:\n  enabled: true\n  ipv6_filter:\n    dst_ip: [{address}, 2000::/3]\n")
    assert problem.startswith("netmon.yaml:4:")
    assert problem.endswith("; IPv6 addresses in [ ] go in quotes")


def test_a_very_long_prefix_length() -> None:
    (problem,) = problems_in(with_value("egress.ipv4_filter.src_ip", ["10.0.0.0/" + "8" * 10_000]))
    assert len(problem) < 300


def test_a_config_error_survives_pickling() -> None:
    error = ConfigError(["one", "two"])
    assert pickle.loads(pickle.dumps(error)).problems == ["one", "two"]


def test_a_hundred_thousand_cidrs() -> None:
    cidrs = [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(100_000)]
    lines = "".join(f"      - {cidr}\n" for cidr in cidrs)
    config = load(f"egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n{lines}")
    assert config.egress.ipv4_filter is not None
    assert config.egress.ipv4_filter.dst_ip == tuple(cidrs)


def test_a_file_without_an_end() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_yaml("/dev/zero")
    assert caught.value.problems == ["/dev/zero: is larger than 256 MiB, which no configuration needs"]


def test_a_pipe() -> None:
    """As `netmon validate <(...)` gives it."""
    reader, writer = os.pipe()
    os.write(writer, REFERENCE_CLUSTER.encode())
    os.close(writer)
    assert Config.from_yaml(f"/dev/fd/{reader}") == load(REFERENCE_CLUSTER)
    os.close(reader)


NO_TAG = "which is not taken; leave it out"

# Items of a list: how they are written, what they are read as, and what is wrong with them.
ITEMS: list[tuple[str, Any, str | None]] = [
    *((text, text, None) for text in ("10.0.0.0/8", "::1", "007", "yes", "tRue", "+", "9" * 101)),
    *((text, int(text.split()[0]), None) for text in ("7", "-1", "+0", "9" * 100, "7 # or eight")),
    *((text, True, None) for text in ("true", "True", "TRUE", "!!bool tRue")),
    *((text, None, None) for text in ("", "~", "null", "Null", "!!null 7", "# nothing")),
    *((text, "7", None) for text in ("'7'", '"7"', "!!str 7", "|-\n    7", ">-\n    7")),
    *((text, "a b", None) for text in ("a b", "a\n    b", "'a\n    b'")),
    *((text, {"a": [7, []]}, None) for text in ("{a: [7, []]}", "a:\n    - 7\n    - []", "!!map\n    a: [7, []]")),
    ("!x 7", REFUSED, f"has the tag '!x', {NO_TAG}"),
    ("!x [7, {a: [7]}]", REFUSED, f"has the tag '!x', {NO_TAG}"),
    ("!!int x", REFUSED, f"has the tag 'tag:yaml.org,2002:int', {NO_TAG}"),
]


@given(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=MAX_TOLD))
def test_items_and_their_lines(items: list[tuple[str, Any, str | None]]) -> None:
    text, lines, problems = "list:\n", [], []
    for i, (item, _, problem) in enumerate(items):
        line = text.count("\n") + 1
        lines.append(line)
        text += f"  - {item}\n"
        if problem:
            problems.append((("list", i), problem, line))
    Path("netmon.yaml").write_text(text)
    document = load_yaml(Path("netmon.yaml"))
    assert document.data == {"list": [value for _, value, _ in items]}
    assert [document.line_of(("list", i)) for i in range(len(items))] == lines
    assert document.problems.told() == problems


MANY = 20_000


@pytest.mark.parametrize(
    ("key", "item", "told"),
    [
        ("dst_ip:", "- 10.0.{}.{}/8", ".dst_ip[0]: '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?"),
        ("dst_ip:", "- !x {}.{}", ".dst_ip[0]: has the tag '!x', which is not taken; leave it out"),
        ("dst_ip:", "- [{}, {}]", ".dst_ip[0]: is not an IPv4 address or CIDR; write it like 10.0.0.0/8 or 10.1.2.3"),
        ("# no key", "k{}_{}: 1", ".k0_1: unknown key; known here: deny_list, src_ip, dst_ip"),
        ("# no key", "? [{}, {}]\n      : 1", ": 'a list or mapping' is a key, but not text; put it in quotes"),
    ],
)
def test_of_many_problems_in_one_place_the_first_are_told(key: str, item: str, told: str) -> None:
    lines = "".join(f"      {item.format(i >> 8, i & 255)}\n" for i in range(1, MANY + 1))
    text = f"egress:\n  enabled: true\n  ipv4_filter:\n      {key}\n{lines}      src_ip: [x]\n"
    problems = problems_of(text)
    assert len(problems) == MAX_TOLD + 2
    each = len(item.splitlines())
    assert problems[0] == f"netmon.yaml:5: egress.ipv4_filter{told}"
    assert problems[-2].startswith(f"netmon.yaml:{5 + MAX_TOLD * each}: egress.ipv4_filter")
    assert problems[-2].endswith(": and 19,900 more, of which this is the first")
    assert problems[-1].startswith(f"netmon.yaml:{5 + MANY * each}: egress.ipv4_filter.src_ip[0]")


def test_of_problems_in_very_many_places_the_first_are_told() -> None:
    lines = "".join("      - [!x 1]\n" for _ in range(MANY))
    problems = problems_of(f"egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n{lines}")
    assert len(problems) < 2000
    assert (
        problems[0]
        == "netmon.yaml:5: egress.ipv4_filter.dst_ip[0][0]: has the tag '!x', which is not taken; leave it out"
    )
    assert problems[-1].endswith("more, of which this is the first")


def test_what_yaml_refuses_is_told_once() -> None:
    """And what is wrong beside it all the same."""
    text = (
        "report: &a !x true\nnetns_filter: *a\nprocess_filter: !x {}\n"
        "egress:\n  enabled: !x true\n  ipv4_filter:\n    dst_ip: [!x 1, 10.0.0.1/8, *a]\n"
    )
    tag, alias = (
        "has the tag '!x', which is not taken; leave it out",
        "is an alias (*), which is not taken; write it out",
    )
    assert problems_of(text) == [
        f"netmon.yaml:1: report: {tag}",
        f"netmon.yaml:2: netns_filter: {alias}",
        f"netmon.yaml:3: process_filter: {tag}",
        f"netmon.yaml:5: egress.enabled: {tag}",
        f"netmon.yaml:7: egress.ipv4_filter.dst_ip[0]: {tag}",
        f"netmon.yaml:7: egress.ipv4_filter.dst_ip[2]: {alias}",
        "netmon.yaml:7: egress.ipv4_filter.dst_ip[1]: '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?",
    ]


@given(strategies.configs())
def test_a_round_trip_through_a_dict(config: Config) -> None:
    data = config.to_dict()
    assert Config.from_dict(data) == config
    assert json.loads(json.dumps(data)) == data
    Draft202012Validator(config_schema()).validate(data)


@given(strategies.configs())
def test_a_round_trip_through_yaml(config: Config) -> None:
    assert load(yaml.safe_dump(config.to_dict())) == config


def test_the_schema_is_one_and_describes_each_key() -> None:
    schema = config_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for part in (schema, *schema["$defs"].values()):
        assert part["description"]
        assert part["additionalProperties"] is False
        assert None not in [value.get("default", 0) for value in part["properties"].values()]
        assert [key for key, value in part["properties"].items() if "description" not in value] == []


@pytest.mark.parametrize("text", [REFERENCE_BOTH, REFERENCE_CLUSTER])
def test_the_schema_takes_the_references_examples(text: str) -> None:
    Draft202012Validator(config_schema()).validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("other", 1),
        ("ingress.other", 1),
        ("ingress.ipv4_filter.other", ["10.0.0.0/8"]),
        ("egress.ipv6_filter.other", ["::1"]),
        ("process_filter.other", 1),
        ("process_filter.binary.other", ["x"]),
        ("egress.enabled", "yes"),
        ("statistics", True),
        ("egress.outcome", True),
        ("report", None),
        ("report.other", True),
        ("report.statistics", "yes"),
        ("report.opener", 1),
        ("report.parent", "true"),
        ("report.context", None),
        ("egress.ipv4_filter", None),
        ("egress.ipv4_filter.src_ip", "10.0.0.0/8"),
        ("egress.ipv4_filter.src_ip", []),
        ("egress.ipv4_filter.src_ip", [10]),
        ("egress.ipv4_filter.src_ip", None),
        ("ingress.port_filter", {"ports": [1]}),
        ("ingress.port_filter.src_port", [65536]),
        ("ingress.port_filter.src_port", [True]),
        ("ingress.port_filter.src_port", ["443"]),
        ("netns_filter.netns", [0]),
        ("netns_filter.netns", ["blue"]),
        ("process_filter.cgroup", [7]),
        ("process_filter.container_id", []),
        ("process_filter.container_id", ["web"]),
        ("process_filter.uid", [-1]),
        ("process_filter.uid", [2**32]),
        ("process_filter.uid", ["0"]),
        ("process_filter.uid", [True]),
    ],
)
def test_the_schema_and_the_models_refuse_the_same(path: str, value: Any) -> None:
    data = with_value(path, value)
    assert not Draft202012Validator(config_schema()).is_valid(data)
    assert problems_in(data)

"""Compiled filters: their verdicts agree with the independent model of the filters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.config import Config
from netmon.filters.compile import compile_filters
from netmon.layout import Direction
from tests.support import filter_model, strategies
from tests.support.filter_model import Program, Socket
from tests.unit.filters.evaluator import CURL, EGRESS, INGRESS, ON, verdict


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
def test_the_reference_example(daddr: str, passes: bool) -> None:
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
def test_allow_and_deny_each_endpoint_of_each_family_in_each_direction(
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


def test_the_ipv4_filter_applies_to_mapped_addresses() -> None:
    """The kernel half passes such addresses on as IPv4. Here the model unmaps them."""
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
        (TAIL._replace(uid=5), False),  # the uid of one and the euid of the other
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
    """It applies to one direction and to both families."""
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


@pytest.mark.parametrize("deny_list", [False, True])
def test_the_netns_filter(deny_list: bool) -> None:
    netns = {"netns": [7, 4026531840], "deny_list": deny_list}
    config = Config.from_dict({"ingress": ON, "egress": ON, "netns_filter": netns})
    for direction in Direction:
        for number, matches in ((7, True), (4026531840, True), (8, False)):
            assert verdict(config, direction, "::1", "::1", socket=Socket(netns=number)) == (matches != deny_list)


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
def test_the_filters_of_cgroups_and_containers(key: str, listed: str, matches: bool, deny_list: bool) -> None:
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


def test_filters_of_a_disabled_direction_are_left_out() -> None:
    off = {"enabled": False, "ipv4_filter": {"dst_ip": ["10.0.0.0/8"]}}
    config = Config.from_dict({"ingress": off, "egress": ON})
    assert compile_filters(config) == compile_filters(Config.from_dict({"egress": ON}))
    assert not filter_model.passes(config, INGRESS, "192.0.2.1", "192.0.2.2", CURL)

"""Hypothesis strategies: configurations, connections and programs from pools so small that they often meet."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import strategies as st

from netmon.config import Config
from tests.unit.model import Program

IPV4 = ["0.0.0.0", "10.0.0.1", "10.0.0.2", "10.128.0.1", "127.0.0.1", "192.168.1.7", "255.255.255.255"]
IPV6 = ["::", "::1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fe80::1", "ff02::1", "8000::"]
IDS = [0, 1, 1000, 2**31, 2**32 - 1]
PATHS = [
    "/usr/bin/curl",
    "/usr/bin/curl2",
    "/usr/bin/cur",
    "/usr/local/bin/curl",
    "/usr/bin/caf\u00e9",
    "/curl",
    "/memfd:curl",
    "/opt/" + "d" * 250 + "/" + "n" * 255,  # 511 bytes: the longest path that can be listed
    "/opt/" + "d" * 250 + "/" + "n" * 254,  # not told from it by the longest prefix, 256 bytes
]
# Paths that programs have, but no list can: none, not UTF-8, too long.
UNLISTABLE = [b"", b"/usr/bin/caf\xe9", b"/" + b"d" * 255 + b"/" + b"n" * 255]


@st.composite
def cidrs(draw: st.DrawFn, pool: list[str]) -> str:
    """Draw one of the pool's addresses, or a CIDR of any length around one."""
    address = draw(st.sampled_from(pool))
    if draw(st.booleans()):
        return address
    length = draw(st.integers(0, ip_address(address).max_prefixlen))
    return str(ip_network((address, length), strict=False))


def lists(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, min_size=1, max_size=4)


def sections(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a mapping with at least one of the keys."""
    return st.fixed_dictionaries({}, optional=keys).filter(bool)


def with_deny_list(section: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    deny_list = st.fixed_dictionaries({}, optional={"deny_list": st.booleans()})
    return st.builds(lambda left, right: {**left, **right}, section, deny_list)


def ip_filters(pool: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return with_deny_list(sections(src_ip=lists(cidrs(pool)), dst_ip=lists(cidrs(pool))))


prefixes = st.sampled_from(PATHS).flatmap(
    lambda path: st.integers(1, min(256, len(path))).map(lambda length: path[:length])
)
ids = lists(st.sampled_from(IDS))
binary_filters = sections(
    name=lists(st.sampled_from(PATHS).map(lambda path: path.rpartition("/")[2])),
    prefix=lists(prefixes.filter(lambda prefix: len(prefix.encode()) <= 256)),
    path=lists(st.sampled_from(PATHS).filter(lambda path: len(path.encode()) <= 511)),
)
process_filters = with_deny_list(sections(uid=ids, euid=ids, auid=ids, binary=binary_filters))


def directions(enabled: st.SearchStrategy[bool]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"enabled": enabled},
        optional={"ipv4_filter": ip_filters(IPV4), "ipv6_filter": ip_filters(IPV6)},
    )


@st.composite
def configs(draw: st.DrawFn, *, both: bool = False) -> Config:
    """Draw a configuration. both: with both directions enabled."""
    ingress = draw(directions(st.just(True) if both else st.booleans()))
    egress = draw(directions(st.just(True) if both or not ingress["enabled"] else st.booleans()))
    data = {"ingress": ingress, "egress": egress}
    process_filter = draw(st.none() | process_filters)
    if process_filter:
        data["process_filter"] = process_filter
    return Config.from_dict(data)


# saddr and daddr
ends = st.sampled_from([IPV4, IPV6]).flatmap(lambda pool: st.tuples(st.sampled_from(pool), st.sampled_from(pool)))
programs = st.builds(
    Program,
    *[st.sampled_from(IDS)] * 3,
    path=st.sampled_from([path.encode() for path in PATHS] + UNLISTABLE),
)

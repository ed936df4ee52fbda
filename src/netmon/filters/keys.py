"""The keys of the filter maps, made from the values of a configuration. A map's keys have one size each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from netmon.layout import (
    ID_KEY,
    IPV4_CIDR_KEY,
    IPV6_CIDR_KEY,
    PREFIX_KEY,
    Direction,
    Endpoint,
    EndpointList,
    Family,
    IdKind,
    Limit,
)

if TYPE_CHECKING:
    from netmon.config import Ipv4Filter, Ipv6Filter, PortFilter
    from netmon.config.checked import CheckedIpv4Filter, CheckedIpv6Filter, CheckedPortFilter

    IpFilters = Mapping[Direction, Ipv4Filter | Ipv6Filter | CheckedIpv4Filter | CheckedIpv6Filter]

# By number, what a list of addresses is for. The sets of ports have the same order.
LISTS = {
    number: (Direction[direction], Endpoint[endpoint])
    for number in EndpointList
    for direction, _, endpoint in [number.name.partition("_")]
}
LIST_NUMBER_SIZE = Limit.CIDR_LIST_BITS // 8


def unique(keys: Iterable[bytes]) -> bytes:
    """Concatenate keys; of equal ones, keep the first."""
    return b"".join(dict.fromkeys(keys))


def cidr_keys(family: Family, filters: IpFilters) -> bytes:
    """Return the LPM keys of one family's lists, concatenated."""
    if not filters:
        return b""
    from netmon.config.cidr import SOCKET_FAMILIES, split_cidr  # slow to import, and seldom needed

    pack = (IPV4_CIDR_KEY if family == Family.IPV4 else IPV6_CIDR_KEY).pack
    socket_family = SOCKET_FAMILIES[family]
    keys = bytearray()
    for list_, (direction, endpoint) in LISTS.items():
        filter_ = filters.get(direction)
        number = list_.to_bytes(LIST_NUMBER_SIZE, "big")
        for cidr in (filter_ and (filter_.src_ip if endpoint == Endpoint.SRC else filter_.dst_ip)) or ():
            address, length = split_cidr(cidr, socket_family)
            keys += pack(Limit.CIDR_LIST_BITS + length, number, address)
    return bytes(keys)


def port_sets(filters: Mapping[Direction, PortFilter | CheckedPortFilter]) -> bytes:
    """Return a struct port_sets; nothing without filters."""
    if not filters:
        return b""
    from netmon.config.ports import port_bits  # seldom needed

    sets = bytearray()
    for direction, endpoint in LISTS.values():
        filter_ = filters.get(direction)
        sets += port_bits((filter_ and (filter_.src_port if endpoint == Endpoint.SRC else filter_.dst_port)) or ())
    return bytes(sets)


def id_keys(lists: Mapping[IdKind, Sequence[int]]) -> bytes:
    """Return the keys of ids, each with its kind."""
    return unique(ID_KEY.pack(kind, number) for kind, numbers in lists.items() for number in numbers)


def padded_keys(texts: Iterable[str], size: int) -> bytes:
    """Return the keys of texts, padded with NULs to a size in bytes."""
    return unique(text.encode().ljust(size, b"\0") for text in texts)


def name_keys(names: Iterable[str], comms: Iterable[str]) -> bytes:
    """Return the keys of executables' names and of processes' names, which share a map: the latter follow a '/'.

    The kernel keeps no more than the first bytes of a process's name: a longer one is compared by these.
    """
    kept = (comm.encode()[: Limit.COMM_SIZE - 1] for comm in comms)
    return unique(name.ljust(Limit.NAME_SIZE, b"\0") for name in (*map(str.encode, names), *(b"/" + n for n in kept)))


def prefix_keys(prefixes: Iterable[str]) -> bytes:
    """Return the LPM keys of texts."""
    return unique(PREFIX_KEY.pack(8 * len(encoded), encoded) for encoded in map(str.encode, prefixes))


def cgroup_keys(paths: Iterable[str]) -> bytes:
    """Return the LPM keys of cgroups. They end with '/', as in the paths that the kernel compares: /a is not in /ab."""
    return prefix_keys(f"{path.rstrip('/')}/" for path in paths)

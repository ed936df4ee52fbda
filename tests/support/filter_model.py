"""An independent model of the filters' rules, with which tests compare what the filters do.

Written from the rules alone, with the standard library's addresses; nothing of netmon.filters is used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import PurePosixPath
from typing import NamedTuple, cast

from netmon import config as models
from netmon.config import Config, Ipv4Filter, Ipv6Filter, NetnsFilter, PortFilter, ProcessFilter
from netmon.config.checked import (
    CheckedConfig,
)
from netmon.layout import Direction


class Program(NamedTuple):
    """What process filters match. path: the executable's, without " (deleted)"; b"" if there is none.

    cgroup: the path that leads to it; container_id: of the innermost container in that. comm: the process's name; gid:
    its real group.
    """

    uid: int
    euid: int
    auid: int
    path: bytes
    cgroup: str = "/"
    container_id: str | None = None
    comm: bytes = b""
    gid: int = 0

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]


ID = "([0-9a-f]{64})"
RUNTIMES = "docker|cri-containerd|crio|libpod|libpod-payload|nerdctl"
CONTAINERS = (
    rf"(?:{RUNTIMES})-{ID}(?:\.scope)?",
    rf".*:(?:docker|cri-containerd|crio|libpod|nerdctl):{ID}(?:\.scope)?",
    rf"(?:docker|pod.*|kubepods.*|k8s\.io|moby|default|garden|actions_job)/{ID}",
    rf"ecs/[^/]*/{ID}",
)


def container_id_of(cgroup: str) -> str | None:
    """Return the id of the innermost container that a cgroup's path names; None on the host."""
    names = cgroup.split("/")[1:]
    for end in range(len(names), 0, -1):
        for pattern in CONTAINERS:
            levels = 1 + pattern.count("/")
            match = re.fullmatch(pattern, "/".join(names[max(0, end - levels) : end]))
            if match:
                return match[1]
    return None


class Socket(NamedTuple):
    """What filters match besides addresses: this host's port, the peer's port, the network namespace."""

    sport: int = 40000
    dport: int = 443
    netns: int = 1


SOCKET = Socket()


def passes(
    config: Config | CheckedConfig,
    direction: Direction,
    saddr: str,
    daddr: str,
    program: Program,
    socket: Socket = SOCKET,
) -> bool:
    """Return whether a connection is reported. saddr: this host's address; daddr: the peer's."""
    config = cast("Config", config)  # both have the same attributes
    part = config.ingress if direction == Direction.INGRESS else config.egress
    return (
        part.enabled
        and passes_addresses(part, saddr, daddr)
        and passes_ports(part.port_filter, socket)
        and passes_netns(config.netns_filter, socket.netns)
        and passes_process(config.process_filter, program)
    )


def passes_ports(filter_: PortFilter | None, socket: Socket) -> bool:
    """Src OR dst, with match: all AND, absent lists left out; deny_list inverts the whole."""
    if filter_ is None:
        return True
    ends = [(socket.sport, filter_.src_port), (socket.dport, filter_.dst_port)]
    matches = combine(filter_.match, [is_port_in(port, ports) for port, ports in ends if ports is not None])
    return not matches if filter_.deny_list else matches


def combine(match: str, ends: Sequence[bool]) -> bool:
    return all(ends) if match == "all" else any(ends)


def is_port_in(port: int, ports: Sequence[int | str] | None) -> bool:
    for listed in ports or ():
        first, _, last = str(listed).partition("-")
        if int(first) <= port <= int(last or first):
            return True
    return False


def passes_netns(filter_: NetnsFilter | None, netns: int) -> bool:
    """Match inode numbers; paths are not modelled."""
    if filter_ is None:
        return True
    matches = netns in (filter_.netns or ())
    return not matches if filter_.deny_list else matches


def passes_addresses(part: models.Direction, saddr: str, daddr: str) -> bool:
    """Match the filter of the connection's family, if there is one.

    src OR dst, with match: all AND, absent lists left out; deny_list inverts the whole.
    """
    source, destination = unmapped(saddr), unmapped(daddr)
    filter_: Ipv4Filter | Ipv6Filter | None = part.ipv4_filter if isinstance(source, IPv4Address) else part.ipv6_filter
    if filter_ is None:
        return True
    ends = [(source, filter_.src_ip), (destination, filter_.dst_ip)]
    matches = combine(filter_.match, [is_listed(address, cidrs) for address, cidrs in ends if cidrs is not None])
    return not matches if filter_.deny_list else matches


def passes_process(filter_: ProcessFilter | None, program: Program) -> bool:
    """All of uid, euid, auid, gid, binary, cgroup and container that are given; deny_list inverts the whole."""
    if filter_ is None:
        return True
    matches = (
        (filter_.uid is None or program.uid in filter_.uid)
        and (filter_.euid is None or program.euid in filter_.euid)
        and (filter_.auid is None or program.auid in filter_.auid)
        and (filter_.gid is None or program.gid in filter_.gid)
        and (filter_.binary is None or matches_binary(filter_.binary, program))
        and (filter_.cgroup is None or any(is_below(program.cgroup, cgroup) for cgroup in filter_.cgroup))
        and (filter_.container_id is None or (program.container_id or "").startswith(tuple(filter_.container_id)))
    )
    return not matches if filter_.deny_list else matches


def matches_binary(filter_: models.BinaryFilter, program: Program) -> bool:
    """Name OR prefix OR path OR comm, of which the kernel keeps 15 bytes."""
    return (
        any(program.name == name.encode() for name in filter_.name or ())
        or any(program.path.startswith(prefix.encode()) for prefix in filter_.prefix or ())
        or any(program.path == path.encode() for path in filter_.path or ())
        or any(program.comm == comm.encode()[:15] for comm in filter_.comm or ())
    )


def is_below(path: str, top: str) -> bool:
    """Return whether a path is top or below it."""
    return PurePosixPath(path).is_relative_to(top)


def is_listed(address: IPv4Address | IPv6Address, cidrs: Sequence[str] | None) -> bool:
    return any(address in network(cidr) for cidr in cidrs or ())


@lru_cache
def network(cidr: str) -> IPv4Network | IPv6Network:
    return ip_network(cidr)


def unmapped(text: str) -> IPv4Address | IPv6Address:
    """Return an address; of an IPv4-mapped one, its IPv4 address."""
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address

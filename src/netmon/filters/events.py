"""Filters events as the kernel half filters connections: for recordings, which have no kernel any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from netmon.errors import ArgumentError
from netmon.filters.compile import name_rules
from netmon.report import DIRECTION_OF

if TYPE_CHECKING:
    from netmon.config import BinaryFilter, Config, Direction, PortFilter, ProcessFilter
    from netmon.config.checked import (
        CheckedBinaryFilter,
        CheckedConfig,
        CheckedDirection,
        CheckedPortFilter,
        CheckedProcessFilter,
    )

REMEMBERED = 1 << 16  # open connections: the close of one beyond is judged like an opening
DELETED = " (deleted)"
PREFIX = "TcpConnection"
# Whether one end or both must be listed: the key `match`.
_COMBINE: Mapping[str, Callable[[Iterable[bool]], bool]] = {"any": any, "all": all}

Json = Mapping[str, Any]


class EventFilter:
    """Judges events, in the order in which they come: a close follows the verdict about its opening."""

    def __init__(self, config: Config | CheckedConfig, *, with_context: bool, with_names: bool = False) -> None:
        """Prepare to filter.

        Args:
            config: Which events to let pass. Of its report options only `events` counts.
            with_context: Whether events have the keys of the report option `context`.
            with_names: Whether events may have names.

        Raises:
            ArgumentError: The configuration asks for what events do not say.
        """
        process, netns = config.process_filter, config.netns_filter
        if process is not None and process.descendants:
            raise ArgumentError(
                "config", "has process_filter.descendants, but events do not say who descends from whom"
            )
        if process is not None and process.binary is not None and process.binary.comm:
            raise ArgumentError(
                "config", "has process_filter.binary.comm, but events do not say what a process calls itself"
            )
        needed = {
            "netns_filter": netns is not None,
            "process_filter.cgroup": process is not None and process.cgroup is not None,
        }
        for key, is_needed in needed.items():
            if is_needed and not with_context:
                raise ArgumentError("config", f"has {key}, but the events were recorded without --context")
        rules = name_rules(config)
        if rules is not None and not with_names:
            raise ArgumentError("config", "has name_filter, but the events were recorded without --names or --sni")
        self._names = None
        if rules is not None:
            from netmon.names.patterns import NameFilter  # seldom needed

            self._names = NameFilter(rules)
        self._config = config
        self._netns = (netns.netns if netns is not None else None) or ()
        if any(isinstance(one, str) for one in self._netns):
            raise ArgumentError("config", "has paths in netns_filter; give the inode numbers that the events have")
        self._verdicts: dict[int, bool] = {}

    def passes(self, event: Json) -> bool:
        """Return whether an event passes, a dict with the keys of the JSON. Reports of losses do."""
        if event["type"] != "NetworkEvent":
            return True
        network = event["network_event"]
        kind, cookie = network["type"].removeprefix(PREFIX).lower(), network["cookie"]
        if kind == "close" and cookie in self._verdicts:
            verdict = self._verdicts.pop(cookie)
        elif kind == "name" and cookie in self._verdicts:
            # Of its filters, that of names alone is judged anew: it is all that the event says more.
            verdict = self._verdicts[cookie] if self._names is None else self._judge(event, "egress")
            self._verdicts[cookie] = verdict
        else:
            verdict = self._judge(event, DIRECTION_OF.get(kind) or network.get("direction"))
            if kind not in ("close", "fail"):
                if len(self._verdicts) >= REMEMBERED:
                    del self._verdicts[next(iter(self._verdicts))]
                self._verdicts[cookie] = verdict
        return verdict and self._config.report.sends(kind)

    def _judge(self, event: Json, direction: str | None) -> bool:
        """Return whether a connection passes. direction: None if that is unknown; then any will do."""
        network, config = event["network_event"], self._config
        directions = [getattr(config, name) for name in ("ingress", "egress") if direction in (None, name)]
        if not any(_passes_direction(part, network) for part in directions if part.enabled):
            return False
        if self._names is not None and direction != "ingress" and not self._names.passes(network.get("names", ())):
            return False
        netns = config.netns_filter
        if netns is not None and (network.get("netns") in self._netns) == netns.deny_list:
            return False
        return config.process_filter is None or _passes_process(config.process_filter, event["process"])


def _passes_direction(part: Direction | CheckedDirection, network: Json) -> bool:
    if part.port_filter is not None and not _passes_ports(part.port_filter, network):
        return False
    saddr, daddr = network["saddr"], network["daddr"]
    addresses = part.ipv6_filter if ":" in saddr else part.ipv4_filter
    if addresses is None:
        return True
    ends = ((saddr, addresses.src_ip), (daddr, addresses.dst_ip))
    listed = (_is_listed(address, cidrs) for address, cidrs in ends if cidrs is not None)
    return _COMBINE[addresses.match](listed) != addresses.deny_list


def _is_listed(address: str, cidrs: Sequence[Any]) -> bool:
    packed = ip_address(address)
    return any(packed in _network(str(cidr)) for cidr in cidrs)


@cache
def _network(cidr: str) -> IPv4Network | IPv6Network:
    return ip_network(cidr, strict=False)


def _passes_ports(ports: PortFilter | CheckedPortFilter, network: Json) -> bool:
    ends = ((network["sport"], ports.src_port), (network["dport"], ports.dst_port))
    listed = (_is_in(port, wanted) for port, wanted in ends if wanted is not None)
    return _COMBINE[ports.match](listed) != ports.deny_list


def _is_in(port: int, listed: Sequence[Any]) -> bool:
    for one in listed:
        first, _, last = str(one).partition("-")
        if int(first) <= port <= int(last or first):
            return True
    return False


def _passes_process(wanted: ProcessFilter | CheckedProcessFilter, process: Json) -> bool:
    matches = (
        all(
            listed is None or process[key] in listed
            for key in ("uid", "euid", "auid", "gid", "pid")
            for listed in (getattr(wanted, key),)
        )
        and (wanted.binary is None or _matches_binary(wanted.binary, process))
        and (wanted.cgroup is None or any(_is_below(process["cgroup"], str(cgroup)) for cgroup in wanted.cgroup))
        and (
            wanted.container_id is None
            or process.get("container_id", "").startswith(tuple(map(str, wanted.container_id)))
        )
    )
    return matches != wanted.deny_list


def _matches_binary(binary: BinaryFilter | CheckedBinaryFilter, process: Json) -> bool:
    path = process["binary_path"].removesuffix(DELETED)
    if not path:  # an unknown one, or a kernel thread's: its file name is the thread's
        return False
    return (
        process["filename"] in (binary.name or ())
        or path in (binary.path or ())
        or path.startswith(tuple(map(str, binary.prefix or ())))
    )


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top.rstrip('/')}/")

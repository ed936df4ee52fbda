"""A configuration to what the kernel's maps and settings hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from netmon.filters.compiled import CompiledFilters, Watched
from netmon.layout import (
    ID_KEY,
    IPV4_CIDR_KEY,
    IPV6_CIDR_KEY,
    PREFIX_KEY,
    SETTINGS,
    Direction,
    End,
    Family,
    FilterMode,
    IdKind,
    Limit,
    Settings,
)

if TYPE_CHECKING:
    from netmon import config as models
    from netmon.config import Config, Ipv4Filter, Ipv6Filter, NetnsFilter, PortFilter, ProcessFilter

LIST_BITS = 32  # of an LPM key, before the address: the list's number


def compile_filters(config: Config | None) -> CompiledFilters:
    """Return what makes the kernel judge as config says: None is everything. What is not enabled takes no room.

    Raises ConfigError when a path stands for no network namespace.
    """
    settings = dict.fromkeys(Settings._fields, 0)
    if config is None:
        return CompiledFilters(Watched(), SETTINGS.pack(*settings.values()))
    ipv4 = ipv6 = b""
    for direction, part in ((Direction.INGRESS, config.ingress), (Direction.EGRESS, config.egress)):
        if not part.enabled:
            continue
        settings |= _connection_settings(direction, part)
        settings[f"connection_filters_{direction:d}_any"] = any(
            (part.ipv4_filter, part.ipv6_filter, part.port_filter, config.netns_filter)
        )
        ipv4 += _cidr_keys(direction, part.ipv4_filter, Family.IPV4)
        ipv6 += _cidr_keys(direction, part.ipv6_filter, Family.IPV6)
    process = config.process_filter
    binary = process.binary if process else None
    settings |= _process_settings(process)
    settings["netns_mode"] = _mode(config.netns_filter)
    return CompiledFilters(
        watched=Watched(
            ingress=config.ingress.enabled,
            egress=config.egress.enabled,
            report=config.report,
        ),
        settings=SETTINGS.pack(*Settings(**settings)),
        configured=True,
        ipv4_cidrs=ipv4,
        ipv6_cidrs=ipv6,
        ids=_unique(_id_keys(process, config.netns_filter)),
        binary_names=_padded(binary.name if binary else None, Limit.NAME_SIZE),
        binary_paths=_padded(binary.path if binary else None, Limit.BINARY_PATH_SIZE),
        binary_prefixes=_unique(_prefix_keys(binary.prefix if binary else None)),
        cgroups=_unique(_prefix_keys(_below(process.cgroup if process else None))),
        container_ids=_unique(_prefix_keys(process.container_id if process else None)),
        ports=_port_sets(config),
    )


def _unique(keys: Iterable[bytes]) -> bytes:
    return b"".join(dict.fromkeys(keys))


def _mode(filter_: Ipv4Filter | Ipv6Filter | PortFilter | NetnsFilter | ProcessFilter | None) -> FilterMode:
    if filter_ is None:
        return FilterMode.OFF
    return FilterMode.DENY if filter_.deny_list else FilterMode.ALLOW


def _connection_settings(direction: Direction, part: models.Direction) -> dict[str, int]:
    ipv4, ipv6, port = part.ipv4_filter, part.ipv6_filter, part.port_filter
    settings: dict[str, int] = {}
    for name, filter_, src, dst in (
        (f"addresses_{Family.IPV4:d}", ipv4, ipv4 and ipv4.src_ip, ipv4 and ipv4.dst_ip),
        (f"addresses_{Family.IPV6:d}", ipv6, ipv6 and ipv6.src_ip, ipv6 and ipv6.dst_ip),
        ("ports", port, port and port.src_port, port and port.dst_port),
    ):
        values = {"mode": _mode(filter_), "src": bool(src), "dst": bool(dst)}
        settings |= {f"connection_filters_{direction:d}_{name}_{key}": value for key, value in values.items()}
    return settings


def _process_settings(process: ProcessFilter | None) -> dict[str, int]:
    if process is None:
        return {}
    binary = process.binary
    present = {
        "uid": process.uid,
        "euid": process.euid,
        "auid": process.auid,
        "name": binary and binary.name,
        "prefix": binary and binary.prefix,
        "path": binary and binary.path,
        "cgroup": process.cgroup,
        "container_id": process.container_id,
    }
    flags = {f"process_filter_{name}": int(bool(values)) for name, values in present.items()}
    return {"process_filter_mode": _mode(process), **flags}


def _cidr_keys(direction: Direction, filter_: Ipv4Filter | Ipv6Filter | None, family: Family) -> bytes:
    """Return the LPM keys of a filter's lists."""
    if filter_ is None:
        return b""
    from netmon.config.cidr import SOCKET_FAMILIES, split_cidr  # slow to import, and seldom needed

    pack = (IPV4_CIDR_KEY if family == Family.IPV4 else IPV6_CIDR_KEY).pack
    socket_family = SOCKET_FAMILIES[family]
    keys = bytearray()
    for end, cidrs in ((End.SRC, filter_.src_ip), (End.DST, filter_.dst_ip)):
        number = (direction * 2 + end).to_bytes(4, "big")
        for cidr in cidrs or ():
            address, length = split_cidr(cidr, socket_family)
            keys += pack(LIST_BITS + length, number, address)
    return bytes(keys)


def _port_sets(config: Config) -> bytes:
    """Return struct port_sets; nothing when nothing asks for it."""
    filters = [part.port_filter if part.enabled else None for part in (config.ingress, config.egress)]
    if not any(filters):
        return b""
    from netmon.config.ports import port_bits

    return b"".join(
        port_bits(ports or ())
        for filter_ in filters
        for ports in (filter_ and filter_.src_port, filter_ and filter_.dst_port)
    )


def _id_keys(process: ProcessFilter | None, netns: NetnsFilter | None) -> Iterable[bytes]:
    lists: list[tuple[IdKind, Sequence[int] | None]] = []
    if process is not None:
        lists += [(IdKind.UID, process.uid), (IdKind.EUID, process.euid), (IdKind.AUID, process.auid)]
    if netns is not None:
        from netmon.config.netns import resolve_netns

        lists.append((IdKind.NETNS, resolve_netns(netns.netns or ())))
    for kind, ids in lists:
        for number in ids or ():
            yield ID_KEY.pack(kind, number)


def _padded(texts: Sequence[str] | None, size: int) -> bytes:
    return _unique(text.encode().ljust(size, b"\0") for text in texts or ())


def _prefix_keys(prefixes: Sequence[str] | None) -> Iterable[bytes]:
    for prefix in prefixes or ():
        encoded = prefix.encode()
        yield PREFIX_KEY.pack(8 * len(encoded), encoded)


def _below(cgroups: Sequence[str] | None) -> list[str]:
    """Return the paths with a '/' at their ends, as the kernel writes each: /a is no part of /ab."""
    return [f"{path.rstrip('/')}/" for path in cgroups or ()]

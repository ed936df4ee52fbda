"""The settings of the kernel half: which filters there are, and which of their lists."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from netmon.layout import SETTINGS, Direction, Family, FilterMode, Predicate, Settings

if TYPE_CHECKING:
    from netmon.config import checked, models

    Watching = models.Direction | checked.CheckedDirection
    NetnsFilter = models.NetnsFilter | checked.CheckedNetnsFilter
    ProcessFilter = models.ProcessFilter | checked.CheckedProcessFilter
    AnyFilter = (
        models.Ipv4Filter
        | models.Ipv6Filter
        | models.PortFilter
        | NetnsFilter
        | ProcessFilter
        | checked.CheckedIpv4Filter
        | checked.CheckedIpv6Filter
        | checked.CheckedPortFilter
    )

# An executable matches by its name, prefix or path, or by the process's name; all other lists must match.
ALTERNATIVES = {Predicate.NAME, Predicate.PREFIX, Predicate.PATH, Predicate.COMM}
INVERSE = {FilterMode.ALLOW: FilterMode.DENY, FilterMode.DENY: FilterMode.ALLOW}


def pack_settings(
    directions: Mapping[Direction, Watching],
    netns: NetnsFilter | None = None,
    process: ProcessFilter | None = None,
    process_lists: Collection[str] = (),
    wanted: Mapping[str, int] | None = None,
) -> bytes:
    """Return a struct settings.

    Args:
        directions: The directions that are enabled.
        netns: The filter of network namespaces.
        process: The filter of processes.
        process_lists: The names of its lists.
        wanted: The fields that say what rules want.
    """
    settings: dict[str, int] = {**dict.fromkeys(Settings._fields, 0), **(wanted or {})}
    for direction, part in directions.items():
        filters = f"connection_filters_{direction:d}"
        settings |= _connection_settings(filters, part)
        settings[f"{filters}_any"] = any((part.ipv4_filter, part.ipv6_filter, part.port_filter, netns))
    settings["netns_mode"] = _mode(netns)
    settings["process_filter_mode"] = _mode(process)
    predicates = {Predicate[name.upper()] for name in process_lists}
    settings["process_filter_all"] = sum(predicates - ALTERNATIVES)
    settings["process_filter_any"] = sum(predicates & ALTERNATIVES)
    return SETTINGS.pack(*Settings(**settings))


def _mode(filter_: AnyFilter | None) -> FilterMode:
    if filter_ is None:
        return FilterMode.OFF
    return FilterMode.DENY if filter_.deny_list else FilterMode.ALLOW


def _connection_settings(filters: str, part: Watching) -> dict[str, int]:
    ipv4, ipv6, port = part.ipv4_filter, part.ipv6_filter, part.port_filter
    settings: dict[str, int] = {}
    for name, filter_, src, dst in (
        (f"addresses_{Family.IPV4:d}", ipv4, ipv4 and ipv4.src_ip, ipv4 and ipv4.dst_ip),
        (f"addresses_{Family.IPV6:d}", ipv6, ipv6 and ipv6.src_ip, ipv6 and ipv6.dst_ip),
        ("ports", port, port and port.src_port, port and port.dst_port),
    ):
        mode, negated = _mode(filter_), filter_ is not None and filter_.match == "all"
        # Both match: not that one does not.
        values = {"mode": INVERSE[mode] if negated else mode, "src": bool(src), "dst": bool(dst), "negated": negated}
        settings |= {f"{filters}_{name}_{key}": value for key, value in values.items()}
    return settings

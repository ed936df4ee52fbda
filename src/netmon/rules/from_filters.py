"""Makes rules of filters: a configuration that reports the same connections.

What a rule could say only with further report options, or not at all, stays a filter: filters and rules go together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netmon.errors import NetmonError

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.config.checked import CheckedConfig

NOTE = (
    "Of filters. Beside these rules there is room for others, with names and severities. What rules cannot say as the",
    "kernel half does, or only with further report options, stays a filter.",
)
DIRECTIONS = ("ingress", "egress")
FAMILIES = {"ipv4": "0.0.0.0/0", "ipv6": "::/0"}
_IDS = ("uid", "euid", "auid", "gid", "pid")
_BINARY = ("name", "prefix", "path")


def convert_filters(config: Config | CheckedConfig, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration, as plain data, whose rules let pass what the filters of another one do.

    Args:
        config: The other one.
        plain: The same, as it was read.

    Raises:
        NetmonError: It has rules already.
    """
    if config.has_rules:
        raise NetmonError("has rules already, which go together with its filters; there is nothing to convert")
    plain = dict(plain)
    process = _process(config.process_filter)
    if process:
        del plain["process_filter"]
    for name in DIRECTIONS:
        part = getattr(config, name)
        if not part.enabled:
            plain.pop(name, None)
            continue
        conditions = [one for one in (_addresses(part), _ports(part.port_filter), process) if one]
        when = {"when": _joined(conditions, "AND")} if conditions else {}
        plain[name] = {"enabled": True, "rules": [{"rule": "passes-the-filters", **when}]}
    return plain


def _joined(conditions: Sequence[str], operator: str) -> str:
    """Return conditions as one; each is a comparison, NOT of a group, or a group in parentheses."""
    return conditions[0] if len(conditions) == 1 else f" {operator} ".join(conditions)


def _group(conditions: Sequence[str], operator: str) -> str:
    return conditions[0] if len(conditions) == 1 else f"({_joined(conditions, operator)})"


def _ends(filter_: Any, comparisons: Sequence[str]) -> str:
    """Return the condition of a filter with two ends: one or both must match, or it is inverted."""
    group = _group(comparisons, "AND" if filter_.match == "all" else "OR")
    return f"NOT {group}" if filter_.deny_list else group


def _addresses(part: Any) -> str:
    """Return the condition of the filters of addresses; "" without one. A family without a filter passes."""
    found = []
    for family, everything in FAMILIES.items():
        filter_ = getattr(part, f"{family}_filter")
        if filter_ is None:
            found.append(f'{family}_dst == "{everything}"')
            continue
        ends = [
            f"{family}_{end} in [{', '.join(_quoted(cidr) for cidr in cidrs)}]"
            for end in ("src", "dst")
            if (cidrs := getattr(filter_, f"{end}_ip")) is not None
        ]
        found.append(_ends(filter_, ends))
    if part.ipv4_filter is part.ipv6_filter is None:
        return ""
    return _group(found, "OR")


def _ports(filter_: Any) -> str:
    if filter_ is None:
        return ""
    ends = [
        f"port_{end} in [{', '.join(map(str, ports))}]"
        for end in ("src", "dst")
        if (ports := getattr(filter_, f"{end}_port")) is not None
    ]
    return _ends(filter_, ends)


def _process(filter_: Any) -> str:
    """Return the condition of a filter of processes; "" without one, and if it stays a filter."""
    if filter_ is None or filter_.descendants or filter_.cgroup or (filter_.binary and filter_.binary.comm):
        return ""
    if filter_.deny_list and (filter_.container_id or filter_.binary):
        return ""  # NOT of what a process lacks, such as a container, is unknown to rules
    parts = [f"{key} in [{', '.join(map(str, ids))}]" for key in _IDS if (ids := getattr(filter_, key)) is not None]
    texts: list[tuple[str, Iterable[Any]]] = []
    if filter_.binary is not None:
        texts = [(f"binary_{key}", values) for key in _BINARY if (values := getattr(filter_.binary, key)) is not None]
    if any('"' in str(value) for _, values in texts for value in values):
        return ""
    if texts:
        parts.append(_group([_comparison(key, values) for key, values in texts], "OR"))
    if filter_.container_id is not None:
        parts.append(_comparison("container_id", filter_.container_id))
    return f"NOT {_group(parts, 'AND')}" if filter_.deny_list else _group(parts, "AND")


def _comparison(key: str, values: Iterable[Any]) -> str:
    return f"{key} in [{', '.join(_quoted(value) for value in values)}]"


def _quoted(value: object) -> str:
    return f'"{value}"'

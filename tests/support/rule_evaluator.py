"""Conditions as tests make them, and a second, slow evaluator of them: SQL's logic of three values, written apart.

It knows nothing of netmon.rules: it compares the keys of an event's JSON by Python's own means.
"""

# Without `from __future__ import annotations`, as of netmon.rules.

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

Json = dict[str, Any]


class Compare(NamedTuple):
    """A comparison. values: as Python has them; durations in microseconds."""

    attribute: str
    operator: str
    values: Sequence[Any]


class Invert(NamedTuple):
    """NOT."""

    inner: "Condition"


class Join(NamedTuple):
    """AND, OR."""

    operator: str
    parts: "Sequence[Condition]"


Condition = Compare | Invert | Join


def text_of(condition: Condition) -> str:
    """Return a condition in the language."""
    if isinstance(condition, Invert):
        return f"NOT ({text_of(condition.inner)})"
    if isinstance(condition, Join):
        return "(" + f" {condition.operator} ".join(map(text_of, condition.parts)) + ")"
    values = [
        f'"{value}"' if isinstance(value, str) else unit_of(condition.attribute, value) for value in condition.values
    ]
    if condition.operator in ("in", "not in"):
        return f"{condition.attribute} {condition.operator} [{', '.join(values)}]"
    return f"{condition.attribute} {condition.operator} {values[0]}"


def unit_of(attribute: str, value: int) -> str:
    return f"{value}us" if attribute in ("duration", "rtt", "handshake") else str(value)


def evaluate(condition: Condition, event: Json, direction: str | None) -> bool | None:
    """Return whether an event makes a condition true; None: it does not say."""
    if isinstance(condition, Invert):
        inner = evaluate(condition.inner, event, direction)
        return None if inner is None else not inner
    if isinstance(condition, Join):
        results = [evaluate(part, event, direction) for part in condition.parts]
        if condition.operator == "AND":
            return False if False in results else None if None in results else True
        return True if True in results else None if None in results else False
    return compare(condition, event, direction)


def compare(comparison: Compare, event: Json, direction: str | None) -> bool | None:
    name, operator, values = comparison
    value = value_of(name, event, direction)
    if value is None:
        return None
    equal: Callable[[Any], bool]
    if name.startswith("ip"):
        equal = lambda wanted: ip_address(value) in ip_network(wanted)  # noqa: E731
    elif name == "binary_prefix":
        equal = value.startswith
    elif name in ("secureexec", "capabilities"):
        equal = lambda wanted: wanted in value.split(" | ") or value == "ALL_CAPS"  # noqa: E731
    else:
        equal = value.__eq__
    wanted = values[0]
    found: dict[str, Callable[[], bool]] = {
        "==": lambda: equal(wanted),
        "!=": lambda: not equal(wanted),
        "in": lambda: any(map(equal, values)),
        "not in": lambda: not any(map(equal, values)),
        "<": lambda: value < wanted,
        "<=": lambda: value <= wanted,
        ">": lambda: value > wanted,
        ">=": lambda: value >= wanted,
        "like": lambda: bool(glob(wanted, "/" if name == "binary_path" else "").fullmatch(value)),
        "not like": lambda: not glob(wanted, "/" if name == "binary_path" else "").fullmatch(value),
    }
    return found[operator]()


def glob(pattern: str, separator: str) -> re.Pattern[str]:
    """Return a pattern of `like` as a regular expression."""
    one = f"[^{separator}]*" if separator else ".*"
    parts = re.split(r"(\*\*|\*)", pattern)
    return re.compile("".join({"**": ".*", "*": one}.get(part, re.escape(part)) for part in parts), re.DOTALL)


def value_of(name: str, event: Json, direction: str | None) -> Any:
    """Return the value of an attribute; None if the event does not have it."""
    process, network = event["process"], event["network_event"]
    kind = network["type"].removeprefix("TcpConnection").lower()
    if name in ("ip_src", "ip_dst", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst"):
        address = network["saddr" if name.endswith("src") else "daddr"]
        return address if name.startswith("ip_") or str(ip_address(address).version) == name[3] else None
    if name == "bytes":
        both = [network.get("bytes_sent"), network.get("bytes_received")]
        return None if None in both else sum(both)
    path = process["binary_path"].removesuffix(" (deleted)")
    if "binary_path" in process.get("truncated", ""):
        path = ""
    values = {
        "binary_path": path or None,
        "binary_prefix": path or None,
        "binary_name": process["filename"] or None if "filename" not in process.get("truncated", "") else None,
        "event_type": kind,
        "direction": direction,
        "port_src": network["sport"],
        "port_dst": network["dport"],
        "duration": network.get("duration_us"),
        "rtt": network.get("rtt_us"),
        "handshake": network.get("handshake_us"),
        "capabilities": process["cap_effective"],
    }
    if name in values:
        return values[name]
    return process.get(name, network.get(name))

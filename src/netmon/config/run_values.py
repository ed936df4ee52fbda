"""The values of the section `run:`, as the flags of the same names have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from netmon import amounts

# Times and sizes: what reads the text of each.
AMOUNTS: dict[str, Callable[[str], float]] = {
    "aggregate": amounts.period,
    "ring_size": amounts.ring_size,
    "batch_delay": amounts.batch_delay,
    "line_limit": amounts.line_limit,
    "record_limit": amounts.size,
}
# The type of each value.
TYPES: dict[str, type[Any]] = {
    "aggregate": float,
    "lost_events": bool,
    "argv": bool,
    "ring_size": int,
    "batch_delay": float,
    "line_limit": int,
    "record": str,
    "record_limit": int,
    "any_kernel": bool,
    "user": str,
    "confine": bool,
    "format": str,
    "fields": str,
    "template": str,
    "each": bool,
    "color": bool,
    "outputs": list,
    "control": str,
    "control_group": str,
    "metrics": bool,
}


def values_of(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the settings that are given. section: checked, None for those that are not given."""
    given = {name: value for name, value in section.items() if value is not None}
    for name, parse in AMOUNTS.items():
        if name in given:
            given[name] = parse(given[name])
    if "outputs" in given:
        given["outputs"] = [
            {key: [*value] if isinstance(value, tuple) else value for key, value in keys.items() if value is not None}
            for keys in (output._asdict() for output in given["outputs"])
        ]
    if "fields" in given:
        given["fields"] = ",".join(given["fields"])
    return given

"""Reads the events that `netmon run` writes: JSON, one object a line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]


def types_of(events: list[Event]) -> list[str]:
    """Return the events' types without their common prefix: Establish, Accept, Close."""
    return [event["network_event"]["type"].removeprefix("TcpConnection") for event in events]


def types_by_cookie(events: Iterable[Event]) -> dict[int, list[str]]:
    """Return the types of each connection's events."""
    told: dict[int, list[str]] = defaultdict(list)
    for event in events:
        told[event["network_event"]["cookie"]] += types_of([event])
    return told


def ends(event: Event) -> tuple[str, int, str, int]:
    """Return saddr, sport, daddr, dport."""
    network = event["network_event"]
    return network["saddr"], network["sport"], network["daddr"], network["dport"]

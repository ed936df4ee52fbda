"""Reads the events that `netmon run` writes: JSON, one object a line."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]


def parse(lines: bytes) -> tuple[list[Event], list[dict[str, Any]]]:
    """Return the events about connections, and what each LostEvents says; any netmon may report some of these."""
    parsed = [json.loads(line) for line in lines.splitlines()]
    losses = [event["lost_events"] for event in parsed if event["type"] == "LostEvents"]
    return [event for event in parsed if event["type"] != "LostEvents"], losses


def of_cookie(events: list[Event], cookie: int) -> list[Event]:
    """Return the events of one socket."""
    return [event for event in events if event["network_event"]["cookie"] == cookie]


def types_of(events: list[Event]) -> list[str]:
    """Return the events' types without their common prefix: Establish, Accept, Close."""
    return [event["network_event"]["type"].removeprefix("TcpConnection") for event in events]


def types_by_cookie(events: Iterable[Event]) -> dict[int, list[str]]:
    """Return the types of each connection's events, by its socket's cookie."""
    types: dict[int, list[str]] = defaultdict(list)
    for event in events:
        types[event["network_event"]["cookie"]] += types_of([event])
    return types


def endpoints_of(event: Event) -> tuple[str, int, str, int]:
    """Return saddr, sport, daddr, dport."""
    network = event["network_event"]
    return network["saddr"], network["sport"], network["daddr"], network["dport"]

"""Lines of events for tests of outputs, and what is left of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PADDING = "x" * 400


def event(number: int, type_: str = "Establish") -> bytes:
    """Return the line of an event that has a number, which begins and ends like one of netmon's."""
    args = json.dumps(f'{PADDING}"network_event":{{"type":"TcpConnectionFail"')
    return (
        f'{{"type":"NetworkEvent","process":{{"args":{args}}},"network_event":{{"type":"TcpConnection{type_}",'
        f'"saddr":"10.0.0.1","daddr":"10.0.0.2","sport":1,"dport":2,"cookie":{number}}},"timestamp":"t"}}\n'
    ).encode()


def events(start: int, end: int) -> bytes:
    """Return the lines of the events with these numbers."""
    return b"".join(map(event, range(start, end)))


def parsed(data: bytes) -> list[dict[str, Any]]:
    """Return what lines say; each must be a whole one."""
    assert data.endswith(b"\n") or not data
    return [json.loads(line) for line in data.splitlines()]


def numbers(lines: Iterable[dict[str, Any]]) -> list[int]:
    """Return the numbers of the events."""
    return [line["network_event"]["cookie"] for line in lines if line["type"] == "NetworkEvent"]


def lost_in(lines: Iterable[dict[str, Any]], name: str) -> int:
    """Return how many events the LostEvents among the lines count under a name."""
    return sum(line["lost_events"]["outputs"].get(name, 0) for line in lines if line["type"] == "LostEvents")


def in_order(path: Path) -> Iterator[Path]:
    """Yield a rotated file's parts, the oldest first."""
    old = [one for one in path.parent.iterdir() if one.name.startswith(f"{path.name}.")]
    yield from sorted(old, key=lambda one: -int(one.name.removeprefix(f"{path.name}.").split(".")[0]))
    yield path

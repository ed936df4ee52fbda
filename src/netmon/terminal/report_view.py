"""The report at the end of `netmon exec --report`: who connected where, when and how often, what failed, the bytes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from netmon.decode.format import format_json
from netmon.terminal import describe
from netmon.terminal.cells import pad
from netmon.terminal.describe import ARROWS, CLOSE, FAIL, NAME, PROGRESS, Json, endpoint, local_time, serving
from netmon.terminal.row import IN, OUT
from netmon.terminal.units import size
from netmon.terminal.view import Event
from netmon.text import escape_for_terminal

KEPT = 10_000  # programs and peers: the connections of further ones are counted together
REMEMBERED = 16_384  # open connections: the bytes of the oldest beyond are counted as those of an unknown direction

MOST_NAMES = 4  # of a peer

_HEADER = ("program", "peer", "first", "last", "connections", "failed", "sent", "received")
_DIRECTIONS = {arrow: direction for direction, arrow in ARROWS.items()}

# The path of the program, the direction's arrow, the peer's address, and the server's port; () for all others.
Key = tuple[Any, ...]


class Entry:
    """What one program did with one peer."""

    def __init__(self, first: str) -> None:
        """Make it. first: the time of its first event."""
        self.first = self.last = first
        self.opened = self.failed = self.sent = self.received = 0
        self.reasons: Counter[str] = Counter()
        self.names: dict[str, None] = {}  # of the peer, in order


class ReportView:
    """Shows nothing while events come, and a report at the end. Its memory is bounded."""

    def __init__(self, form: str, *, ascii_only: bool = False, allowing: Callable[[], list[str]] | None = None) -> None:
        """Make it.

        Args:
            form: `table`, `json` or `markdown`.
            ascii_only: See escape_for_terminal().
            allowing: Returns the rules that would allow all this, if it is what was not expected.
        """
        self._allowing = allowing
        self._form = form
        self._ascii_only = ascii_only
        self._entries: dict[Key, Entry] = {}
        self._open: dict[int, Key] = {}

    def lines(self, events: Iterable[str]) -> list[str]:
        """Count the events; return no lines."""
        from orjson import loads  # slow to import

        for event in map(loads, events):
            if event["type"] == "NetworkEvent" and event["network_event"]["type"] != PROGRESS:  # the close counts
                self._count(event, event["network_event"])
        return []

    def finish(self) -> list[str]:
        """Return the report."""
        if self._form == "json":
            return [f"{format_json([self._json(key, entry) for key, entry in self._entries.items()])}\n"]
        escape = _for_markdown if self._form == "markdown" else str
        rows = [self._row(key, entry, escape) for key, entry in self._entries.items()]
        rules = self._allowing() if self._allowing is not None and rows else []
        if self._form == "markdown":
            return [*_markdown(rows, expected=self._allowing is not None), *_fenced(rules)]
        widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
        table = ["  ".join(map(pad, row, widths)).rstrip() + "\n" for row in (_HEADER, *rows)] if rows else []
        return [*table, *([f"\n{_TO_ALLOW}\n\n", *(f"{line}\n" for line in rules)] if rules else [])]

    def summary(self) -> list[str]:
        """Return no lines."""
        return []

    def _count(self, event: Event, network: Json) -> None:
        key = self._key_of(event, network)
        entry = self._entries.get(key) or self._entries.setdefault(
            key if len(self._entries) < KEPT else (), Entry(event["timestamp"])
        )
        entry.last = event["timestamp"]
        if key in self._entries and len(entry.names) < MOST_NAMES and (name := describe.name_of(network)):
            entry.names[name] = None
        if network["type"] == NAME:
            return
        if network["type"] == CLOSE:
            entry.sent += network.get("bytes_sent", 0)
            entry.received += network.get("bytes_received", 0)
        elif network["type"] == FAIL:
            entry.failed += 1
            entry.reasons[network.get("reason", "other")] += 1
        else:
            entry.opened += 1

    def _key_of(self, event: Event, network: Json) -> Key:
        """Return the program and the peer; of a close, those of its opening."""
        cookie = network["cookie"]
        if network["type"] == CLOSE and cookie in self._open:
            return self._open.pop(cookie)
        arrow = describe.arrow_of(network, OUT)
        port = network["sport"] if arrow == IN else network["dport"]
        key = (event["process"]["binary_path"], arrow, network["daddr"], port)
        if network["type"] not in (CLOSE, FAIL):
            if len(self._open) >= REMEMBERED:
                del self._open[next(iter(self._open))]
            self._open[cookie] = key
        return key

    def _json(self, key: Key, entry: Entry) -> dict[str, Any]:
        names = ("binary_path", "direction", "peer", "port")
        values = (key[0], _DIRECTIONS[key[1]], *key[2:]) if key else (None,) * len(names)
        return {
            **dict(zip(names, values, strict=True)),
            "first": entry.first,
            "last": entry.last,
            "connections": entry.opened,
            "failed": entry.failed,
            "reasons": dict(entry.reasons),
            "bytes_sent": entry.sent,
            "bytes_received": entry.received,
            **({"names": list(entry.names)} if entry.names else {}),
        }

    def _row(self, key: Key, entry: Entry, escape: Callable[[str], str]) -> list[str]:
        program, peer = "(others)", ""
        if key:
            path, arrow, address, port = key
            program = escape(escape_for_terminal(path.rpartition("/")[2] or path, self._ascii_only))
            peer = escape(f"{arrow} {_peer(arrow, address, port, next(iter(entry.names), ''))}")
        reasons = " ".join(
            f"{name}" if count == entry.failed else f"{count} {name}" for name, count in entry.reasons.items()
        )
        failed = f"{entry.failed} ({reasons})" if reasons else "0"
        times = (local_time(entry.first), local_time(entry.last))
        return [program, peer, *times, str(entry.opened), failed, size(entry.sent), size(entry.received)]


def _peer(arrow: str, address: str, port: int, name: str) -> str:
    return serving(address, port) if arrow == IN else endpoint(address, port, name)


_TO_ALLOW = "Not expected. To allow it, add these rules to the file:"


def _fenced(rules: list[str]) -> list[str]:
    """Return rules as a block of Markdown, whatever is in their texts."""
    if not rules:
        return []
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", "\n".join(rules))), default=0))
    return [f"\n{_TO_ALLOW}\n\n{fence}yaml\n", *(f"{line}\n" for line in rules), f"{fence}\n"]


def _markdown(rows: list[list[str]], *, expected: bool) -> list[str]:
    """Return a table of Markdown; its texts are escaped. expected: whether expected ones are left out."""
    if not rows:
        return ["Nothing unexpected.\n" if expected else "No connections.\n"]
    right = 4  # columns of numbers, at the end
    rule = ["---"] * (len(_HEADER) - right) + ["---:"] * right
    return [f"| {' | '.join(row)} |\n" for row in (_HEADER, rule, *rows)]


def _for_markdown(text: str) -> str:
    """Return text that Markdown shows as it is: all punctuation of ASCII can be escaped there."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]()<>#|&~!" else char for char in text)

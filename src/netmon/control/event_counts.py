"""Counts connections for metrics, from the lines of JSON that are written: only if metrics are asked for.

What processes choose is bounded here: no peer's address is kept, and of executables some.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

# Seconds. From what a local network takes to what a retransmitted SYN does; and from a request to a day.
HANDSHAKE_BOUNDS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0)
DURATION_BOUNDS = (0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0, 86400.0)

TOP = 20  # executables with a count of their own
CANDIDATES = 1000  # further ones that are looked at between two rankings
MAX_NAME = 200  # characters of an executable's path

# A text of a process cannot look so: its quotation marks are escaped.
_CONNECTION = '"network_event":{"type":"TcpConnection'
_BINARY = '"binary_path":"'
_SUMMARY = '{"type":"NetworkSummary"'

# The direction, and what is known of the result, of an event that opens a connection.
OPENINGS = {
    "Establish": ("egress", "requested"),  # with `outcome`: "established"
    "Fail": ("egress", "failed"),
    "Accept": ("ingress", "accepted"),
}


class Histogram:
    """Counts times by ranges."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Begin without any. bounds: the upper ends of the ranges in seconds; a last range has no end."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum_us = 0

    def add_us(self, microseconds: int) -> None:
        """Count a time."""
        self._counts[bisect_left(self._bounds, microseconds / 1e6)] += 1
        self._sum_us += microseconds

    def document(self) -> dict[str, Any]:
        """Return the bounds, how many times are in each range, and their sum in seconds."""
        return {"bounds": [*self._bounds], "counts": [*self._counts], "sum": self._sum_us / 1e6}


class TopCounts:
    """Counts names, of which there may be any number: those that are seen most by themselves, the others as one.

    A ranking gives a place to a name that was seen more than twice as often, since the ranking before, as the one that
    has it. A new name begins with what was counted since then, and no count ever falls: the sum of all is no total.
    """

    def __init__(self, top: int = TOP, candidates: int = CANDIDATES) -> None:
        """Begin without any. top: names with a count of their own; candidates: names that are looked at for these."""
        self._top = top
        self._candidates = candidates
        self._counts: dict[str, int] = {}
        self._recent: Counter[str] = Counter()  # since the last ranking
        self._others = 0
        self._others_now = 0  # since the last ranking, of names that found no room

    def add(self, name: str, count: int = 1) -> None:
        """Count a name."""
        if name in self._recent or len(self._recent) < self._candidates + self._top:
            self._recent[name] += count
        else:
            self._others_now += count

    def rank(self) -> tuple[dict[str, int], int]:
        """Return the counts by name, and that of all other names, after a ranking."""
        recent, self._recent = self._recent, Counter()
        others, self._others_now = self._others_now, 0
        newcomers = [(name, count) for name, count in recent.most_common() if name not in self._counts]
        counts = dict(self._counts)
        for name in counts:
            counts[name] += recent[name]
        least = sorted(counts, key=lambda name: recent[name], reverse=True)
        for name, count in newcomers:
            if len(counts) < self._top:
                counts[name] = count
            elif least and count > 2 * recent[least[-1]]:
                del counts[least.pop()]
                counts[name] = count
            else:
                others += count
        self._counts = counts
        self._others += others
        return counts, self._others


class EventCounts:
    """What lines of JSON say of connections, added up. One thread adds; another may look."""

    def __init__(self, *, outcome: bool, statistics: bool) -> None:
        """Begin without any.

        Args:
            outcome: Whether an Establish says that the connection was established, and how long that took.
            statistics: Whether a Close says what the connection has carried.
        """
        self._established = "established" if outcome else "requested"
        self._detailed = {*(["Establish", "Fail"] if outcome else []), *(["Close"] if statistics else [])}
        self._events: Counter[str] = Counter()  # by the name of the type
        self._failures: Counter[str] = Counter()
        self._endings: Counter[str] = Counter()
        self._summed: Counter[str] = Counter()
        self._handshakes = Histogram(HANDSHAKE_BOUNDS)
        self._durations = Histogram(DURATION_BOUNDS)
        self._sent = self._received = 0
        self._binaries = TopCounts()

    def add(self, lines: Iterable[str]) -> None:
        """Count the events of lines."""
        events, add_binary, detailed = self._events, self._binaries.add, self._detailed
        for line in lines:
            start = line.rfind(_CONNECTION)
            if start < 0:
                if line.startswith(_SUMMARY):
                    self._add_summary(line)
                continue
            start += len(_CONNECTION)
            end = line.index('"', start)
            name = line[start:end]
            events[name] += 1
            if name in OPENINGS:
                add_binary(binary_of(line))
            if name in detailed:
                self._add_details(name, line[end : line.index("}", end)])  # flat up to `names`

    def _add_details(self, name: str, part: str) -> None:
        """Add what report options have added to an event. part: its keys."""
        if name == "Close":
            if (duration := _number(part, '"duration_us":')) is not None:
                self._durations.add_us(duration)
                self._sent += _number(part, '"bytes_sent":') or 0
                self._received += _number(part, '"bytes_received":') or 0
            if ending := _word(part, '"closed_by":"'):
                self._endings[ending] += 1
        elif name == "Fail":
            self._failures[_word(part, '"reason":"')] += 1
        elif (handshake := _number(part, '"handshake_us":')) is not None:
            self._handshakes.add_us(handshake)

    def _add_summary(self, line: str) -> None:
        import orjson  # imported for the events

        flow = orjson.loads(line)["flow"]
        opened = flow["opened"]
        self._summed[f"{flow['direction']} opened"] += opened
        self._summed[f"{flow['direction']} failed"] += flow["failed"]
        self._sent += flow["bytes_sent"]
        self._received += flow["bytes_received"]
        if opened:
            self._binaries.add(binary_of(line), opened)

    def document(self) -> dict[str, Any]:
        """Return the counts as plain data, after a ranking of the executables."""
        binaries, others = self._binaries.rank()
        return {
            "connections": self._connections(),
            "closed": self._events["Close"],
            "failures": {**self._failures},
            "endings": {**self._endings},
            "handshakes": self._handshakes.document(),
            "durations": self._durations.document(),
            "bytes_sent": self._sent,
            "bytes_received": self._received,
            "binaries": binaries,
            "other_binaries": others,
        }

    def _connections(self) -> list[Mapping[str, Any]]:
        counts: Counter[tuple[str, str]] = Counter()
        for name, (direction, result) in OPENINGS.items():
            counts[direction, self._established if name == "Establish" else result] = self._events[name]
        for direction, opened in (("egress", "requested"), ("ingress", "accepted")):
            counts[direction, opened] += self._summed[f"{direction} opened"]
            counts[direction, "failed"] += self._summed[f"{direction} failed"]
        return [
            {"direction": direction, "result": result, "count": count}
            for (direction, result), count in counts.items()
            if count or result not in ("requested", "failed")
        ]


def binary_of(line: str) -> str:
    """Return the path of the executable of an event's process as JSON has it, harmless and bounded."""
    start = line.find(_BINARY) + len(_BINARY)
    return line[start : line.find('","', start)][:MAX_NAME]


def _number(text: str, key: str) -> int | None:
    at = text.find(key)
    if at < 0:
        return None
    at += len(key)
    end = text.find(",", at)
    return int(text[at:] if end < 0 else text[at:end])


def _word(text: str, key: str) -> str:
    at = text.find(key)
    return text[at + len(key) : text.index('"', at + len(key))] if at >= 0 else ""

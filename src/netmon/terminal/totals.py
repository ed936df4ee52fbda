"""The summary for a person: who connected where, how often, what failed, how much was carried."""

from __future__ import annotations

from netmon.terminal.cells import pad_left
from netmon.terminal.units import size

SHOWN = 10
KEPT = 1000  # programs and peers that are counted one by one: further ones are counted together

_HEADER = ("connections", "failed", "sent", "received", "who and where")


class Totals:
    """Counts connections, failed attempts and bytes by program and peer. Its memory is bounded."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._others = [0, 0, 0, 0]
        self._has_others = False

    def add(self, who: str, opened: int = 0, failed: int = 0, sent: int = 0, received: int = 0) -> None:
        """Add to the counts of a program and a peer, in one harmless text."""
        counts = self._counts.get(who)
        if counts is None:
            if len(self._counts) < KEPT:
                counts = self._counts[who] = [0, 0, 0, 0]
            else:
                counts, self._has_others = self._others, True
        counts[0] += opened
        counts[1] += failed
        counts[2] += sent
        counts[3] += received

    def lines(self) -> list[str]:
        """Return a table of those with the most connections and failures, and of all others together."""
        if not self._counts:
            return []
        ordered = sorted(self._counts.items(), key=lambda item: (item[1][0] + item[1][1], item[1][2:]), reverse=True)
        rows = [(*map(str, counts[:2]), *map(size, counts[2:]), who) for who, counts in ordered[:SHOWN]]
        rest = [counts for _, counts in ordered[SHOWN:]]
        if rest:
            sums = map(sum, zip(self._others, *rest, strict=True))
            opened, failed, sent, received = sums
            number = f"more than {len(rest)}" if self._has_others else str(len(rest))
            rows.append((str(opened), str(failed), size(sent), size(received), f"({number} others)"))
        widths = [max(len(row[column]) for row in (_HEADER, *rows)) for column in range(4)]
        return ["  ".join([*map(pad_left, row, widths), row[4]]) for row in (_HEADER, *rows)]

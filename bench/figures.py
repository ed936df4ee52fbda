"""Medians of what was measured, and how they compare."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any


class Figures:
    """Samples by monitor, load and figure."""

    def __init__(self, samples: Iterable[dict[str, Any]]) -> None:
        self._values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        for sample in samples:
            for figure, value in sample["figures"].items():
                self._values[sample["monitor"], sample["load"], figure].append(value)

    def values(self, monitor: str, load: str, figure: str) -> Sequence[float]:
        """Return all, round by round."""
        return self._values.get((monitor, load, figure), ())

    def median(self, monitor: str, load: str, figure: str) -> float | None:
        """Return the middle one, if there is any."""
        values = self.values(monitor, load, figure)
        return statistics.median(values) if values else None

    def loads(self, prefix: str) -> list[str]:
        """Return the loads whose names begin so, in order of appearance."""
        return [load for load in dict.fromkeys(load for _, load, _ in self._values) if load.startswith(prefix)]


def ratio(value: float | None, to: float | None) -> float | None:
    """Return one figure as a multiple of another."""
    return value / to if value is not None and to else None

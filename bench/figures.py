"""Medians of the measurements, and their ratios."""

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
        """Return the values of all rounds."""
        return self._values.get((monitor, load, figure), ())

    def median(self, monitor: str, load: str, figure: str) -> float | None:
        """Return the median, if there are values."""
        values = self.values(monitor, load, figure)
        return statistics.median(values) if values else None

    def loads(self, prefix: str) -> list[str]:
        """Return the loads whose names begin with a prefix, in order of appearance."""
        return [load for load in dict.fromkeys(load for _, load, _ in self._values) if load.startswith(prefix)]


def ratio(value: float | None, to: float | None) -> float | None:
    """Return one figure as a multiple of another."""
    return value / to if value is not None and to else None

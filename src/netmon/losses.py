"""Counts of what was lost."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

# The fields of Losses that count events lost for sure, in the order in which LostEvents has them.
EVENT_REASONS = ("ring_full", "no_storage", "flows_full", "unknown_process")

NO_OUTPUTS: Mapping[str, int] = MappingProxyType({})


class Losses(NamedTuple):
    """What was lost since the start, by reason."""

    ring_full: int = 0  # events that found no room in the ring buffer
    no_storage: int = 0  # events of connections for which the kernel had no memory
    missed: int = 0  # an upper bound: how often the kernel skipped a program that would have reported an event
    flows_full: int = 0  # events that found no room in the aggregates
    unknown_process: int = 0  # events of a process that was never described
    path_incomplete: int = 0  # processes reported with part of their path
    args_incomplete: int = 0  # processes reported with part of their arguments
    unknown_opener: int = 0  # closes reported without the process that opened, which was evicted
    outputs: Mapping[str, int] = NO_OUTPUTS  # events that one output alone lost, by the output's name

    @property
    def total(self) -> int:
        """How many events were lost for sure, before any output: `missed`, an upper bound, is left out."""
        return sum(getattr(self, reason) for reason in EVENT_REASONS)

    def since(self, earlier: "Losses") -> "Losses":
        """Return what was lost since an earlier reading. It has only those outputs that lost something since."""
        outputs = ((name, count - earlier.outputs.get(name, 0)) for name, count in self.outputs.items())
        # `missed` may sink: it is an upper bound, which falls when a backup program reports what the main one skipped.
        counts = (max(0, count - before) for count, before in zip(self[:-1], earlier[:-1], strict=True))
        return Losses._make([*counts, {name: count for name, count in outputs if count > 0}])

    def reasons(self) -> list[tuple[str, int]]:
        """Return each reason, in words, with its count; outputs are left out."""
        return [(name.replace("_", " "), getattr(self, name)) for name in self._fields if name != "outputs"]

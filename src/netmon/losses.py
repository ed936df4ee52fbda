"""Counts of what was lost."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

# The fields of Losses that count events lost for sure, in the order in which LostEvents has them.
EVENT_REASONS = ("ring_full", "no_storage", "flows_full", "unknown_process")

NO_OUTPUTS: Mapping[str, int] = MappingProxyType({})


class Losses(NamedTuple):
    """What was lost since the start, by reason.

    Attributes:
        ring_full: Events that found no room in the ring buffer.
        no_storage: Events of connections for which the kernel had no memory.
        missed: An upper bound of further events: how often the kernel skipped a program that would have reported one.
        flows_full: Events that found no room in the table of flows (aggregate mode).
        unknown_process: Events that were dropped because their process was never described.
        path_incomplete: Processes reported with the last part of their path only.
        args_incomplete: Processes reported without all of their arguments.
        cgroup_incomplete: Processes reported with the last part of their cgroup's path only.
        unknown_opener: Closes reported without the process that opened the connection, which was evicted.
        blind_ms: Milliseconds, at most, in which the kernel did not run netmon's programs: nothing of them was seen.
        outputs: Events that one output alone lost, by the output's name.
    """

    ring_full: int = 0
    no_storage: int = 0
    missed: int = 0
    flows_full: int = 0
    unknown_process: int = 0
    path_incomplete: int = 0
    args_incomplete: int = 0
    cgroup_incomplete: int = 0
    unknown_opener: int = 0
    blind_ms: int = 0
    outputs: Mapping[str, int] = NO_OUTPUTS

    @property
    def total(self) -> int:
        """How many events were lost for sure, before any output: `missed`, an upper bound, is left out."""
        return sum(getattr(self, reason) for reason in EVENT_REASONS)

    def since(self, earlier: "Losses") -> "Losses":
        """Return what was lost since an earlier reading. It has only those outputs that lost something since."""
        outputs = ((name, count - earlier.outputs.get(name, 0)) for name, count in self.outputs.items())
        # `missed` may sink: it is an upper bound, which falls when a backup program reports what the main one did not.
        counts = (max(0, count - before) for count, before in zip(self[:-1], earlier[:-1], strict=True))
        return Losses._make([*counts, {name: count for name, count in outputs if count > 0}])

    def describe(self) -> str:
        """Return the losses in words, as describe_losses() does."""
        reasons = {name: getattr(self, name) for name in self._fields if name not in ("blind_ms", "outputs")}
        return describe_losses(self.total, reasons, self.blind_ms, self.outputs)


def describe_losses(total: int, reasons: Mapping[str, int], blind_ms: int, outputs: Mapping[str, int]) -> str:
    """Return losses in words: `12 lost (12 ring full), blind for 1.0 s, 3 not written to file`."""
    counts = ", ".join(
        f"{'at most ' * (name == 'missed')}{count} {name.replace('_', ' ')}" for name, count in reasons.items() if count
    )
    by_output = "".join(f", {count} not written to {name}" for name, count in outputs.items())
    blind = f", blind for {blind_ms / 1000:.1f} s" if blind_ms else ""
    return f"{total} lost" + (f" ({counts})" if counts else "") + blind + by_output

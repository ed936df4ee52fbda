"""Counts of what was lost."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

# The fields of Losses that count events lost for sure, in the order in which LostEvents has them.
EVENT_REASONS = ("ring_full", "over_budget", "no_storage", "flows_full", "unknown_process")

# The fields of Losses that are counts by name, the last ones.
BY_NAME = ("offenders", "outputs")

NO_COUNTS: Mapping[str, int] = MappingProxyType({})

OTHERS = "others"  # in place of names, where there are too many
TOP = 8  # names in a report


class Losses(NamedTuple):
    """What was lost since the start, by reason.

    Attributes:
        ring_full: Events that found no room in the ring buffer.
        over_budget: Events of cgroups (or users) that had used their share of a ring buffer that was filling up.
        no_storage: Events of connections for which the kernel had no memory.
        missed: An upper bound of further events: how often the kernel skipped a program that would have reported one.
        flows_full: Events that found no room in the table of flows (aggregate mode).
        unknown_process: Events that were dropped because their process was never described.
        path_incomplete: Processes reported with the last part of their path only.
        args_incomplete: Processes reported without all of their arguments.
        answers_lost: Answers of name servers that netmon could not read: there was no room in the ring buffer, or they
            were not in one piece of memory (`names`; so are the next two).
        answers_unused: Answers that gave no name: truncated or damaged ones, and those about what is no host name.
        names_evicted: Names that were forgotten, since there were too many.
        hellos_lost: Hellos of TLS clients that netmon could not read: there was no room in the ring buffer, or they
            were not in memory at the moment (`sni`; so is the next one).
        hellos_unused: Hellos that gave no name: damaged ones, and those that name what is no host.
        cgroup_incomplete: Processes reported with the last part of their cgroup's path only.
        exec_incomplete: Processes reported without all of what they exec'd.
        workload_unknown: Processes reported in a container of which no name was found.
        unknown_opener: Closes reported without the process that opened the connection, which was evicted.
        unknown_rules: Open connections whose rules were forgotten, since more are open than are remembered: the rules
            see their closes alone.
        blind_ms: Milliseconds, at most, in which the kernel did not run netmon's programs: nothing of them was seen.
        offenders: Records that were refused because of `over_budget`, by the cgroup's path, or `uid 1000`. A record is
            an event, or the description of a process.
        outputs: Events that one output alone lost, by the output's name.
    """

    ring_full: int = 0
    over_budget: int = 0
    no_storage: int = 0
    missed: int = 0
    flows_full: int = 0
    unknown_process: int = 0
    path_incomplete: int = 0
    args_incomplete: int = 0
    answers_lost: int = 0
    answers_unused: int = 0
    names_evicted: int = 0
    hellos_lost: int = 0
    hellos_unused: int = 0
    cgroup_incomplete: int = 0
    exec_incomplete: int = 0
    workload_unknown: int = 0
    unknown_opener: int = 0
    unknown_rules: int = 0
    blind_ms: int = 0
    offenders: Mapping[str, int] = NO_COUNTS
    outputs: Mapping[str, int] = NO_COUNTS

    @property
    def total(self) -> int:
        """How many events were lost for sure, before any output: `missed`, an upper bound, is left out."""
        return sum(getattr(self, reason) for reason in EVENT_REASONS)

    def since(self, earlier: "Losses") -> "Losses":
        """Return what was lost since an earlier reading. It has only the names that have lost something since."""
        # `missed` may sink: it is an upper bound, which falls when a backup program reports what the main one did not.
        counts = {name: max(0, getattr(self, name) - getattr(earlier, name)) for name in self._fields[: -len(BY_NAME)]}
        offenders, outputs = _since(self.offenders, earlier.offenders), _since(self.outputs, earlier.outputs)
        return Losses(**counts, offenders=offenders, outputs=outputs)

    def top_offenders(self) -> dict[str, int]:
        """Return the offenders of whom most was refused, the first one first; all further ones as one."""
        ranked = sorted(self.offenders.items(), key=lambda item: -item[1])
        top = dict(ranked[:TOP])
        if rest := sum(count for _, count in ranked[TOP:]):
            top[OTHERS] = top.get(OTHERS, 0) + rest
        return top

    def describe(self) -> str:
        """Return the losses in words, as describe_losses() does."""
        reasons = {name: getattr(self, name) for name in self._fields if name not in ("blind_ms", *BY_NAME)}
        return describe_losses(self.total, reasons, self.blind_ms, self.top_offenders(), self.outputs)


def describe_losses(
    total: int, reasons: Mapping[str, int], blind_ms: int, offenders: Mapping[str, int], outputs: Mapping[str, int]
) -> str:
    """Return losses in words: `12 lost (12 ring full), blind for 1.0 s, 3 not written to file`."""
    counts = ", ".join(
        f"{'at most ' * (name == 'missed')}{count} {name.replace('_', ' ')}" for name, count in reasons.items() if count
    )
    by_offender = "".join(f", {count} records of {name} refused" for name, count in offenders.items())
    by_output = "".join(f", {count} not written to {name}" for name, count in outputs.items())
    blind = f", blind for {blind_ms / 1000:.1f} s" if blind_ms else ""
    return f"{total} lost" + (f" ({counts})" if counts else "") + by_offender + blind + by_output


def _since(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    rises = ((name, count - before.get(name, 0)) for name, count in now.items())
    return {name: rise for name, rise in rises if rise > 0}

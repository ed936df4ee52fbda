"""What a configuration compiles to: plain data that the kernel side loads."""

from __future__ import annotations

from typing import NamedTuple

from netmon.report import Report


class Watched(NamedTuple):
    """Which programs are loaded and what they report. It is fixed once they are loaded: a reload cannot change it."""

    ingress: bool = True
    egress: bool = True
    report: Report = Report()
    pids: tuple[int, ...] = ()  # processes that are followed alone
    trees: tuple[int, ...] = ()  # and with all their descendants
    snapshot: bool = False  # only what is open now is reported: nothing is attached

    @property
    def follows_forks(self) -> bool:
        """Whether a program follows the forks of processes."""
        return bool(self.trees) and not self.snapshot

    @property
    def follows(self) -> bool:
        """Whether processes are followed: they are marked in the kernel."""
        return bool(self.pids or self.trees)

    def differences(self, other: Watched) -> list[str]:
        """Return the configuration's keys in which the two differ."""
        directions = [
            f"{name}.enabled" for name in ("ingress", "egress") if getattr(self, name) != getattr(other, name)
        ]
        lists = [
            f"process_filter.{key}"
            for key, mine, others in (("pid", self.pids, other.pids), ("descendants", self.trees, other.trees))
            if mine != others
        ]
        options = zip(Report._fields, self.report, other.report, strict=True)
        return [*directions, *(f"report.{name}" for name, mine, others in options if mine != others), *lists]


class CompiledFilters(NamedTuple):
    """What is watched, the settings' bytes, and the keys of each filter map.

    The keys of a map have one size and are concatenated: a million bytes objects would take many times their memory.
    For the same reason, a CIDR that is listed twice is included twice; the trie keeps one. Other keys are unique.
    """

    watched: Watched
    settings: bytes
    configured: bool = False  # False: there is no configuration, and no filter code is loaded
    ipv4_cidrs: bytes = b""
    ipv6_cidrs: bytes = b""
    ids: bytes = b""
    binary_names: bytes = b""
    binary_paths: bytes = b""
    binary_prefixes: bytes = b""
    cgroups: bytes = b""
    container_ids: bytes = b""
    ports: bytes = b""  # a struct port_sets, not keys

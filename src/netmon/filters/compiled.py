"""What a configuration compiles to: plain data that the kernel side loads."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import os
from typing import NamedTuple

from netmon.errors import NetmonError
from netmon.report import Report

# The maps of keys (bpf/maps.h), by their names there and in CompiledFilters.
KEY_MAPS = (
    "ipv4_cidrs",
    "ipv6_cidrs",
    "ids",
    "binary_names",
    "binary_paths",
    "binary_prefixes",
    "cgroups",
    "container_ids",
)
PORTS = "ports"  # one more map, with a single element: the port sets
RULES = "rules"  # for the Python half alone
# What rules want: maps of keys, each with a set of alternatives, and one more with a single element.
RULE_MAPS = ("rule_numbers", "rule_ipv6", "rule_texts", "rule_prefixes")
RULE_PORTS = "rule_ports"
MET_MAPS = tuple(f"{name}_met" for name in RULE_MAPS)  # the sets that their keys have, a word each, in their order


class Watched(NamedTuple):
    """Which programs are loaded and what they report. It is fixed once they are loaded: a reload cannot change it."""

    ingress: bool = True
    egress: bool = True
    report: Report = Report()
    pids: tuple[int, ...] = ()  # processes that are followed alone
    trees: tuple[int, ...] = ()  # and with all their descendants
    snapshot: bool = False  # only what is open now is reported: nothing is attached

    @property
    def directions(self) -> tuple[str, ...]:
        """The names of those that are watched."""
        return tuple(name for name in ("ingress", "egress") if getattr(self, name))

    @property
    def follows_forks(self) -> bool:
        """Whether a program follows the forks of processes."""
        return bool(self.trees) and not self.snapshot

    @property
    def follows(self) -> bool:
        """Whether processes are followed: they are marked in the kernel."""
        return bool(self.pids or self.trees)

    def differences(self, other: "Watched") -> list[str]:
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


class StoredFilters:
    """The file with compiled filters, open until close()."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        """Close the file. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the file. Raises NetmonError if it is shorter, or closed."""
        if self._fd < 0:
            raise NetmonError("these filters have been put in force, and are not kept: read the configuration again")
        data = os.pread(self._fd, size, offset)
        if len(data) != size:
            raise NetmonError("the filters that were handed over are cut short")
        return data


class StoredKeys:
    """Keys in a file: a slice of them is read when it is needed, and no more of them is in memory."""

    def __init__(self, file: StoredFilters, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        first, end, _ = part.indices(self._size)
        return self._file.read(self._offset + first, end - first)


class NameRules(NamedTuple):
    """Which names of peers pass: decided in user space.

    Attributes:
        patterns: As netmon.names.patterns has them.
        deny: Whether those pass that match none.
    """

    patterns: tuple[str, ...]
    deny: bool = False


class CompiledFilters(NamedTuple):
    """What is watched, the settings' bytes, and the keys of each filter map.

    The keys of a map have one size and are concatenated: a million bytes objects would take many times their memory.
    For the same reason, a CIDR that is listed twice is included twice; the trie keeps one. Other keys are unique.
    """

    watched: Watched
    settings: bytes
    configured: bool = False  # False: nothing is filtered, now or after a reload, and no filter code is loaded
    ipv4_cidrs: bytes | StoredKeys = b""
    ipv6_cidrs: bytes | StoredKeys = b""
    ids: bytes | StoredKeys = b""
    binary_names: bytes | StoredKeys = b""
    binary_paths: bytes | StoredKeys = b""
    binary_prefixes: bytes | StoredKeys = b""
    cgroups: bytes | StoredKeys = b""
    container_ids: bytes | StoredKeys = b""
    ports: bytes = b""  # a struct port_sets, not keys
    names: NameRules | None = None
    rules: bytes = b""  # of netmon.rules.plain: not for the kernel
    rule_numbers: bytes | StoredKeys = b""  # these are for the kernel: see netmon.filters.rule_keys
    rule_numbers_met: bytes | StoredKeys = b""
    rule_ipv6: bytes | StoredKeys = b""
    rule_ipv6_met: bytes | StoredKeys = b""
    rule_texts: bytes | StoredKeys = b""
    rule_texts_met: bytes | StoredKeys = b""
    rule_prefixes: bytes | StoredKeys = b""
    rule_prefixes_met: bytes | StoredKeys = b""
    rule_ports: bytes = b""
    digest: bytes = b""  # of the file that they come from (netmon.config.digest)
    stored: StoredFilters | None = None  # the file that the keys are in, if they are not in memory

    def for_good(self) -> "CompiledFilters":
        """Return them for a run that is never reloaded: if they let everything pass, no filter code is needed."""
        return self._replace(configured=any(self.settings) or bool(self.rules))

    def release(self) -> None:
        """Forget keys that are in a file: they have been put in force."""
        if self.stored is not None:
            self.stored.close()

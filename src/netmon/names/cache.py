"""Remembers which names processes were told for addresses. Its memory is bounded."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import NamedTuple

ROOT_CGROUP_ID = 1  # every process of a host without cgroups v2 is in it: it says nothing

MOST_NAMES = 4  # of an address
LIMIT = 32_768  # names, all together
OWNER_LIMIT = 1024  # addresses that one process, cgroup or network namespace has names for
PARENTS_KEPT = 8192
MAX_DEPTH = 16  # ancestors that are looked at

# A process: its id, and when it started, in nanoseconds of CLOCK_BOOTTIME. The id alone may be used again.
ProcessKey = tuple[int, int]
# A scope, and the process, the cgroup's id or the network namespace's inode number.
Owner = tuple[str, ProcessKey | int]


class Origin(NamedTuple):
    """Where a process comes from, and where it is.

    Attributes:
        process: The process.
        parent: Its parent.
        cgroup_id: Of its cgroup; 0 if that is not known.
        netns: The inode number of its network namespace; 0 if that is not known.
    """

    process: ProcessKey
    parent: ProcessKey
    cgroup_id: int
    netns: int


class Name(NamedTuple):
    """A name of an address.

    Attributes:
        name: The name.
        scope: Who was told: `process` itself, an `ancestor`, one in the same `cgroup`, or in the same `netns`.
        time_ns: When that was: CLOCK_BOOTTIME.
    """

    name: str
    scope: str
    time_ns: int


class NameCache:
    """The names that processes were told, by who was told, and the address.

    What is beyond its limits is forgotten, that of those first who have neither asked nor connected for longest.
    """

    def __init__(self, limit: int = LIMIT, owner_limit: int = OWNER_LIMIT) -> None:
        """Make an empty one.

        Args:
            limit: How many names to keep.
            owner_limit: For how many addresses one owner may have names.
        """
        self._limit = limit
        self._owner_limit = owner_limit
        # Names and when they were told, the newest first, by address, by owner.
        self._owners: OrderedDict[Owner, OrderedDict[bytes, tuple[tuple[str, int], ...]]] = OrderedDict()
        self._parents: OrderedDict[ProcessKey, ProcessKey] = OrderedDict()
        self._count = 0
        self.evicted = 0  # names that were forgotten

    def __len__(self) -> int:
        return self._count

    def note_process(self, origin: Origin) -> None:
        """Remember whose child a process is."""
        parents = self._parents
        parents[origin.process] = origin.parent
        parents.move_to_end(origin.process)
        if len(parents) > PARENTS_KEPT:
            parents.popitem(last=False)

    def add(self, origin: Origin, name: str, addresses: Collection[bytes], time_ns: int) -> None:
        """Remember what a process was told.

        Args:
            origin: The process.
            name: The name that it has asked for.
            addresses: The name's addresses, packed.
            time_ns: When it was told: CLOCK_BOOTTIME.
        """
        self.note_process(origin)
        for owner in _owners_of(origin):
            for address in addresses:
                self._add(owner, address, name, time_ns)

    def _add(self, owner: Owner, address: bytes, name: str, time_ns: int) -> None:
        known = self._owners.setdefault(owner, OrderedDict())
        self._owners.move_to_end(owner)
        before = known.pop(address, ())
        others = tuple(item for item in before if item[0] != name)
        known[address] = ((name, time_ns), *others)[:MOST_NAMES]
        self._count += len(known[address]) - len(before)
        if len(others) == MOST_NAMES:
            self.evicted += 1
        if len(known) > self._owner_limit:
            self._evict(known)
        while self._count > self._limit:
            owner, oldest = next(iter(self._owners.items()))
            self._evict(oldest)
            if not oldest:
                del self._owners[owner]

    def _evict(self, known: OrderedDict[bytes, tuple[tuple[str, int], ...]]) -> None:
        """Forget an owner's oldest address."""
        _, names = known.popitem(last=False)
        self._count -= len(names)
        self.evicted += len(names)

    def names_of(self, origin: Origin, address: bytes, time_ns: int) -> list[Name]:
        """Return the names that a process may have connected to an address by.

        They are those that the process was told itself. If there are none, they are what its nearest ancestor was told
        that was told any; then its cgroup, then its network namespace.

        Args:
            origin: The process.
            address: The peer's address, packed.
            time_ns: When it connected: nothing that was told later counts.

        Returns:
            The names, the newest first.
        """
        for scope, owner in self._owners_near(origin):
            known = self._owners.get(owner)
            if known is None or address not in known:
                continue
            if told := [Name(name, scope, time) for name, time in known[address] if time <= time_ns]:
                self._owners.move_to_end(owner)
                return told
        return []

    def _owners_near(self, origin: Origin) -> Iterator[tuple[str, Owner]]:
        """Yield who may have been told what a process knows, the nearest first, each with its scope."""
        yield "process", ("process", origin.process)
        child, parent = origin.process, origin.parent
        for _ in range(MAX_DEPTH):
            if not parent[0] or parent[1] > child[1]:
                break
            yield "ancestor", ("process", parent)
            child, parent = parent, self._parents.get(parent, (0, 0))
        for owner in _owners_of(origin)[1:]:
            yield owner[0], owner


def _owners_of(origin: Origin) -> list[Owner]:
    """Return who knows what a process was told: itself, and all in its cgroup and its network namespace."""
    owners: list[Owner] = [("process", origin.process)]
    if origin.cgroup_id > ROOT_CGROUP_ID:
        owners.append(("cgroup", origin.cgroup_id))
    if origin.netns:
        owners.append(("netns", origin.netns))
    return owners

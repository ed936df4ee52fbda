"""Which workload a process belongs to: its pod, container, systemd unit and user, by name.

The unit and the pod's uid are in the path of its cgroup. The names of containers and users are asked for (NameSource),
once a container, and once more a moment later if nothing was found.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import re
from functools import lru_cache
from typing import NamedTuple, Protocol

from netmon.decode.format import format_json
from netmon.decode.images import Cgroup
from netmon.workload import KEYS, MAX_UNIT, MAX_USER, Names

CONTAINERS_KEPT = 1024
PLACES_KEPT = 256

_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(?:service|scope)")
_USER_MANAGER = re.compile(r"user@\d+\.service")
# As the kubelet names the cgroups of pods. Those of static pods have a hash as uid. systemd's names have no other '-'.
_POD = re.compile(r"(?:.*-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?")


class NameSource(Protocol):
    """Answers what a cgroup and a record do not say: netmon.kernel.workload_reader, or a recording."""

    def container(self, subject: str) -> Names | None:
        """Return the names of a container; None if they could not be read in time.

        Args:
            subject: The container's id, or the unit of a machine.
        """

    def container_again(self, subject: str) -> Names | None:
        """Return the same later on; None if it is too early, or if they could not be read in time."""

    def user(self, uid: int) -> str | None:
        """Return the name of the host's user; None if there is none."""


class Place(NamedTuple):
    """What the path of a cgroup says.

    Attributes:
        unit: The systemd unit; "" if there is none.
        pod_uid: The pod's uid; "" outside of pods.
        subject: What to ask a NameSource for; "" outside of containers.
    """

    unit: str
    pod_uid: str
    subject: str


@lru_cache(maxsize=PLACES_KEPT)
def place_of(names: bytes, container_id: bytes, *, whole: bool) -> Place:
    """Return what a cgroup says.

    Args:
        names: Of its path, as the record has them.
        container_id: Of the record.
        whole: Whether these are all names. Without those next to the root, units are not known.
    """
    path = names.decode(errors="backslashreplace").split("/")[-2::-1]
    container = container_id.decode(errors="backslashreplace")
    units = _units(path) if whole else []
    machine = next(iter(units), "") if path[:1] == ["machine.slice"] else ""
    # That of a container's own scope says nothing more than its id.
    unit = next((unit for unit in reversed(units) if not container or container not in unit), "")
    return Place(unit, _pod_uid(path), container or machine)


def _units(path: list[str]) -> list[str]:
    """Return the unit of systemd's that a cgroup belongs to, and the unit below it if that is a user's manager.

    As systemd finds them: below slices alone. What a service makes below its own cgroup may have any name.
    """
    units: list[str] = []
    for name in path:
        if _UNIT.fullmatch(name):
            units.append(name)
            if len(units) == 2 or not _USER_MANAGER.fullmatch(name):
                break
        elif not name.endswith(".slice"):
            break
    return units


def _pod_uid(path: list[str]) -> str:
    """Return the uid of the innermost pod, which is below kubepods, with or without systemd."""
    if not any("kubepods" in name for name in path):
        return ""
    matches = (match for name in reversed(path) if (match := _POD.fullmatch(name)))
    return next((match[1].replace("_", "-") for match in matches), "")


class Container:
    """The names of a container, for all its processes. They may be found later on.

    Attributes:
        names: Its names; none if they were not found.
        settled: Whether nobody asks for them any more.
    """

    __slots__ = ("names", "settled")

    def __init__(self, names: Names, *, settled: bool = False) -> None:
        self.names = names
        self.settled = settled or bool(names)


NO_CONTAINER = Container({}, settled=True)


class Workload:
    """The workload of a process."""

    __slots__ = ("_container", "_own")

    def __init__(self, container: Container, own: Names) -> None:
        """Make it. own: the names that are the process's own, and those that its cgroup says."""
        self._container = container
        self._own = own

    @property
    def settled(self) -> bool:
        """Whether its names stay as they are."""
        return self._container.settled

    @property
    def json(self) -> str:
        """The member of the process; "" if nothing is known."""
        known = {**self._container.names, **self._own}
        names = {key: known[key] for key in KEYS if key in known}
        return f',"workload":{format_json(names)}' if names else ""


class Workloads:
    """The workloads of a table of processes.

    Attributes:
        unknown: How many processes were described in a container without a name.
    """

    def __init__(self, source: NameSource) -> None:
        """Make it. source: answers the questions."""
        self._source = source
        self._containers: dict[str, Container] = {}
        self._unnamed: dict[str, Container] = {}  # those to ask for once more
        self.unknown = 0

    def find(self, cgroup: Cgroup, uid: int) -> Workload:
        """Return the workload of a process. uid: its user."""
        place = place_of(cgroup.names, cgroup.container_id, whole=not cgroup.cut)
        user = self._source.user(uid)
        own = {"unit": fitting(place.unit, MAX_UNIT), "user": fitting(user or "", MAX_USER), "pod_uid": place.pod_uid}
        container = self._container(place.subject) if place.subject else NO_CONTAINER
        self.unknown += bool(place.subject) and not container.names
        return Workload(container, {key: name for key, name in own.items() if name})

    def _container(self, subject: str) -> Container:
        container = self._containers.pop(subject, None)
        if container is None:
            container = Container(self._source.container(subject) or {})
            if not container.names:
                self._unnamed[subject] = container
            if len(self._containers) >= CONTAINERS_KEPT:
                oldest = next(iter(self._containers))
                self._containers.pop(oldest).settled = True
                self._unnamed.pop(oldest, None)
        self._containers[subject] = container  # the last one that was used
        return container

    def look_again(self) -> bool:
        """Ask once more for containers of which nothing was found; return whether some now have names."""
        found = False
        for subject, container in [*self._unnamed.items()]:
            names = self._source.container_again(subject)
            if names is None:
                break  # the others came later
            del self._unnamed[subject]
            container.names, container.settled = names, True
            found = found or bool(names)
        return found


def fitting(name: str, limit: int) -> str:
    """Return a name; "" if its JSON takes more than limit bytes."""
    return name if len(format_json(name).encode()) <= limit else ""

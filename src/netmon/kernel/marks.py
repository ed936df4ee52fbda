"""Marks the processes that the process filter follows, in the kernel's task storage (bpf/follow.h).

A process is named to the kernel by a pidfd, not by its number: the number may be another process's by now, the pidfd
never is. So a mark is set only if what /proc showed of the number was still true once the pidfd was open.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from netmon.errors import BpfError, ConfigError, Problem
from netmon.kernel import libbpf
from netmon.kernel.procfs import Status, list_processes, read_status
from netmon.layout import Mark

PIDS, TREES = "pid", "descendants"  # the lists of the process filter


def descendants_of(roots: Iterable[int], parents: Mapping[int, int]) -> set[int]:
    """Return the processes that descend from others, those included.

    Args:
        roots: Their ids.
        parents: The parent of each process, by its id.
    """
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found, waiting = set(), list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, ())
    return found


class FollowedProcess(NamedTuple):
    """A process that is followed and has not ended: its id, and its name."""

    pid: int
    name: str


class Marks:
    """The marks of processes. The map is the BPF object's, and is not closed here."""

    def __init__(self, fd: int) -> None:
        """Take the map's file descriptor."""
        self._fd = fd

    def follow(self, pids: Sequence[int], roots: Sequence[int]) -> None:
        """Mark processes. If there are roots, the program of fork must be attached, or new descendants have no mark.

        Args:
            pids: Those that are followed alone.
            roots: Those that are followed with all their descendants.

        Raises:
            ConfigError: One of them does not run, or is a thread.
            BpfError: The kernel refuses.
        """
        marks: dict[int, int] = dict.fromkeys(pids, Mark.ALONE)
        for pid in roots:
            marks[pid] = marks.get(pid, 0) | Mark.TREE
        for pid, mark in marks.items():
            key = TREES if mark & Mark.TREE else PIDS
            with _opened(pid, key) as pidfd:
                self._mark(pidfd, mark)
        if roots:
            self._follow_descendants(set(roots))

    def _follow_descendants(self, roots: set[int]) -> None:
        """Mark the descendants that run already: new ones are marked by the kernel, if their parents are.

        A process that is not marked yet may start another one meanwhile: so it looks until there are no new ones.
        """
        marked = set(roots)
        while True:
            processes = list_processes()
            parents = {pid: status.ppid for pid, status in processes.items()}
            new = descendants_of(roots, parents) - marked
            if not new:
                return
            for pid in new:
                self._mark_if_same(pid, processes[pid])
            marked |= new

    def _mark_if_same(self, pid: int, status: Status) -> None:
        """Mark a process of a tree, unless it has ended."""
        with suppress(OSError), _PidFd(pid) as pidfd:
            if read_status(pid) == status:
                self._mark(pidfd, Mark.TREE)

    def _mark(self, pidfd: int, mark: int) -> None:
        key, value = ctypes.c_int(pidfd), ctypes.c_uint32(mark)
        libbpf.call("follow a process", "bpf_map_update_elem", self._fd, ctypes.byref(key), ctypes.byref(value), 0)

    def running(self) -> Iterator[FollowedProcess]:
        """Yield the processes that are followed and have not ended; without threads. Raises BpfError."""
        for pid, status in list_processes().items():
            with suppress(OSError), _PidFd(pid) as pidfd:
                if not has_ended(pidfd) and self._is_marked(pidfd):
                    yield FollowedProcess(pid, status.name)

    def _is_marked(self, pidfd: int) -> bool:
        key, value = ctypes.c_int(pidfd), ctypes.c_uint32()
        try:
            libbpf.call("look at a process", "bpf_map_lookup_elem", self._fd, ctypes.byref(key), ctypes.byref(value))
        except BpfError as error:
            if error.errno in (errno.ENOENT, errno.ESRCH):
                return False
            raise
        return True


def has_ended(pidfd: int) -> bool:
    """Return whether a process has ended; it may be a zombie."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


class _PidFd:
    """A process's pidfd, open in a with statement. Raises OSError where there is no such process."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _opened(pid: int, key: str) -> _PidFd:
    """Open a process that a list of the process filter names. Raises ConfigError, and OSError without descriptors."""
    try:
        return _PidFd(pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            reason = "is not running; give the id of a process that runs"
        elif error.errno in (errno.EINVAL, errno.ENOENT):
            reason = "is a thread; give the id of its process"
        else:
            raise
    raise ConfigError([Problem("", None, ("process_filter", key), str(pid), reason)]) from None

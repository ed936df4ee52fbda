"""Which processes run."""

from __future__ import annotations

import os

from netmon.kernel.procfs import read_status

MOST = 8192  # processes that are remembered
PID_NAMESPACE = "/proc/self/ns/pid"
INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # its inode number: PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h


class Running:
    """Tells whether processes still run. Their ids may be used again, but not with the same start."""

    def __init__(self) -> None:
        self._starts: dict[tuple[int, str], int] = {}

    def __call__(self, pid: int, start_time: str) -> bool:
        """Return whether a process runs. What has ended before the first call may seem to, if its id is used again."""
        key = (pid, start_time)
        try:
            start = read_status(pid).start
        except OSError:
            self._starts.pop(key, None)
            return False
        if len(self._starts) >= MOST:
            self._starts.clear()
        return self._starts.setdefault(key, start) == start


def running() -> Running | None:
    """Return what tells whether processes run; None where /proc does not tell, with the rights of now.

    It has other ids in a PID namespace, and hides others' processes if it is mounted with hidepid.
    """
    try:
        if os.stat(PID_NAMESPACE).st_ino != INITIAL_PID_NAMESPACE:
            return None
        read_status(1)
    except OSError:
        return None
    return Running()

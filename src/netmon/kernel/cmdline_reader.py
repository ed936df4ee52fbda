"""Reads the arguments of processes from /proc without being held up by them.

A read of /proc/PID/cmdline takes a lock of that process (mmap_lock), which the process may hold for ever: it is enough
to write to a mapped file whose file system does not answer. A dead NFS server is one, and any user can mount FUSE. The
reader waits in state D, and no signal ends that but one that ends its whole process.

So a thread of its own makes each read, and is waited for until a deadline. A thread that is held up later than that is
left alone: it ends when the lock is freed, or with the process, which does not wait for it.
"""

from __future__ import annotations

import _thread
import time

from netmon.kernel.procfs import read_cmdline
from netmon.unpatched import unpatched

DEADLINE = 0.5  # seconds: the host may be busy, and arguments in swap. Mostly the answer takes less than 0.1 ms
MAX_HELD_UP = 3  # threads: while so many are held up, nothing is read
# Seconds of waiting: how many at once, and what share of the time. So no process slows the reader down by more.
BUDGET, BUDGET_SHARE = 2.0, 0.1

# In a patched program these would give threads and locks that share the calling thread.
_start_new_thread, _allocate_lock = unpatched(_thread, "start_new_thread", "allocate_lock")


class CmdlineReader:
    """Reads the arguments of processes, for one calling thread, which waits at most DEADLINE for each."""

    def __init__(self, boot_offset_ns: int) -> None:
        """Make a reader. boot_offset_ns: what netmon.kernel.procfs.read_boot_offset() returns."""
        self._boot_offset_ns = boot_offset_ns
        self._being_read: set[int] = set()  # ids of processes; a thread removes its own
        self._budget = BUDGET
        self._budget_since = time.monotonic()

    def read(self, pid: int, start_time_ns: int, exe: str, comm: bytes) -> bytes | None:
        """Return what netmon.kernel.procfs.read_cmdline() returns; None, too, when that would take too long."""
        began = time.monotonic()
        self._budget = min(BUDGET, self._budget + (began - self._budget_since) * BUDGET_SHARE)
        self._budget_since = began
        if self._budget < DEADLINE or len(self._being_read) >= MAX_HELD_UP or pid in self._being_read:
            return None
        answer: list[bytes | None] = []
        answered = _allocate_lock()
        answered.acquire()

        def answer_in_thread() -> None:
            try:
                answer.append(read_cmdline(pid, start_time_ns, exe, comm, self._boot_offset_ns))
            finally:
                self._being_read.discard(pid)
                answered.release()

        self._being_read.add(pid)
        try:
            _start_new_thread(answer_in_thread, ())
        except RuntimeError:  # a limit of threads, such as the unit's TasksMax=
            self._being_read.discard(pid)
            return None
        answered.acquire(True, DEADLINE)
        self._budget -= time.monotonic() - began
        return answer[0] if answer else None

"""Reads the arguments of processes from /proc without being held up by them.

A read of /proc/PID/cmdline takes a lock of that process (mmap_lock), which the process may hold for ever: it is enough
to write to a mapped file whose file system does not answer. A dead NFS server is one, and any user can mount FUSE.
"""

from __future__ import annotations

from netmon.kernel.held_up import HeldUpCalls
from netmon.kernel.procfs import read_cmdline


class CmdlineReader:
    """Reads the arguments of processes, for one calling thread."""

    def __init__(self, boot_offset_ns: int) -> None:
        """Make a reader. boot_offset_ns: what netmon.kernel.procfs.read_boot_offset() returns."""
        self._boot_offset_ns = boot_offset_ns
        self._calls = HeldUpCalls()

    def read(self, pid: int, start_time_ns: int, exe: str, comm: bytes) -> bytes | None:
        """Return what netmon.kernel.procfs.read_cmdline() returns; None, too, when that would take too long."""
        return self._calls.call(pid, lambda: read_cmdline(pid, start_time_ns, exe, comm, self._boot_offset_ns))

"""What netmon asks /proc, for the little that the kernel's probes could not read."""

from __future__ import annotations

import os
from pathlib import Path

NSEC_PER_SEC = 1_000_000_000


def read_last_cap() -> int:
    """Return the number of the kernel's last capability."""
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def read_cmdline(pid: int, start_time_ns: int) -> bytes | None:
    """Return a live process's argv, its strings ended by NUL; None when that process is gone.

    start_time_ns (CLOCK_BOOTTIME) tells it from another that has got the same pid since.
    """
    try:
        cmdline = Path(f"/proc/{pid}/cmdline").read_bytes()
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # proc_pid_stat(5): field 22, counted after the name, which may hold spaces and parentheses.
    start_ticks = int(stat.rpartition(")")[2].split()[19])
    if start_ticks != start_time_ns * os.sysconf("SC_CLK_TCK") // NSEC_PER_SEC:
        return None
    return cmdline

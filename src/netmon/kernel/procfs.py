"""What netmon asks /proc, for the little that the kernel's probes could not read."""

from __future__ import annotations

import os

from netmon.errors import NetmonError

LAST_CAP = "/proc/sys/kernel/cap_last_cap"

NSEC_PER_SEC = 1_000_000_000

# A process may have megabytes of arguments, and they stand in each of its events.
MAX_CMDLINE = 128 << 10  # bytes


def read_last_cap() -> int:
    """Return the number of the kernel's last capability. Raises NetmonError without /proc."""
    try:
        with open(LAST_CAP) as file:
            return int(file.read())
    except OSError as error:
        raise NetmonError(f"{LAST_CAP} cannot be read ({error.strerror}): mount /proc") from None


def read_cmdline(pid: int, start_time_ns: int, exe: str | None, comm: bytes) -> bytes | None:
    """Return a live process's argv, its strings ended by NUL, at most MAX_CMDLINE bytes; None when it is gone.

    start_time_ns (CLOCK_BOOTTIME) tells it from another that has got the same pid since; exe, if given (as /proc shows
    it), from itself after another exec: or comm, its name, where we may not look at another user's.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            cmdline = file.read(MAX_CMDLINE)
        with open(f"/proc/{pid}/stat", "rb") as file:
            # proc_pid_stat(5): the name, in parentheses, may hold spaces and parentheses.
            name, _, fields = file.read().partition(b"(")[2].rpartition(b")")
        if exe is not None and not _runs(pid, exe, name == comm):
            return None
    except OSError:
        return None
    start_ticks = int(fields.split()[19])  # field 22
    if start_ticks != start_time_ns * os.sysconf("SC_CLK_TCK") // NSEC_PER_SEC:
        return None
    return cmdline


def _runs(pid: int, exe: str, same_name: bool) -> bool:
    try:
        return os.readlink(os.fsencode(f"/proc/{pid}/exe")).decode(errors="backslashreplace") == exe
    except PermissionError:  # that of another user takes CAP_SYS_PTRACE, by which we could take over any process
        return same_name

"""Reads from /proc what the BPF programs cannot read."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import os
from contextlib import suppress
from typing import NamedTuple

from netmon.errors import NetmonError
from netmon.layout import Limit

LAST_CAP = "/proc/sys/kernel/cap_last_cap"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
TIME_NAMESPACE = "/proc/self/ns/time"
INITIAL_TIME_NAMESPACE = 0xEFFFFFFA  # its inode number: PROC_TIME_INIT_INO in the kernel's include/linux/proc_ns.h
TIME_OFFSETS = "/proc/self/timens_offsets"

NSEC_PER_SEC = 1_000_000_000

MAX_CMDLINE = Limit.ARGS_SIZE + 1  # bytes: what the kernel half reads at most, and one that shows that there is more


def read_last_cap() -> int:
    """Return the number of the last capability that this kernel has. Raises NetmonError without /proc."""
    try:
        with open(LAST_CAP) as file:
            return int(file.read())
    except OSError as error:
        raise NetmonError(f"{LAST_CAP} cannot be read ({error.strerror}): mount /proc") from None


def read_boot_offset() -> int:
    """Return how many nanoseconds this process's CLOCK_BOOTTIME is ahead of the kernel's: 0 but in a time namespace.

    Raises:
        NetmonError: It cannot be read.
    """
    try:
        if os.stat(TIME_NAMESPACE).st_ino == INITIAL_TIME_NAMESPACE:
            return 0
        with open(TIME_OFFSETS) as file:
            offsets = {clock: (int(seconds), int(ns)) for clock, seconds, ns in map(str.split, file)}
    except FileNotFoundError:  # a kernel without time namespaces
        return 0
    except OSError as error:
        raise NetmonError(f"the time namespace cannot be read ({error.strerror}): mount /proc") from None
    seconds, nanoseconds = offsets["boottime"]
    return seconds * NSEC_PER_SEC + nanoseconds


def read_boot_id() -> str:
    """Return what tells this boot of the kernel from all others, on any host: 32 hexadecimal digits.

    Raises:
        NetmonError: It cannot be read.
    """
    try:
        with open(BOOT_ID) as file:
            return file.read().strip().replace("-", "")
    except OSError as error:
        raise NetmonError(f"{BOOT_ID} cannot be read ({error.strerror}): mount /proc") from None


class Status(NamedTuple):
    """What tells a process from others, and its parent.

    Attributes:
        name: Its name (comm).
        ppid: Its parent's id.
        start: When it started, in clock ticks: the same pid never has the same start again.
    """

    name: str
    ppid: int
    start: int


def read_status(pid: int) -> Status:
    """Return a process's status. Raises OSError when there is no such process."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        name, fields = _split_stat(file.read())
    words = fields.split()
    return Status(name.decode(errors="backslashreplace"), int(words[1]), int(words[19]))  # fields 4 and 22


def list_processes() -> dict[int, Status]:
    """Return the status of each process, by its id. Those that end meanwhile are left out."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError):
                found[int(name)] = read_status(int(name))
    return found


def _split_stat(stat: bytes) -> tuple[bytes, bytes]:
    """Split proc_pid_stat(5) into the name, which may contain spaces and parentheses, and what follows it."""
    name, _, fields = stat.partition(b"(")[2].rpartition(b")")
    return name, fields


def read_cmdline(pid: int, start_time_ns: int, exe: str, comm: bytes, boot_offset_ns: int) -> bytes | None:
    """Return the argv of a process, if it still runs the same program. The process can hold this up for ever.

    Args:
        pid: The process id, which another process may have by now.
        start_time_ns: When the process started (the kernel's CLOCK_BOOTTIME): no other process with its pid has this
            time.
        exe: The executable's path as /proc shows it, to detect another exec.
        comm: The process's name, which is compared where another user's executable may not be looked at.
        boot_offset_ns: What read_boot_offset() returns: /proc shows times by this process's clock.

    Returns:
        The arguments, each ended by NUL, MAX_CMDLINE bytes at most; None when the process has ended or exec'd.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            cmdline = file.read(MAX_CMDLINE)
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, fields = _split_stat(file.read())
        if not _runs(pid, exe, name == comm):
            return None
    except OSError:
        return None
    start_ticks = int(fields.split()[19])  # field 22
    if start_ticks != (start_time_ns + boot_offset_ns) * os.sysconf("SC_CLK_TCK") // NSEC_PER_SEC:
        return None
    return cmdline


def _runs(pid: int, exe: str, same_name: bool) -> bool:
    """Return whether a process runs an executable, or has the same name where that is all that can be read."""
    try:
        return os.readlink(os.fsencode(f"/proc/{pid}/exe")).decode(errors="backslashreplace") == exe
    except PermissionError:  # looking takes CAP_SYS_PTRACE, with which netmon could take over any process
        return same_name

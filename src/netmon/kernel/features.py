"""What differs from kernel to kernel, and CO-RE does not settle."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import re
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from netmon.errors import KernelError
from netmon.layout import LegacyCgroups
from netmon.limits import MINIMUM_KERNEL

KERNEL_BTF = "/sys/kernel/btf/vmlinux"

# struct btf_header, after magic, version and flags: its size; the offset and size of the types, and of the strings.
BTF_HEADER = struct.Struct("4x5I")

PREEMPTION = "/sys/kernel/debug/sched/preempt"
OWN_CGROUPS = "/proc/self/cgroup"  # a line for each hierarchy; that of version 2 names no controllers
FTRACE_ENABLED = "/proc/sys/kernel/ftrace_enabled"

CLOCK_MONOTONIC_COARSE = 6  # linux/time.h; the time module does not have it
NSEC_PER_SEC = 1_000_000_000


class Features(NamedTuple):
    """What this kernel has."""

    functions: frozenset[str]  # those that it has of the functions that were asked for
    accept_arguments: int  # of inet_csk_accept: 4, and 2 since 6.10 (92ef0fd55ac8)
    preemptible: bool  # a task may be preempted inside a BPF program

    @property
    def ipv6_is_module(self) -> bool:
        """Whether IPv6 is a module: this function of it is not in the module."""
        return "tcp_v6_connect" not in self.functions and "__inet6_check_established" in self.functions


def parse_release(release: str) -> tuple[int, int]:
    """Return a kernel release's first two numbers. Raises ValueError when it does not begin with them."""
    match = re.match(r"(\d+)\.(\d+)", release)
    if not match:
        raise ValueError(f"{release!r} is not a kernel release")
    return int(match[1]), int(match[2])


def is_new_enough(release: str) -> bool:
    """Return whether netmon supports a kernel. release: as uname -r prints it."""
    try:
        return parse_release(release) >= parse_release(MINIMUM_KERNEL)
    except ValueError:
        return False


_ahead: list[bytes] = []  # what read_ahead() has read


def read_ahead() -> None:
    """Read what the next read_features() needs, and takes long: the caller has time now."""
    with suppress(KernelError):  # which read_features() raises again
        _ahead[:] = [_read_btf_names()]


def read_features(functions: Iterable[str]) -> Features:
    """Return this kernel's features. functions: which to look for. Raises KernelError when it has no BTF."""
    names = _ahead.pop() if _ahead else _read_btf_names()
    return Features(
        functions=frozenset(name for name in functions if b"\0%s\0" % name.encode() in names),
        accept_arguments=2 if b"\0proto_accept_arg\0" in names else 4,
        preemptible=_is_preemptible(),
    )


def _is_preemptible() -> bool:
    """Return whether tasks may be preempted inside programs: unless the kernel says that they are not."""
    try:
        with open(PREEMPTION) as file:
            mode = file.read()
    except OSError:
        return True
    return "(none)" not in mode and "(voluntary)" not in mode


def why_programs_do_not_run() -> str:
    """Return, for programs that are attached but do not run, the reason and the remedy, as far as they are known."""
    what = "the kernel does not run netmon's programs, although they are attached"
    try:
        with open(FTRACE_ENABLED) as file:
            enabled = file.read().strip()
    except OSError:
        enabled = ""
    if enabled == "0":
        return f"{what}: kernel.ftrace_enabled is 0; run sysctl kernel.ftrace_enabled=1"
    return f"{what}: see the kernel's log (dmesg) for a warning of ftrace"


def why_bytes_are_inexact(because: str) -> str:
    """Return what is said where closes are read without the socket's lock. because: what this kernel does."""
    return f"this kernel {because}: bytes of closes amid sending or receiving may be off"


def _read_btf_names() -> bytes:
    """Return the strings of the kernel's BTF, in which a name is found without parsing the types.

    Nothing else is read: the kernel hands the file out a page at a time.
    """
    try:
        with open(KERNEL_BTF, "rb") as file:
            header_size, _, _, offset, size = BTF_HEADER.unpack(file.read(BTF_HEADER.size))
            file.seek(header_size + offset)
            return file.read(size)
    except (OSError, struct.error) as error:
        raise KernelError(f"{KERNEL_BTF} cannot be read ({error}): this kernel has no BTF") from None


def read_legacy_cgroups() -> LegacyCgroups:
    """Return a controller whose cgroups are a hierarchy of version 1, and where runtimes put containers."""
    try:
        with open(OWN_CGROUPS) as file:
            controllers = {name for line in file for name in line.split(":")[1].split(",")}
    except OSError:  # without /proc, or without cgroups
        return LegacyCgroups.NONE
    kinds = [kind for kind in LegacyCgroups if kind.name.lower() in controllers]
    return kinds[0] if kinds else LegacyCgroups.NONE


def read_tick_ns() -> int:
    """Return how long a tick of the kernel's jiffies is: the resolution of the clock that goes by them."""
    return round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * NSEC_PER_SEC)

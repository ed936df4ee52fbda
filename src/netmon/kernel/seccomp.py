"""Seccomp: a thread gives up system calls, for itself and for all threads that it starts.

What netmon and its libraries may ever call depends on their versions, and a call that fails by mistake could end a run.
So the calls that are refused are listed: those that need no capability, and that reach far into the kernel or into
other processes. Only for a process that does nothing but compute is there a list of those that are allowed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from typing import NamedTuple

from netmon.kernel.calls import syscall


class Architecture(NamedTuple):
    """What differs between architectures.

    Attributes:
        audit: AUDIT_ARCH_* of linux/audit.h.
        column: The architecture's column in NUMBERS.
    """

    audit: int
    column: int


# By the kernel's name.
ARCHITECTURES = {"x86_64": Architecture(0xC000003E, 0), "aarch64": Architecture(0xC00000B7, 1)}
X32 = 0x40000000  # a bit in the numbers of x86_64's other calls, which no 64-bit program makes

# asm/unistd.h, on x86_64 and on aarch64.
NUMBERS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clone": (56, 220),
    "clone3": (435, 435),
    "execve": (59, 221),
    "execveat": (322, 281),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "seccomp": (317, 277),
    "setns": (308, 268),
    "socket": (41, 198),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
# These are refused as a whole; the others are looked at more closely below, but for seccomp.
REFUSED = sorted({*NUMBERS} - {"bpf", "clone", "clone3", "seccomp", "socket"})

# All that a process may call that has only to compute, to write its answer, and to end: memory, threads' locks, signals
# to itself, and what is done to descriptors that are open.
COMPUTING = {
    "brk": (12, 214),
    "clock_gettime": (228, 113),
    "close": (3, 57),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "fstat": (5, 80),
    "ftruncate": (77, 46),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "gettid": (186, 178),
    "lseek": (8, 62),
    "madvise": (28, 233),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "read": (0, 63),
    "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "write": (1, 64),
    "writev": (20, 66),
}

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
NEW_NAMESPACES = 0x7E020000  # linux/sched.h: all CLONE_NEW* that clone() takes

# linux/bpf.h: the commands for maps and programs that are open.
MAP_CREATE = 0
MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM = 1, 2, 3
PROG_TEST_RUN, OBJ_GET_INFO_BY_FD = 10, 15
MAP_LOOKUP_BATCH, MAP_UPDATE_BATCH = 24, 26
ITER_CREATE = 33  # of an iterator that is attached: to run it
COMMANDS = (
    *(MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM),
    *(PROG_TEST_RUN, OBJ_GET_INFO_BY_FD, MAP_LOOKUP_BATCH, MAP_UPDATE_BATCH, ITER_CREATE),
)

# linux/seccomp.h
SET_MODE_FILTER = 1
SPEC_ALLOW = 1 << 2  # without it, kernels before 5.16 slow the process down
ALLOW = 0x7FFF0000
REFUSE = 0x00050000  # with an error number
AT_NUMBER, AT_ARCHITECTURE, AT_FIRST_ARGUMENT = 0, 4, 16  # in struct seccomp_data, little-endian

# linux/filter.h: struct sock_filter, and the codes of its instructions.
INSTRUCTION = struct.Struct("=HBBI")
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06

Instructions = list[tuple[int, int, int, int]]


def refuse_calls(*, makes_maps: bool) -> None:
    """Refuse system calls that a run never makes, with EPERM. Call it after rights.forbid_new_rights().

    On another architecture than those known here it does nothing.

    Args:
        makes_maps: Allow to create BPF maps.

    Raises:
        OSError: This kernel has no filters of system calls, or something forbids their use.
    """
    if architecture := _architecture():
        _install(make_filter(architecture, makes_maps), architecture)


def refuse_calls_but_network() -> None:
    """Refuse system calls as refuse_calls() does, and bpf() as a whole, but allow sockets of the internet.

    Raises:
        OSError: This kernel has no filters of system calls, or something forbids their use.
    """
    if architecture := _architecture():
        _install(make_network_filter(architecture), architecture)


def allow_computing() -> None:
    """Refuse all system calls but those of COMPUTING, with EPERM. Call it after rights.forbid_new_rights().

    On another architecture than those known here it does nothing.

    Raises:
        OSError: This kernel has no filters of system calls, or something forbids their use.
    """
    if architecture := _architecture():
        _install(make_computing_filter(architecture), architecture)


def _architecture() -> Architecture | None:
    known = struct.calcsize("P") == 8 and sys.byteorder == "little"
    return ARCHITECTURES.get(os.uname().machine) if known else None


def _install(instructions: Instructions, architecture: Architecture) -> None:
    """Put a filter in force for this thread, and for those that it starts. Raises OSError."""
    code = b"".join(INSTRUCTION.pack(*one) for one in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(buffer))  # struct sock_fprog
    syscall(NUMBERS["seccomp"][architecture.column], SET_MODE_FILTER, SPEC_ALLOW, program)


def make_filter(architecture: Architecture, makes_maps: bool) -> Instructions:
    """Return the filter, an instruction each: code, jump if true, jump if false, operand."""
    return _make_filter(architecture, (*COMMANDS, MAP_CREATE) if makes_maps else COMMANDS, (AF_UNIX,))


def make_network_filter(architecture: Architecture) -> Instructions:
    """Return the filter of refuse_calls_but_network(). Resolving names takes a socket of AF_NETLINK."""
    return _make_filter(architecture, (), (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK))


def _make_filter(architecture: Architecture, commands: tuple[int, ...], families: tuple[int, ...]) -> Instructions:
    """Return a filter. commands: of bpf() that are allowed; families: of sockets."""
    numbers = {name: columns[architecture.column] for name, columns in NUMBERS.items()}
    refuse = (RETURN, 0, 0, REFUSE | errno.EPERM)
    allow = (RETURN, 0, 0, ALLOW)
    look_at_argument = (LOAD, 0, 0, AT_FIRST_ARGUMENT)
    # glibc makes threads by clone3(), whose flags no filter can see. Without it, it uses clone().
    absent = (RETURN, 0, 0, REFUSE | errno.ENOSYS)
    return [
        (LOAD, 0, 0, AT_ARCHITECTURE),
        *_unless((EQUAL, architecture.audit), [refuse]),
        (LOAD, 0, 0, AT_NUMBER),
        *_if((ANY_BIT, X32), [refuse]),
        *_if((EQUAL, numbers["bpf"]), [look_at_argument, *_allow_if_equal(commands), refuse]),
        *_if((EQUAL, numbers["socket"]), [look_at_argument, *_allow_if_equal(families), refuse]),
        *_if((EQUAL, numbers["clone"]), [look_at_argument, *_if((ANY_BIT, NEW_NAMESPACES), [refuse]), allow]),
        *_if((EQUAL, numbers["clone3"]), [absent]),
        *(one for name in REFUSED for one in _if((EQUAL, numbers[name]), [refuse])),
        allow,
    ]


def make_computing_filter(architecture: Architecture) -> Instructions:
    """Return the filter of allow_computing()."""
    refuse = (RETURN, 0, 0, REFUSE | errno.EPERM)
    return [
        (LOAD, 0, 0, AT_ARCHITECTURE),
        *_unless((EQUAL, architecture.audit), [refuse]),
        (LOAD, 0, 0, AT_NUMBER),  # those of x32 are others than these
        *_allow_if_equal(tuple(columns[architecture.column] for columns in COMPUTING.values())),
        refuse,
    ]


def _if(condition: tuple[int, int], then: Instructions) -> Instructions:
    """Return instructions that are skipped unless a condition holds: a code, and its operand."""
    code, operand = condition
    return [(code, 0, len(then), operand), *then]


def _unless(condition: tuple[int, int], then: Instructions) -> Instructions:
    """Return instructions that are skipped if a condition holds."""
    code, operand = condition
    return [(code, len(then), 0, operand), *then]


def _allow_if_equal(values: tuple[int, ...]) -> Instructions:
    return [one for value in values for one in _if((EQUAL, value), [(RETURN, 0, 0, ALLOW)])]

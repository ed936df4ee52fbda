"""The rights of this process: its capabilities, and switches that keep it from getting new ones.

The kernel keeps them for each thread, and a new thread inherits them. So they are changed before there are threads.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from netmon.capabilities import CAPABILITIES
from netmon.kernel.calls import check

MAP_IN_MEMORY = "anon_inode:bpf-map"  # what /proc/PID/maps calls the memory of a map

# linux/capability.h
VERSION_3 = 0x20080522
WORDS = 2  # of 32 bits, in each set

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4


class CapabilitySets(NamedTuple):
    """A thread's sets of capabilities, a bit each (netmon.capabilities).

    Attributes:
        effective: What it can do now.
        permitted: What it can make effective.
        inheritable: What a program that it starts may keep.
    """

    effective: int
    permitted: int
    inheritable: int = 0


class _Header(ctypes.Structure):
    """struct __user_cap_header_struct; pid 0 is the calling thread."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    """struct __user_cap_data_struct: one word of each set."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in CapabilitySets._fields)


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.capget.argtypes = libc.capset.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    return libc


def prctl(option: int, first: int = 0, second: int = 0) -> None:
    """Call prctl(2). Raises OSError."""
    check(_libc().prctl(option, first, second, 0, 0))


def read_capabilities() -> CapabilitySets:
    """Return the calling thread's capabilities. Raises OSError."""
    header, words = _Header(VERSION_3, 0), (_Data * WORDS)()
    check(_libc().capget(ctypes.byref(header), words))
    return CapabilitySets(
        *(sum(getattr(word, name) << 32 * i for i, word in enumerate(words)) for name in CapabilitySets._fields)
    )


def set_capabilities(sets: CapabilitySets) -> None:
    """Set the calling thread's capabilities. Raises OSError."""
    header = _Header(VERSION_3, 0)
    words = (_Data * WORDS)(*(_Data(*(bits >> 32 * i & 0xFFFFFFFF for bits in sets)) for i in range(WORDS)))
    check(_libc().capset(ctypes.byref(header), words))


def change_user(uid: int, gid: int) -> None:
    """Become another user, without groups but this one. The permitted capabilities stay. Raises OSError."""
    prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    prctl(PR_SET_KEEPCAPS, 0)


def empty_bounding_set() -> None:
    """Keep all programs that this process starts from having capabilities. Raises OSError without CAP_SETPCAP."""
    for number in range(len(CAPABILITIES)):
        prctl(PR_CAPBSET_DROP, number)


def forbid_new_rights() -> None:
    """Keep this process from getting more rights, whatever it executes. Raises OSError."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """Keep other processes of this user from this one's memory, and the memory out of core dumps. Raises OSError."""
    prctl(PR_SET_DUMPABLE, 0)
    with suppress(OSError):  # a list of system calls, such as the service's, may forbid it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, whose id this is; end if it has ended. Raises OSError."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def unmap_shared() -> None:
    """Give up the memory that a parent process shares with the kernel's maps. Raises OSError."""
    with open("/proc/self/maps") as mappings:
        for line in mappings.readlines():
            place, permissions, *_ = line.split(maxsplit=5)
            if permissions.endswith("s") and line.rstrip().endswith(MAP_IN_MEMORY):
                first, end = (int(part, 16) for part in place.split("-"))
                check(_libc().munmap(first, end - first))

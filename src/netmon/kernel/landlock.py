"""Landlock: a thread gives up access to files, networks and processes, for itself and for all threads that it starts.

Files that are open already can be used as before.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from netmon.kernel.calls import syscall

# The same on all architectures. glibc has no functions for them.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446

# linux/landlock.h
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH, RULE_NET_PORT = 1, 2
ACCESS_FS_EXECUTE, ACCESS_FS_WRITE_FILE, ACCESS_FS_READ_FILE, ACCESS_FS_READ_DIR = (1 << bit for bit in range(4))
PATH_BENEATH = struct.Struct("=Qi")  # struct landlock_path_beneath_attr: access, descriptor

# How many flags of access to files are known from a version on: making and removing, then REFER, TRUNCATE and IOCTL_DEV
# were added one by one.
ACCESS_FS_REMOVE_FILE, ACCESS_FS_MAKE_REG = 1 << 5, 1 << 8
ACCESS_FS_TRUNCATE, TRUNCATE_VERSION = 1 << 14, 3
FS_FLAGS = {1: 13, 2: 14, 3: 15, 5: 16}
NET_VERSION, ACCESS_NET = 4, 0b11  # TCP: bind and connect
ACCESS_NET_CONNECT = 1 << 1
NET_PORT = struct.Struct("=QQ")  # struct landlock_net_port_attr: access, port
SCOPE_VERSION, SCOPE_SIGNAL = 6, 1 << 1


NO_DIRECTORIES: Mapping[int, bool] = MappingProxyType({})


def forbid_changes(directories: Mapping[int, bool] = NO_DIRECTORIES, ports: Collection[int] = ()) -> None:
    """Forbid writing to files but /dev/null, making, removing and executing them, TCP, and signals to other processes.

    What the kernel's version of Landlock does not know stays allowed. Call it after rights.forbid_new_rights().

    Args:
        directories: Descriptors of directories in and below which files may be made and written to. True: removed and
            renamed, too.
        ports: Ports that TCP may connect to, whatever the host.

    Raises:
        OSError: This kernel has no Landlock, or something forbids its use.
    """
    version = syscall(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    flags = max(count for since, count in FS_FLAGS.items() if since <= version)
    files = (1 << flags) - 1 & ~(ACCESS_FS_READ_FILE | ACCESS_FS_READ_DIR)
    words = [files]
    if version >= NET_VERSION:
        words.append(ACCESS_NET)
    if version >= SCOPE_VERSION:
        words.append(SCOPE_SIGNAL)
    make = ACCESS_FS_WRITE_FILE | ACCESS_FS_MAKE_REG
    if version >= TRUNCATE_VERSION:
        make |= ACCESS_FS_TRUNCATE
    allowed: dict[str | int, int] = {os.devnull: ACCESS_FS_WRITE_FILE}
    for directory, removes in directories.items():
        allowed[directory] = make | removes * ACCESS_FS_REMOVE_FILE
    _restrict(words, allowed, ports if version >= NET_VERSION else ())


def forbid_reading_but(paths: Iterable[str]) -> None:
    """Forbid reading files and listing directories but these, and those below them. Call it as forbid_changes().

    Args:
        paths: Files and directories. Those that do not exist are left out. A file that is replaced later on is another.

    Raises:
        OSError: As of forbid_changes().
    """
    files, both = ACCESS_FS_READ_FILE, ACCESS_FS_READ_FILE | ACCESS_FS_READ_DIR
    _restrict([both], {path: both if os.path.isdir(path) else files for path in paths if os.path.exists(path)})


def _restrict(words: list[int], allowed: Mapping[str | int, int], ports: Collection[int] = ()) -> None:
    """Forbid all kinds of access in words, but what is allowed, by path or descriptor, and ports. Raises OSError."""
    attributes = struct.pack(f"={len(words)}Q", *words)  # struct landlock_ruleset_attr, as long as it is known
    rules = syscall(CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for file, access in allowed.items():
            if isinstance(file, int):
                _allow_beneath(rules, file, access)
            else:
                _allow(rules, file, access)
        for port in ports:
            syscall(ADD_RULE, rules, RULE_NET_PORT, NET_PORT.pack(ACCESS_NET_CONNECT, port), 0)
        syscall(RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: str, access: int) -> None:
    """Allow access to a file. Raises OSError."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _allow_beneath(rules, fd, access)
    finally:
        os.close(fd)


def _allow_beneath(rules: int, fd: int, access: int) -> None:
    """Allow access to what a descriptor, opened with O_PATH, names: a file, or a directory with all in it."""
    syscall(ADD_RULE, rules, RULE_PATH_BENEATH, PATH_BENEATH.pack(access, fd), 0)

"""Network namespaces as configurations write them: inode numbers, and paths of namespace files."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Sequence
from typing import Any

from netmon.errors import ConfigError, Problem, shorten, shown

MAX_INODE = 2**32 - 1

NETNS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": MAX_INODE},
        {"type": "string", "pattern": "^/"},
    ]
}

REMEDY = "give the path of an existing network namespace, or its inode number"

# linux/nsfs.h, linux/sched.h
NS_GET_NSTYPE = 0xB703
CLONE_NEWNET = 0x40000000


def check_netns(value: Any) -> int | str:
    """Return an inode number or a path. Raises ValueError with what is wrong with it."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_INODE:
            raise ValueError(f"is out of range; inode numbers of namespaces go from 1 to {MAX_INODE}")
        return value
    if not isinstance(value, str):
        raise ValueError(_not_a_netns())
    if not value.startswith("/"):
        raise ValueError(_explain(value))
    if "\0" in value:
        raise ValueError("contains a NUL character, which no path can contain")
    return value


def _not_a_netns() -> str:
    return "is not a network namespace; write its inode number, or a path like /run/netns/NAME or /proc/PID/ns/net"


def _explain(text: str) -> str:
    """Return what is wrong with text that is not an absolute path."""
    number = re.fullmatch(r"(?:net:\[)?([0-9]+)\]?", text, re.ASCII)
    if number:
        return f"is text, not a number; did you mean {shown(number[1])}, without quotes?"
    if text and "/" not in text:
        return f"is not a path; did you mean {shown(f'/run/netns/{text}')}?"
    return _not_a_netns()


def resolve_netns(listed: Sequence[int | str]) -> list[int]:
    """Return the inode numbers of namespaces; those of paths as they are now.

    Raises:
        ConfigError: Some paths are not those of network namespaces. It has a problem for each.
    """
    numbers, problems = [], []
    for i, item in enumerate(listed):
        try:
            numbers.append(inode_of(item))
        except ValueError as error:
            problems.append(Problem("configuration", None, ("netns_filter", "netns", i), shorten(item), str(error)))
    if problems:
        raise ConfigError(problems)
    return numbers


def inode_of(netns: int | str) -> int:
    """Return a namespace's inode number, of a path as it is now. Raises ValueError with the reason and a remedy."""
    if isinstance(netns, int):
        return netns
    try:
        return _read_inode(netns)
    except OSError as error:
        raise ValueError(unusable(error.strerror or str(error))) from None
    except ValueError as error:
        raise ValueError(f"{error}; {REMEDY}") from None


def unusable(reason: str) -> str:
    """Return the message about a path that cannot be opened."""
    return f"cannot be used: {reason}; {REMEDY}"


def _read_inode(path: str) -> int:
    # Opening a device could have side effects. Namespace files look like regular files.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("is not a namespace")
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        kind = fcntl.ioctl(fd, NS_GET_NSTYPE)
        inode = os.fstat(fd).st_ino
    except OSError:
        raise ValueError("is not a namespace") from None
    finally:
        os.close(fd)
    if kind != CLONE_NEWNET:
        raise ValueError("is a namespace of another kind")
    return inode

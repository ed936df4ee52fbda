"""Opens files that events are appended to: without following links, and only regular files of one's own."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Collection

from netmon.errors import NetmonError, shown

NEW_MODE = 0o600
TAIL = 1 << 20  # bytes: longer than a line
DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
APPENDING = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class UnsafeError(NetmonError):
    """A file is not one to write to."""


def open_for_appending(directory: int, name: str, path: str, owners: Collection[int]) -> int:
    """Return the descriptor of a file, which is made if there is none, and locked against other writers like this one.

    A part of a line at its end, as a kill leaves it, is removed.

    Args:
        directory: A descriptor of its directory.
        name: Its name there.
        path: What messages call it.
        owners: The ids of the users whom it may belong to.

    Raises:
        UnsafeError: It is a link, a device, another user's, has a second name, or another process writes to it.
        OSError: It cannot be opened.
    """
    try:
        fd = os.open(name, APPENDING | os.O_CREAT, NEW_MODE, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeError(
                f"{shown(path)}: is a symbolic link, which is not followed; give the path of the file"
            ) from None
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeError(f"{shown(path)}: is no regular file; give another path")
        if found.st_uid not in owners:
            raise UnsafeError(
                f"{shown(path)}: belongs to another user ({found.st_uid}); remove it, or give another path"
            )
        if found.st_nlink != 1:
            raise UnsafeError(
                f"{shown(path)}: has {found.st_nlink} names (hard links); remove it, or give another path"
            )
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnsafeError(f"{shown(path)}: another process writes to it; give another path") from None
        _remove_torn_line(fd, found.st_size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _remove_torn_line(fd: int, size: int) -> None:
    """Remove what follows the last line end, if there is one in reach; else end the line."""
    start = max(0, size - TAIL)
    tail = os.pread(fd, size - start, start)
    if not tail or tail.endswith(b"\n"):
        return
    end = tail.rfind(b"\n") + 1
    if end or not start:
        os.ftruncate(fd, start + end)
    else:
        os.write(fd, b"\n")

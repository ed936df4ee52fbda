"""Waits until another process writes to a file (inotify)."""

from __future__ import annotations

import ctypes
import os
import select

IN_MODIFY = 2  # <sys/inotify.h>


class FileChanges:
    """Notices the changes of files from its construction on."""

    def __init__(self, *fds: int) -> None:
        """Begin. fds: descriptors of the files."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for fd in fds:
            if libc.inotify_add_watch(self._fd, b"/proc/self/fd/%d" % fd, IN_MODIFY) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def wait(self, timeout: float) -> None:
        """Return at the next change, or after timeout seconds. A change since the last call counts as the next."""
        if select.select([self._fd], [], [], timeout)[0]:
            os.read(self._fd, 1 << 16)

    def close(self) -> None:
        os.close(self._fd)

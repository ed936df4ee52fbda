"""The names of users, from the host's passwd file.

The file is read directly: the C library may ask a directory server for a name, which takes as long as that likes.
"""

from __future__ import annotations

import os
import stat
import time

from netmon.text import escape_for_terminal

PASSWD = "/etc/passwd"
SIZE_LIMIT = 4 << 20  # bytes that are read of it
CHECK_INTERVAL = 5.0  # seconds, at least, between two looks whether it has changed


class Users:
    """Knows the names of users by their numbers. It follows changes of the file, and never fails."""

    def __init__(self, path: str = PASSWD, ascii_only: bool = False) -> None:
        """Make it. ascii_only: see escape_for_terminal()."""
        self._path = path
        self._ascii_only = ascii_only
        self._names: dict[int, str] = {}
        self._version: tuple[int, ...] = ()
        self._next_check = 0.0

    def name(self, uid: int) -> str:
        """Return a user's name, harmless on a terminal; the number if there is no such user."""
        return self.find(uid) or str(uid)

    def find(self, uid: int) -> str | None:
        """Return a user's name, harmless on a terminal; None if there is no such user."""
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_INTERVAL
            self._read()
        return self._names.get(uid)

    def _read(self) -> None:
        """Read the file if it has changed. Without it, users are numbers."""
        try:
            with open(self._path, "rb", opener=_open_without_waiting) as file:
                status = os.fstat(file.fileno())
                version = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
                if version == self._version or not stat.S_ISREG(status.st_mode):
                    return
                text = file.read(SIZE_LIMIT).decode(errors="replace")
        except OSError:
            return
        self._version = version
        # From the end: the first of several names counts.
        self._names = {uid: escape_for_terminal(name, self._ascii_only) for uid, name in reversed(_entries(text))}


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _entries(text: str) -> list[tuple[int, str]]:
    """Return the numbers and names of passwd(5)."""
    entries = []
    for line in text.split("\n"):
        name, _, rest = line.partition(":")
        uid = rest.split(":")[1:2]
        if name and uid and uid[0].isascii() and uid[0].isdecimal():
            entries.append((int(uid[0][:10]), name))
    return entries

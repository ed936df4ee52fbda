"""The user whom a command runs as: under sudo, the one who asked."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import os
from collections.abc import Mapping
from typing import NamedTuple

from netmon.errors import NetmonError, shown

OF_SUDO = ("SUDO_COMMAND", "SUDO_GID", "SUDO_HOME", "SUDO_TTY", "SUDO_UID", "SUDO_USER")
MAX_ID = 2**32 - 2


class Account(NamedTuple):
    """A user to run a command as.

    Attributes:
        name: The user's name; empty if the host knows none.
        uid: The user id.
        gid: The group id.
        groups: The ids of all groups.
        home: The home directory.
        shell: The login shell; empty if the host knows none.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str

    def become(self) -> None:
        """Make the calling process this user's, without any rights of root. Raises OSError."""
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the user's environment: the given one, without what sudo has set for root."""
        own = {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell}
        kept = {key: value for key, value in environ.items() if key not in OF_SUDO and key not in own}
        return kept | {key: value for key, value in own.items() if value}


def find_asker(environ: Mapping[str, str], uid: int) -> Account | None:
    """Return the user who has called sudo; None without sudo, and if that was root.

    Args:
        environ: The environment.
        uid: This process's effective user id. What another one than root finds in its environment says nothing.

    Raises:
        NetmonError: sudo's variables are not what sudo sets.
    """
    if uid != 0 or "SUDO_UID" not in environ:
        return None
    asker, group = (_read_id(environ, name) for name in ("SUDO_UID", "SUDO_GID"))
    return _account_of(asker, group) if asker != 0 else None


def _read_id(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    if text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= MAX_ID:
        return int(text)
    raise NetmonError(f"{name} is {shown(text)}, which is no id: unset SUDO_UID, or run the command as root by --root")


def _account_of(uid: int, gid: int) -> Account:
    import pwd  # seldom needed

    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account("", uid, gid, (gid,), "/", "")
    return Account(
        entry.pw_name, uid, gid, tuple(os.getgrouplist(entry.pw_name, gid)), entry.pw_dir or "/", entry.pw_shell
    )

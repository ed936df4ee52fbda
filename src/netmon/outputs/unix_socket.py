"""Makes the socket that local readers connect to."""

from __future__ import annotations

import os
import socket
import stat

from netmon.errors import NetmonError, shown

BACKLOG = 16  # readers that have connected and are not accepted yet


def listen(path: str, mode: int, group: int | None) -> socket.socket:
    """Return a socket that listens at a path. One that a netmon has left there, and nobody serves, is replaced.

    Args:
        path: Where.
        mode: The permissions: who may write to the socket may connect.
        group: The id of its group; None: this process's.

    Raises:
        NetmonError: There is something else, or it cannot be made.
    """
    try:
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            before = os.umask(0o777 & ~mode)  # from the first moment on; nothing follows a link that is put there
            try:
                listener.bind(path)
            finally:
                os.umask(before)
            if group is not None and group != os.getegid():
                os.chown(path, -1, group, follow_symlinks=False)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise NetmonError(f"{shown(path)}: {error.strerror or error}") from None
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket of one's own that nobody serves. Raises NetmonError if there is something else, and OSError."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise NetmonError(f"{shown(path)}: is there already, and is no socket; remove it, or give another path")
    if found.st_uid not in (0, os.geteuid()):
        raise NetmonError(f"{shown(path)}: belongs to another user ({found.st_uid}); remove it, or give another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise NetmonError(f"{shown(path)}: another process serves it; give another path")

"""Serves the control socket in threads of its own, so that the reading thread never waits for a client."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from array import array
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from netmon.errors import NetmonError
from netmon.outputs.base import start_without_signals

CLIENTS = 4  # that are served at once
REQUEST_LIMIT = 5.0  # seconds for a client to send its request, and as many to take the answer
PAUSE = 0.1  # seconds, when there are no more descriptors
UCRED = struct.Struct("=3i")  # struct ucred
SO_PEERGROUPS = 59  # asm-generic/socket.h; the socket module does not have it
GROUPS_SIZE = 1024  # bytes: as many as Python takes, 256 groups


class Peer(NamedTuple):
    """Who has connected, as the kernel says.

    Attributes:
        uid: The effective user id.
        groups: The ids of the groups.
    """

    uid: int
    groups: tuple[int, ...]


class Command(NamedTuple):
    """Something to ask for.

    Attributes:
        answer: Returns the answer, or raises NetmonError. It is called in a thread of its own.
        changes: Whether it changes something: members of the group may only look.
    """

    answer: Callable[[], Mapping[str, Any]]
    changes: bool = False


def peer_of(connection: socket.socket) -> Peer:
    """Return who has connected. Raises OSError."""
    _, uid, gid = UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    groups = array("I")
    with suppress(OSError):  # more than there is room for: then only the first one counts
        groups.frombytes(connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, GROUPS_SIZE))
    return Peer(uid, (gid, *groups))


def refusal(peer: Peer, command: Command, group: int | None, own_uid: int) -> str:
    """Return why somebody may not ask for something; "" if they may.

    Args:
        peer: Who asks.
        command: For what.
        group: The id of the group that may look; None: there is none.
        own_uid: This process's effective user id.
    """
    if peer.uid in (0, own_uid):
        return ""
    if group is None or group not in peer.groups:
        return f"user {peer.uid} may not ask: only root, netmon's own user and the group of --control-group may"
    if command.changes:
        return f"user {peer.uid} may look only: this is for root and netmon's own user"
    return ""


class ControlServer:
    """Answers clients of a control socket, each in a thread of its own, a few at once."""

    def __init__(self, listener: socket.socket, group: int | None, commands: Mapping[str, Command]) -> None:
        """Take over a socket that listens.

        Args:
            listener: The socket.
            group: The id of the group that may look; None: there is none.
            commands: What there is to ask for, by name.
        """
        self._listener = listener
        self._group = group
        self._commands = commands
        self._free = threading.BoundedSemaphore(CLIENTS)

    def start(self) -> None:
        """Start the thread that accepts. It has the rights of the calling one, and ends with the process."""
        self._listener.setblocking(True)
        start_without_signals(threading.Thread(target=self._accept, name="control", daemon=True))

    def _accept(self) -> None:
        while True:
            self._free.acquire()  # further clients wait in the kernel's queue, which is bounded
            try:
                connection, _ = self._listener.accept()
            except OSError:  # no more descriptors
                self._free.release()
                time.sleep(PAUSE)
                continue
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except RuntimeError:  # no more threads
                connection.close()
                self._free.release()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                answer = self._answer(connection)
                connection.settimeout(REQUEST_LIMIT)
                connection.sendall(answer)
        finally:
            self._free.release()

    def _answer(self, connection: socket.socket) -> bytes:
        """Return the answer to a client's request. Raises OSError if the client has gone, or sends none in time."""
        from netmon.control.protocol import MAX_REQUEST, from_line, read_line, to_line  # json is slow to import

        try:
            name = from_line(read_line(connection, MAX_REQUEST, REQUEST_LIMIT)).get("command")
            command = self._commands.get(name) if isinstance(name, str) else None
            if command is None:
                raise NetmonError(f"this netmon knows no such command; it knows {', '.join(self._commands)}")
            if reason := refusal(peer_of(connection), command, self._group, os.geteuid()):
                raise NetmonError(reason)
            return to_line({"ok": True, "answer": command.answer()})
        except ValueError as error:
            return to_line({"ok": False, "error": f"the request {error}"})
        except NetmonError as error:
            return to_line({"ok": False, "error": str(error)})

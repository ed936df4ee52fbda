"""Where events come from: the socket of `netmon run --output unix:PATH`, or standard input."""

from __future__ import annotations

import json
import os
import re
import socket
from typing import Any

from netmon.errors import NetmonError, shown
from netmon.forward.store import Mark
from netmon.outputs.requests import HELLO, REFUSED

CHUNK = 256 << 10  # bytes that are read at once
MAX_LINE = 1 << 20  # bytes: netmon's own lines are much shorter
CONNECT_LIMIT = 10.0  # seconds for the greeting
REQUEST = b"format=json,hello=yes\n"
_RUN = re.compile(r"[0-9a-f]{1,32}")


class SourceError(NetmonError):
    """A source cannot be read. It may be later, if it is a socket."""


class Source:
    """Lines of JSON from a descriptor.

    Attributes:
        name: Names it in messages.
        fd: The descriptor; -1 while there is none.
        reconnects: Whether to connect again when it ends.
        hello: How far its run was when this connection began; None if the source does not say so.
    """

    reconnects = False

    def __init__(self, name: str, fd: int = -1) -> None:
        self.name = name
        self.fd = fd
        self.hello: Mark | None = None
        self._rest = b""

    def connect(self) -> None:
        """Connect, if it is not connected. Raises SourceError."""

    def read(self) -> bytes | None:
        """Return whole lines, without waiting if there is something to read; None at the end. Raises SourceError."""
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise SourceError(f"{shown(self.name)}: {error.strerror}") from None
        if not data:
            return None
        end = data.rfind(b"\n") + 1
        if not end:
            self._rest += data
            if len(self._rest) > MAX_LINE:
                raise SourceError(
                    f"{shown(self.name)}: a line is longer than {MAX_LINE >> 20} MiB: these are no events"
                )
            return b""
        lines, self._rest = self._rest + data[:end], data[end:]
        return lines

    def close(self) -> None:
        """Close it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class SocketSource(Source):
    """The socket that netmon serves. It greets, so that it can be told what was missed between two connections."""

    reconnects = True

    def __init__(self, path: str) -> None:
        super().__init__(f"unix:{path}")
        self._path = path

    def connect(self) -> None:
        """Connect, if it is not connected. Raises SourceError."""
        if self.fd >= 0:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CONNECT_LIMIT)
            try:
                connection.connect(self._path)
                connection.sendall(REQUEST)
                answer = _read_line(connection)
            except OSError as error:
                reason = error.strerror or "does not answer"
                remedy = " (netmon run --output unix:PATH,mode=0660,group=GROUP says who may connect)"
                raise SourceError(
                    f"{shown(self.name)}: {reason}{remedy * isinstance(error, PermissionError)}"
                ) from None
            self.hello = self._greeted(answer)
            self._rest = b""
            connection.setblocking(False)
            self.fd = connection.detach()

    def _greeted(self, line: bytes) -> Mark:
        """Return what a greeting says. Raises SourceError if it is none."""
        try:
            answer: Any = json.loads(line)
            if answer["type"] == REFUSED:
                raise SourceError(f"{shown(self.name)}: refuses: {shown(str(answer['reason']))}")
            run, events = answer["run"], answer["events"]
            if answer["type"] != HELLO or not (_RUN.fullmatch(run) and isinstance(events, int) and events >= 0):
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            ended = f"{shown(self.name)}: does not greet as netmon does"
            raise SourceError(
                ended
                if line
                else f"{shown(self.name)}: is closed again: netmon has ended, or has as many readers as it serves"
            ) from None
        return Mark(run, events)


def _read_line(connection: socket.socket) -> bytes:
    """Return the first line, and leave what follows: poll() must find it. Raises OSError."""
    line = b""
    while len(line) < MAX_LINE and (seen := connection.recv(CHUNK, socket.MSG_PEEK)):
        end = seen.find(b"\n") + 1
        line += connection.recv(end or len(seen))
        if end:
            break
    return line

"""Sends each event as a datagram to a local socket: of journald, or of a syslog."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from netmon.errors import NetmonError, shown
from netmon.outputs.base import QUEUE_LIMIT, Output

FULL = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)
SEND_BUFFER = 1 << 20  # bytes: what the kernel lets a sender have at most is less, mostly


class DatagramOutput(Output):
    """Sends a datagram an event. It does not break: what the receiver does not take waits in the queue before it."""

    shows_view = False
    has_queue = True

    def __init__(
        self,
        name: str,
        path: str,
        encode: Callable[[bytes], bytes],
        report: Callable[[str], None] = lambda _message: None,
        *,
        takes_files: bool = False,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        """Connect.

        Args:
            name: Names the output.
            path: The receiver's socket.
            encode: Makes a datagram of an event's line.
            report: Takes a message when something begins or ends to be wrong.
            takes_files: Whether the receiver takes a datagram that is too large as a file in memory.
            queue_limit: Bytes.

        Raises:
            NetmonError: There is no receiver.
        """
        self._path = path
        self._encode = encode
        self._report = report
        self._takes_files = takes_files
        self._problem = ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise NetmonError(f"{shown(path)}: {error.strerror or error}") from None
        super().__init__(name, self._socket.fileno(), queue_limit)

    def write_some(self, data: bytes, start: int, seconds: float) -> int:
        """Send what there is room for, whole lines. Returns 0, after a while, if there is none."""
        at = start
        while at < len(data):
            end = data.index(b"\n", at) + 1
            try:
                self._send(self._encode(data[at:end]))
            except OSError as error:
                if at == start:
                    self._wait(error, seconds)
                break
            at = end
        if at > start and self._problem:
            self._problem = ""
            self._report(f"{shown(self._path)}: takes events again")
        return at - start

    def write(self, data: bytes, start: int, seconds: float) -> int:
        """Write like write_some()."""
        return self.write_some(data, start, seconds)

    def require_reader(self) -> None:
        """Do nothing: a receiver that has gone may come back."""

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except OSError as error:
            if error.errno != errno.EMSGSIZE or not self._takes_files:
                raise
            self._send_file(datagram)

    def _send_file(self, datagram: bytes) -> None:
        """Send a file in memory that nobody can change any more."""
        fd = os.memfd_create("netmon", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            written = 0
            while written < len(datagram):
                written += os.write(fd, memoryview(datagram)[written:])
            seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            socket.send_fds(self._socket, [b""], [fd])
        finally:
            os.close(fd)

    def _wait(self, error: OSError, seconds: float) -> None:
        """Wait until there may be room, or a receiver again."""
        if error.errno in FULL:
            self._room.poll(seconds * 1000)
            return
        if not self._problem:
            self._problem = error.strerror or str(error)
            self._report(f"{shown(self._path)}: {self._problem}; events wait, and those without room are lost")
        with suppress(OSError):
            self._socket.connect(self._path)
            return
        time.sleep(seconds)

    def _close_fd(self) -> None:
        self._socket.close()

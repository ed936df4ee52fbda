"""Runs `netmon forward` in a process of its own, before a socket that is served as netmon serves it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from netmon.outputs.server import READER_LIMIT, SocketServer
from netmon.outputs.unix_socket import listen
from tests.support.json_lines import connection_line
from tests.support.waiting import wait_until

# netmon with shorter pauses: a test cannot wait for half a minute each time.
START = """
import sys
from netmon.cli.main import main
from netmon.forward import forwarder

forwarder.LINGER, forwarder.RECONNECT_DELAY, forwarder.FIRST_DELAY, forwarder.MAX_DELAY = 0.1, 0.2, 0.1, 0.5
sys.exit(main())
"""
_LINE = connection_line("Establish", 4242).encode()
EVENT_SIZE = len(_LINE)


def lines(start: int, end: int) -> bytes:
    """Return the lines of events whose connections have these cookies."""
    return b"".join(_LINE.replace(b'"cookie":4242', b'"cookie":%d' % number) for number in range(start, end))


class Served:
    """A socket that netmon serves, without netmon."""

    def __init__(self, path: Path, limit: int = READER_LIMIT) -> None:
        self.said: list[str] = []
        self.server = SocketServer("socket", listen(str(path), 0o666, None), self.said.append, limit)
        self.server.start()

    def put(self, start: int, end: int) -> None:
        """Put events with these cookies, in pieces as netmon does."""
        for number in range(start, end, 200):
            self.server.put(lines(number, min(end, number + 200)))

    def wait(self) -> None:
        """Wait for a reader."""
        wait_until(lambda: self.server.readers, "a reader")

    def close(self) -> None:
        """End as netmon does: what waits is written before."""
        self.server.finish()
        self.server.join()
        self.server._listener.close()


class Forward:
    """`netmon forward` in a process of its own."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None, stdin: Any = None) -> None:
        """Start it, and wait until it is ready."""
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, "forward", *arguments],
            stdin=stdin,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        wait_until(lambda: "netmon: ready" in self.said or self.process.poll() is not None, "netmon forward")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait_for(self, text: str) -> None:
        """Wait until it has said something."""
        wait_until(lambda: text in self.said or self.process.poll() is not None, text)
        assert text in self.said, self.said

    def end(self, number: int = signal.SIGTERM) -> str:
        """End it; return what it has said."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        self.process.wait(60)
        self._reader.join(60)
        return self.said


def own_directory() -> Path:
    """Return a directory that belongs to no root: netmon forward is another user than root's tests."""
    directory = Path(tempfile.mkdtemp(prefix="netmon-forward-"))
    if os.geteuid() == 0:
        os.chown(directory, 65534, 65534)
    return directory

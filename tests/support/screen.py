"""A program on a real terminal, whose screen a terminal emulator (pyte) shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence

import pyte

from tests.support.waiting import DEADLINE

AGAIN = 2.0  # seconds until a key is pressed again


class Terminal:
    """A terminal on which a program runs, and its screen."""

    def __init__(self, command: Sequence[object], columns: int, rows: int, **environment: str) -> None:
        """Start a command, with these variables beside the test's own."""
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self._master, slave = pty.openpty()
        self._size(slave, columns, rows)
        self.settings = termios.tcgetattr(slave)
        environ = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "TZ": "UTC", **environment}
        environ.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [*map(str, command)], stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
        )
        self.slave = slave

    def _size(self, fd: int, columns: int, rows: int) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Type keys."""
        os.write(self._master, keys.encode())

    def press_until(self, keys: str, holds: Callable[[], bool]) -> None:
        """Press keys again and again: what they do may depend on a key that is not done with yet."""
        again = time.monotonic()

        def pressed() -> bool:
            nonlocal again
            if holds():
                return True
            if time.monotonic() >= again:
                self.press(keys)
                again = time.monotonic() + AGAIN
            return False

        self.until(pressed)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; the program gets SIGWINCH."""
        self._size(self.slave, columns, rows)
        self.screen.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def lines(self) -> list[str]:
        """Return what the screen shows."""
        return [line.rstrip() for line in self.screen.display]

    def until(self, holds: Callable[[], object], seconds: float = DEADLINE) -> None:
        """Feed the screen until something holds; fail after so many seconds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "\n".join(self.lines())
            if select.select([self._master], [], [], 0.1)[0]:
                data = os.read(self._master, 1 << 16)
                self.written += data
                self._stream.feed(data)

    def shows(self, *words: str) -> None:
        """Wait until the screen shows all these words."""
        self.until(lambda: all(word in "\n".join(self.lines()) for word in words))

    def ended(self) -> int:
        """Wait for the program's end; check that the terminal is set as it was; return the exit code."""
        self.until(lambda: self.process.poll() is not None)
        assert termios.tcgetattr(self.slave) == self.settings
        return self.process.returncode

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self.slave)

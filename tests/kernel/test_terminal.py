"""`netmon run` on a terminal: lines for a person, whatever processes call themselves."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.connecting_process import CONNECT_ONCE
from tests.support.sockets import refused_connection
from tests.support.waiting import DEADLINE

pytestmark = pytest.mark.once

COLORS = re.compile(r"\x1b\[(?:[0-9]+;)*[0-9]+m")
HOSTILE_NAMES = (
    "\x1b]0;title\x07\x1b[2J\x1b[31m",
    "two\nlines\r\x08\x9b31m\x85",
    "right\u202eto\u2066left\u200f\u05e9",
    "unseen\u200b\ufe0f\u3164\U000e0041",
    "日本語",
)


class TerminalNetmon:
    """`netmon run` on a terminal of 80 columns."""

    def __init__(self, *flags: str) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(80)
        self._settings = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "netmon", "run", "--any-kernel", *flags],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        )
        self.output = ""
        self.wait_for("netmon: ready")

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))

    @property
    def lines(self) -> list[str]:
        """The whole lines so far, without their colours."""
        return COLORS.sub("", self.output).split("\r\n")[:-1]

    def wait_for(self, text: str, count: int = 1) -> list[str]:
        """Wait for a text in so many lines; return these."""
        end = time.monotonic() + DEADLINE
        while len(found := [line for line in self.lines if text in line]) < count:
            ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
            assert ready, self.output
            self.output += os.read(self._master, 1 << 16).decode()
        return found

    def stop(self) -> None:
        """End it, and check that the terminal is as it was."""
        self.process.send_signal(signal.SIGINT)
        self.wait_for(" lost")
        assert self.process.wait(DEADLINE) == 0
        assert termios.tcgetattr(self._slave) == self._settings
        # Colours, each undone in the same line, and line ends: nothing else that controls a terminal.
        assert all(line.isprintable() for line in self.lines)
        for line in self.output.split("\r\n"):
            colours = COLORS.findall(line)
            assert colours[1::2] == ["\x1b[0m"] * (len(colours) // 2)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture(scope="module")
def terminal() -> Iterator[TerminalNetmon]:
    with contextlib.closing(TerminalNetmon()) as running:
        yield running
        running.stop()
        summary = running.lines[-12:]
        assert " events, 0 lost" in summary[-1]
        assert any(line.split()[1:5] == ["connections", "failed", "sent", "received"] for line in running.lines)
        assert any(re.search(r"netmon: +0 +[1-9]\d* .* -> 127\.0\.0\.1:1$", line) for line in running.lines)


@pytest.fixture
def python() -> str:
    """The name by which lines have this process."""
    name = Path("/proc/self/exe").readlink().name
    return f"{name}[{os.getpid()}]"


def test_a_refused_attempt_is_a_line(terminal: TerminalNetmon, python: str) -> None:
    refused_connection()
    (line, *_) = terminal.wait_for("127.0.0.1:1 ")
    time_of_day, process, user, *rest = line.split()
    assert re.fullmatch(r"\d\d:\d\d:\d\d", time_of_day)
    assert (process, user, rest) == (python, "root", ["->", "127.0.0.1:1", "failed:", "refused"])
    assert len(line) <= 80


def test_each_end_of_a_connection_is_one_line_once_it_has_ended(
    terminal: TerminalNetmon, listener: socket.socket, port: str, python: str
) -> None:
    with socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        server.sendall(b"x" * 1234)
        server.close()
        assert client.recv(2000, socket.MSG_WAITALL) == b"x" * 1234
    (outgoing, *_) = terminal.wait_for(f"-> 127.0.0.1:{port}")
    (incoming, *_) = terminal.wait_for(f"<- 127.0.0.1 on :{port}")
    duration = r"\d[\d.]*(us|ms|s)"
    assert re.search(rf"-> 127.0.0.1:{port} +ok {duration} >0B <1\.2k {duration}$", outgoing)
    assert re.search(rf"<- 127.0.0.1 on :{port} +ok >1\.2k <0B {duration}$", incoming)
    assert all(python in line for line in (outgoing, incoming))


def test_a_connection_that_stays_open_has_a_line_after_a_second(
    terminal: TerminalNetmon, listener: socket.socket
) -> None:
    with socket.socket() as client:
        client.bind(("127.0.0.3", 0))
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        (opened,) = terminal.wait_for("127.0.0.3 on")
        assert opened.endswith(" accepted")
        server.close()
        (_, closed) = terminal.wait_for("127.0.0.3 on", 2)
        assert re.search(r" ok >0B <0B \S+$", closed)


def test_hostile_names_and_long_arguments_are_harmless(terminal: TerminalNetmon, tmp_path: Path, port: str) -> None:
    """That the terminal is as it was is checked at the end."""
    started = []
    for name in HOSTILE_NAMES:
        program = shutil.copy(CONNECT_ONCE, tmp_path / name)
        argument = (name + "\x1b[31m") * 10_000
        child = subprocess.Popen(
            [program, port, argument[:10_240]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        child.wait()
        started.append(child.pid)
    for pid in started:
        (line, *_) = terminal.wait_for(f"[{pid}]")
        assert " -> 127.0.0." in line
    (wide,) = terminal.wait_for(f"[{started[-1]}]")
    assert wide.split()[1] == f"日本語[{started[-1]}]"


def test_users_have_names(terminal: TerminalNetmon, copy: Path, port: str) -> None:
    child = subprocess.Popen([copy, port], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, user="nobody")
    child.wait()
    (line, *_) = terminal.wait_for(f"[{child.pid}]")
    assert line.split()[2] == "nobody"


def test_a_resized_terminal_is_followed(terminal: TerminalNetmon) -> None:
    terminal.resize(30)
    seen = len(terminal.lines)
    refused_connection()
    terminal.wait_for("failed: refused", 1 + sum("failed: refused" in line for line in terminal.lines))
    terminal.resize(80)
    assert "         failed: refused" in terminal.lines[seen:]

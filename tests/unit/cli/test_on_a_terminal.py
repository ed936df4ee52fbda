"""`netmon run` on a terminal: a real one, whose screen a terminal emulator (pyte) shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pyte
import pytest

from netmon.layout import Ending, RecordType
from tests.support.json_lines import HOSTILE_TEXTS
from tests.support.record_mixes import Mix
from tests.support.records import detailed_event, process_record

DEADLINE = 30.0  # seconds
COLUMNS, ROWS = 80, 300
NAMES = [name.encode() for kind, name in HOSTILE_TEXTS.items() if kind != "empty"] + [b"caf\xe9"]


def hostile_mix() -> Mix:
    """Return processes with hostile names and arguments, each with a connection that opens and closes.

    The first one has another connection, which stays open.
    """
    first, again = [], []
    for number, name in enumerate(NAMES, 1):
        argv = name[:60] + b"\0" + name[:60]
        record = process_record(path=b"/bin/" + name[:200], argv=argv, pid=1000 + number, comm=b"x", uid=0)
        first.append((number, record))
        again += [
            (number, detailed_event(type=RecordType.ESTABLISH, handshake_ns=17_000_000)),
            (number, detailed_event(bytes_sent=137, segments_retransmitted=0, closed_by=Ending.LOCAL)),
        ]
    again.append((1, detailed_event(type=RecordType.ESTABLISH, handshake_ns=1_000_000)))
    return Mix("hostile names", first, again)


# The records are sent when it is ready.
PROGRAM = """
import fcntl, sys, termios
from netmon.cli import main, run
from tests.support.ring_filler import Filler
from tests.unit.cli.test_on_a_terminal import hostile_mix
fcntl.ioctl(1, termios.TIOCSCTTY)
run_with = run.run_with
def open_filler(filters, ring_size, *, aggregate):
    mix = hostile_mix()
    filler = Filler(mix, ring_size)
    filler.send(len(mix.first) + len(mix.again))
    return filler
run.run_with = lambda outputs, options, signals, **view: run_with(outputs, options, signals, open_filler, **view)
sys.exit(main.main(["run", "--any-kernel", *sys.argv[1:]]))
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal with so many columns and rows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
    yield master, slave
    os.close(master)


def run_on(terminal: tuple[int, int], *flags: str, until: bytes) -> bytes:
    """Run netmon until it has written a text, and stop it; return all that it has written to the terminal."""
    master, slave = terminal
    before = termios.tcgetattr(slave)
    environment = {**os.environ, "TERM": "xterm", "LANG": "C.UTF-8", "TZ": "UTC"}
    for name in ("LC_ALL", "LC_CTYPE", "NO_COLOR", "CLICOLOR_FORCE"):
        environment.pop(name, None)
    command = [sys.executable, "-c", PROGRAM, *flags]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment
    )
    output = _read(master, until)
    process.send_signal(signal.SIGINT)
    output += _read(master, b" lost")
    assert process.wait(DEADLINE) == 0
    assert termios.tcgetattr(slave) == before
    os.close(slave)
    return output


def _read(master: int, until: bytes) -> bytes:
    """Read from a terminal until a text has come, and the line that it is in."""
    output, end = b"", time.monotonic() + DEADLINE
    while until not in output or not output.endswith(b"\n"):
        ready, _, _ = select.select([master], [], [], max(0.0, end - time.monotonic()))
        assert ready, output
        output += os.read(master, 1 << 16)
    return output


def test_hostile_names_leave_the_terminal_as_it_was(terminal: tuple[int, int]) -> None:
    screen = pyte.Screen(COLUMNS, ROWS)
    before = (screen.cursor.attrs, set(screen.mode), screen.charset, screen.margins, screen.title)
    last = f"[{1000 + len(NAMES)}]".encode()
    pyte.ByteStream(screen).feed(output := run_on(terminal, until=last))
    shown = [line.rstrip() for line in screen.display if line.strip()]
    assert shown[0] == "netmon: ready"
    lines = shown[1 : 1 + len(NAMES)]
    for number, line in enumerate(lines, 1001):
        assert f"[{number}]" in line
        assert " -> 192.0.2.1:443 " in line
        assert "ok 17ms >137B <5B 1.2ms" in line
    assert "[1001]" in shown[1 + len(NAMES)]
    assert shown[1 + len(NAMES)].endswith("open 1.0ms")
    assert shown[2 + len(NAMES)].split() == [
        "netmon:",
        "connections",
        "failed",
        "sent",
        "received",
        "who",
        "and",
        "where",
    ]
    assert shown[-1] == f"netmon: {2 * len(NAMES) + 1} events, 0 lost"
    assert before == (screen.cursor.attrs, set(screen.mode), screen.charset, screen.margins, screen.title)
    assert (screen.cursor.x, screen.cursor.y) == (0, len(shown))
    assert b"\x1b[32mok\x1b[0m" in output


def test_json_on_a_terminal_is_harmless_too(terminal: tuple[int, int]) -> None:
    output = run_on(terminal, "--format", "json", until=b'"pid":%d' % (1000 + len(NAMES)))
    assert output.count(b'"type":"NetworkEvent"') == 2 * len(NAMES) + 1
    assert all(line.isprintable() for line in output.decode().split("\r\n"))

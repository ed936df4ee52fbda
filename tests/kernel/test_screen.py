"""`netmon top` on a terminal, by the single-file executable, beside the truth of a known load."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from netmon.terminal.units import size
from tests.support.known_load import CARRIED, CONNECTIONS, FAILED, OPEN_SENT, PROCESSES, make_load, send_open
from tests.support.packaged import extract_program
from tests.support.sockets import Pair, connect_pair, listen

# These contents, because the executable is in the Debian package.
pytestmark = [pytest.mark.guest("systemd"), pytest.mark.only_on("6.12")]

SHORT_LIVED = "exec 3<> /dev/tcp/127.0.0.1/"
STARTED = 240.0  # seconds until the view is there: under emulation, on a busy machine
ALIGNED_LEFT = ("PROCESS", "USER", "TREND", "ARGUMENTS")  # columns
ENTER, ESCAPE = "\r", "\x1b"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extract_program(tmp_path_factory.mktemp("package"))


@pytest.fixture
def before() -> Iterator[Pair]:
    """A connection that is open when the view begins."""
    with listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        yield pair
        pair.close()


def test_the_screen_shows_what_a_known_load_did(program: Path, before: Pair) -> None:
    from tests.support.screen import Terminal  # the other guests have no terminal emulator

    command = [program, "top", "--any-kernel", "--interval", "1s", "--peer", "127.0.0.1"]
    with closing(Terminal(command, 80, 24)) as terminal:

        def shown() -> str:
            return "\n".join(terminal.lines())

        def cells(name: str) -> dict[str, str]:
            """Return the cells of a row, by the names of the columns, which are aligned at the right."""
            header = next((line for line in terminal.lines() if " CONN/s " in line), "")
            row = next((line for line in terminal.lines() if line.startswith(name)), "")
            ends = {found[0]: found.end() for found in re.finditer(r"\S+", header) if found[0] not in ALIGNED_LEFT}
            return {word: row[:end].split()[-1] for word, end in ends.items()} if row else {}

        def row_is(name: str, **wanted: str) -> bool:
            return wanted.items() <= cells(name).items()

        mine = f"{Path('/proc/self/exe').readlink().name}[{os.getpid()}]"
        terminal.until(lambda: " Quit" in shown() and mine in shown(), STARTED)
        assert terminal.lines()[0].startswith(" 1 process  2 tree  3 peer  4 port  5 container")
        assert row_is(mine, OPEN="2", CONNS="0")

        make_load(lambda port: ["bash", "-c", f"{SHORT_LIVED}{port}"])
        send_open(before)
        terminal.until(lambda: row_is(mine, OPEN="2", CONNS=str(CONNECTIONS)))
        terminal.until(lambda: shown().count("bash[") == PROCESSES and shown().count(" ended ") == PROCESSES)
        short_lived = [line.split()[0] for line in terminal.lines() if line.startswith("bash[")]
        assert [cells(name)["CONNS"] for name in short_lived] == ["1"] * PROCESSES
        # Nothing goes on: the rates of the last interval are none, and the sums stay.
        terminal.until(lambda: row_is(mine, **{"CONN/s": "0", "SENT/s": "0B", "CONNS": str(CONNECTIONS)}))

        terminal.resize(200, 50)
        terminal.until(lambda: row_is(mine, FAILED=str(FAILED), SENT=size(CARRIED), RECV=size(CARRIED)))
        terminal.until(lambda: "Quit" in terminal.lines()[-1])

        # The sample of a connection that is open: its bytes are in the rate of an interval.
        send_open(before)
        terminal.until(lambda: row_is(mine, SENT=size(CARRIED + OPEN_SENT)))

        terminal.press("s")
        terminal.until(lambda: "rows by sent" in shown())
        terminal.press("3")
        terminal.until(lambda: terminal.lines()[3].startswith("PEER") and "127.0.0.1 " in shown())
        terminal.press("1/")
        terminal.press("!python")
        terminal.until(lambda: mine not in shown())
        terminal.press(ESCAPE)
        terminal.until(lambda: row_is(mine, OPEN="2"))
        terminal.press_until(ENTER, lambda: "last connections" in shown())
        assert f"{CONNECTIONS} connections, 2 open, {FAILED} failed, " in shown()
        assert " <- 127.0.0.1 on :" in shown() and " ok " in shown()
        terminal.press(ESCAPE)
        terminal.until(lambda: "last connections" not in shown() and "bash[" not in shown())  # they have ended long ago
        terminal.press("q")
        assert terminal.ended() == 0
        terminal.shows(" 0 lost")  # on the screen that was there before
        assert b"\x1b[?1049l" in terminal.written


def test_a_command_gets_the_environment_that_the_executable_hides_from_itself(program: Path) -> None:
    given = {"LANG": "C", "LD_LIBRARY_PATH": "/nowhere", "PYTHONPATH": "/nowhere", "TMPDIR": "/tmp", "PATH": "/usr/bin"}
    command = [program, "exec", "--any-kernel", "--output", "/dev/null", "--", "env"]
    done = subprocess.run([*map(str, command)], env=given, capture_output=True, text=True, check=True)
    assert dict(line.split("=", 1) for line in done.stdout.splitlines()) == given

"""`netmon top` on a terminal, by the single-file executable, beside the truth of a known load.

The tests run in this order, on one view: its start takes most of the time.
"""

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
SECONDS = 120.0  # for what the screen is to show: under emulation, on a busy machine
ENTER, ESCAPE = "\r", "\x1b"
ALIGNED_LEFT = ("PROCESS", "USER", "TREND", "ARGUMENTS")  # columns
MINE = f"{Path('/proc/self/exe').readlink().name}[{os.getpid()}]"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extract_program(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def before() -> Iterator[Pair]:
    """A connection that is open when the view begins."""
    with listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        yield pair
        pair.close()


class View:
    """`netmon top` on a terminal."""

    def __init__(self, program: Path) -> None:
        from tests.support.screen import Terminal  # the other guests have no terminal emulator

        command = [program, "top", "--any-kernel", "--interval", "2s", "--peer", "127.0.0.1"]
        self.terminal = Terminal(command, 80, 24)

    def close(self) -> None:
        self.terminal.close()

    @property
    def text(self) -> str:
        return "\n".join(self.terminal.lines())

    def shows(self, *words: str) -> None:
        self.terminal.until(lambda: all(word in self.text for word in words), SECONDS)

    def hides(self, *words: str) -> None:
        self.terminal.until(lambda: not any(word in self.text for word in words), SECONDS)

    def cells(self, name: str) -> dict[str, str]:
        """Return the cells of a row, by the names of the columns, which are aligned at the right."""
        header = next((line for line in self.terminal.lines() if " CONN/s " in line), "")
        row = next((line for line in self.terminal.lines() if line.startswith(name)), "")
        ends = {found[0]: found.end() for found in re.finditer(r"\S+", header) if found[0] not in ALIGNED_LEFT}
        return {word: row[:end].split()[-1] for word, end in ends.items()} if row else {}

    def shows_cells(self, name: str, **wanted: str) -> None:
        """Wait for a row with these cells."""
        self.terminal.until(lambda: wanted.items() <= self.cells(name).items(), SECONDS)


@pytest.fixture(scope="module")
def view(program: Path, before: Pair) -> Iterator[View]:
    with closing(View(program)) as running:
        running.shows(" Quit", MINE)
        yield running


def test_the_screen_shows_what_a_known_load_did(view: View, before: Pair) -> None:
    assert view.terminal.lines()[0].startswith(" 1 process  2 tree  3 peer  4 port  5 container")
    view.shows_cells(MINE, OPEN="2", CONNS="0")
    make_load(lambda port: ["bash", "-c", f"{SHORT_LIVED}{port}"])
    send_open(before)
    view.shows_cells(MINE, OPEN="2", CONNS=str(CONNECTIONS))
    view.terminal.until(lambda: view.text.count("bash[") == view.text.count(" ended ") == PROCESSES, SECONDS)
    short_lived = [line.split()[0] for line in view.terminal.lines() if line.startswith("bash[")]
    assert [view.cells(name)["CONNS"] for name in short_lived] == ["1"] * PROCESSES
    # Nothing goes on: the rates of the last interval are none, and the sums stay.
    view.shows_cells(MINE, **{"CONN/s": "0", "FAIL/s": "0", "SENT/s": "0B", "RECV/s": "0B", "CONNS": str(CONNECTIONS)})


def test_a_larger_screen_shows_more_and_the_bytes_of_open_connections(view: View, before: Pair) -> None:
    view.terminal.resize(200, 50)
    view.shows_cells(MINE, FAILED=str(FAILED), SENT=size(CARRIED), RECV=size(CARRIED))
    view.terminal.until(lambda: "Quit" in view.terminal.lines()[-1], SECONDS)
    send_open(before)
    view.shows_cells(MINE, SENT=size(CARRIED + OPEN_SENT))  # its connection is still open: this is a sample
    view.terminal.resize(80, 24)
    view.hides("ARGUMENTS")


def test_keys_sort_filter_and_show_details_and_the_terminal_is_left_as_it_was(view: View) -> None:
    view.terminal.press("s")
    view.shows("rows by sent")
    view.terminal.press("3")
    view.terminal.until(lambda: view.terminal.lines()[3].startswith("PEER") and "127.0.0.1 " in view.text, SECONDS)
    view.terminal.press("1/")
    view.terminal.press("!python")
    view.shows("!python", "PROCESS", "0 rows")
    view.terminal.press(ESCAPE)
    view.shows_cells(MINE, OPEN="2")
    view.hides("bash[")  # they have ended long ago
    view.terminal.press(ENTER)
    view.shows(f"{CONNECTIONS} connections, 2 open, {FAILED} failed, ", " <- 127.0.0.1 on :", " ok ")
    view.terminal.press(ESCAPE)
    view.hides("last connections")
    view.terminal.press("q")
    assert view.terminal.ended() == 0
    view.shows(" 0 lost")  # on the screen that was there before
    assert b"\x1b[?1049l" in view.terminal.written


def test_a_command_gets_the_environment_that_the_executable_hides_from_itself(program: Path) -> None:
    given = {"LANG": "C", "LD_LIBRARY_PATH": "/nowhere", "PYTHONPATH": "/nowhere", "TMPDIR": "/tmp", "PATH": "/usr/bin"}
    command = [program, "exec", "--any-kernel", "--output", "/dev/null", "--", "env"]
    done = subprocess.run([*map(str, command)], env=given, capture_output=True, text=True, check=True)
    assert dict(line.split("=", 1) for line in done.stdout.splitlines()) == given

"""`netmon top`: its flags, its snapshots of a recording, and the view on a terminal, whose screen pyte shows."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

from netmon.cli.main import main
from tests.support.scripted_source import scripted
from tests.unit.recording.test_replay import ALL, scene

DEADLINE = 30.0
AGAIN = 2.0  # seconds until a key is pressed again
SLOW = ("textual", "rich", "pydantic")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("top") / "recording"
    with scripted(*scene(), record=path, config=ALL) as monitor:
        list(monitor.json_lines())
    return path


def top(*arguments: str | Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error."""
    code = main(["top", *map(str, arguments)])
    return code, *capfd.readouterr()


def test_a_pipe_gets_a_line_of_json_for_each_interval(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, output, said = top("--replay", recording, "-n", "3", capfd=capfd)
    snapshots = [json.loads(line) for line in output.splitlines()]
    assert (code, len(snapshots)) == (0, 3)
    assert {snapshot["type"] for snapshot in snapshots} == {"TopSnapshot"}
    assert snapshots[0]["connections"] == 3
    assert said.splitlines()[0] == "netmon: ready"


def test_a_table_on_request(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ("--once", "--format", "line", "--by", "peer", "--rows", "1")
    _, output, _ = top("--replay", recording, *flags, capfd=capfd)
    lines = output.splitlines()
    assert lines[2].startswith("PEER")
    assert lines[3].startswith("192.0.2.1 ")
    assert lines[4] == "(1 more)"


def test_rows_are_filtered_and_sorted(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, output, _ = top("--replay", recording, "--once", "--by", "peer", "--filter", "2001:db8", capfd=capfd)
    assert [row["peer"] for row in json.loads(output)["rows"]] == ["2001:db8::2"]


def test_flags_choose_recorded_connections(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, output, _ = top("--replay", recording, "--once", "--by", "peer", "--peer", "2001:db8::/32", capfd=capfd)
    assert [row["peer"] for row in json.loads(output)["rows"]] == ["2001:db8::2"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--by", "peers"], "--by: peers is no view; did you mean peer?"),
        (["--sort", "byte"], "--sort: byte is nothing to sort by; did you mean bytes?"),
        (["--format", "xml"], "--format: xml is no format of netmon top; give line or json"),
        (["--rows", "0"], "--rows: '0' is no positive number"),
        (["-n", "x"], "-n/--count: 'x' is no positive number"),
        (["--interval", "1ms"], "--interval: '1ms' is out of range; an interval is from 1s to 24h"),
        (["--replay", "/nonexistent"], "/nonexistent: No such file or directory"),
        (["--ring-size", "5M"], "--ring-size: '5M' is not a power of two; did you mean 4M or 8M?"),
    ],
)
def test_wrong_flags(flags: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, output, said = top(*flags, capfd=capfd)
    assert (code, output) == (2, "")
    assert said.startswith(f"netmon: {message}")


def test_snapshots_need_no_textual(recording: Path) -> None:
    program = (
        "import sys\nfrom netmon.cli.main import main\n"
        f"main(['top', '--once', '--replay', {str(recording)!r}])\n"
        f"print(*sorted({{*sys.modules}} & {{*{SLOW}}}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == ""


class Terminal:
    """A terminal on which a program runs."""

    def __init__(self, command: list[str], columns: int, rows: int, **environment: str) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self._master, slave = pty.openpty()
        self._size(slave, columns, rows)
        self.settings = termios.tcgetattr(slave)
        environ = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "TZ": "UTC", **environment}
        environ.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
        )
        self.slave = slave

    def _size(self, fd: int, columns: int, rows: int) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
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
        self._size(self.slave, columns, rows)
        self.screen.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < deadline, "\n".join(self.lines())
            if select.select([self._master], [], [], 0.1)[0]:
                data = os.read(self._master, 1 << 16)
                self.written += data
                self._stream.feed(data)

    def shows(self, *words: str) -> None:
        self.until(lambda: all(word in "\n".join(self.lines()) for word in words))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self.slave)


@pytest.fixture
def view(recording: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_view(columns: int, rows: int, *flags: str, program: list[str] | None = None, **environ: str) -> Terminal:
        command = program or [sys.executable, "-m", "netmon", "top", "--replay", str(recording), *flags]
        opened.append(Terminal(command, columns, rows, **environ))
        return opened[-1]

    yield open_view
    for terminal in opened:
        terminal.close()


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50)])
def test_the_view_on_a_terminal(view: Callable[..., Terminal], columns: int, rows: int) -> None:
    terminal = view(columns, rows, "--interval", "1s")
    terminal.shows("curl[4242]", "Quit")
    lines = terminal.lines()
    assert lines[0].startswith(" 1 process  2 tree  3 peer  4 port  5 container")
    assert "conn/s" in lines[1] and "B/s" in lines[2]
    assert lines[3].split()[:6] == ["PROCESS", "USER", "OPEN", "CONN/s", "FAIL/s", "SENT/s"]
    assert "Details" in lines[rows - 1] and "Quit" in lines[rows - 1]
    terminal.press("3")
    terminal.shows("192.0.2.1", "2001:db8::2")
    terminal.press("/")
    terminal.press("db8")
    terminal.until(lambda: "192.0.2.1" not in "\n".join(terminal.lines()))
    terminal.press("\r")  # back to the rows
    terminal.press_until("\r", lambda: "last connections" in "\n".join(terminal.lines()))
    terminal.press("\x1b")
    terminal.until(lambda: "last connections" not in "\n".join(terminal.lines()))
    terminal.press("q")
    terminal.until(lambda: terminal.process.poll() is not None)
    assert terminal.process.returncode == 0
    terminal.shows("events, 1 lost")  # on the screen that was there before
    assert termios.tcgetattr(terminal.slave) == terminal.settings


def test_a_signal_ends_the_view_and_restores_the_terminal(view: Callable[..., Terminal]) -> None:
    terminal = view(80, 24)
    terminal.shows("Quit")
    terminal.process.terminate()
    terminal.until(lambda: terminal.process.poll() is not None)
    assert termios.tcgetattr(terminal.slave) == terminal.settings
    terminal.until(lambda: b"\x1b[?1049l" in terminal.written)


def test_the_view_follows_the_terminals_size(view: Callable[..., Terminal]) -> None:
    terminal = view(80, 24)
    terminal.shows("TREND", "Quit")
    assert "FAILED" not in terminal.lines()[3]
    terminal.resize(200, 50)
    terminal.shows("FAILED", "ARGUMENTS")


def test_without_colours_there_are_none(view: Callable[..., Terminal]) -> None:
    terminal = view(80, 24, "--no-color")
    terminal.shows("Quit")
    colours = {char.fg for line in terminal.screen.buffer.values() for char in line.values()}
    assert all(colour == "default" or len({*colour[::2], *colour[1::2]}) <= 2 for colour in colours)


def test_without_textual_one_error_says_what_to_do(view: Callable[..., Terminal]) -> None:
    hide = "import sys; sys.modules['textual'] = None; from netmon.cli.main import main; sys.exit(main(['top']))"
    terminal = view(120, 24, program=[sys.executable, "-c", hide])
    terminal.until(lambda: terminal.process.poll() is not None)
    terminal.shows("netmon: without it: netmon top --once, or netmon top --format line")
    assert terminal.process.returncode == 1
    said = [line for line in terminal.lines() if line]
    assert said == [
        "netmon: the view needs textual, which is not installed: pip install 'netmon-bpf[top]'",
        "netmon: without it: netmon top --once, or netmon top --format line",
    ]


def test_a_dumb_terminal_gets_an_error(view: Callable[..., Terminal]) -> None:
    terminal = view(120, 24, TERM="dumb")
    terminal.shows("this terminal (TERM is dumb or not set) cannot show the view")


def test_a_damaged_recording_is_an_error_after_the_view(view: Callable[..., Terminal], tmp_path: Path) -> None:
    path = tmp_path / "no-recording"
    path.write_bytes(b"x" * 100)
    terminal = view(120, 24, program=[sys.executable, "-m", "netmon", "top", "--replay", str(path)])
    terminal.shows("is no recording")


def test_the_view_needs_no_right_that_a_watching_one_has_given_up(
    view: Callable[..., Terminal], recording: Path
) -> None:
    """A replay keeps its rights. So this one gives them up as a run does."""
    program = (
        "import sys, netmon.top.app\nfrom netmon.cli.main import main\nfrom netmon.cli.confine import confine\n"
        "confine(lambda: None, makes_maps=False, config_file=None)\n"
        f"sys.exit(main(['top', '--replay', {str(recording)!r}]))"
    )
    terminal = view(80, 24, program=[sys.executable, "-c", program])
    terminal.shows("Quit")
    terminal.press("2")
    terminal.shows("curl[4242]")
    terminal.press("q")
    terminal.until(lambda: terminal.process.poll() is not None)
    assert terminal.process.returncode == 0

"""`netmon top`: its flags, its snapshots of a recording, and the view on a terminal, whose screen pyte shows."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netmon.cli.main import main
from tests.support.screen import Terminal
from tests.support.scripted_source import scripted
from tests.support.waiting import DEADLINE, wait_until
from tests.unit.recording.test_replay import ALL, scene

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
        (
            ["--replay", "x", "--record", "y"],
            "--record: has no effect on --replay, which watches nothing; leave one or",
        ),
        (["--replay", "x", "--ring-size", "64K"], "--ring-size: has no effect on --replay"),
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
    assert terminal.ended() == 0
    terminal.shows("events, 1 lost")  # on the screen that was there before


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs tmux's commands, on a server of its own without anybody's configuration, and returns what they write."""

    def run(*arguments: str | Path) -> str:
        command = ["tmux", "-f", "/dev/null", "-S", str(tmp_path / "tmux"), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE).stdout

    yield run
    run("kill-server")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50)])
def test_the_view_in_tmux(recording: Path, tmux: Callable[..., str], columns: int, rows: int) -> None:
    tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "-e", "LC_ALL=C.UTF-8", "sh")
    tmux("set-option", "-g", "status", "off")
    tmux("send-keys", shlex.join([sys.executable, "-m", "netmon", "top", "--replay", str(recording)]), "Enter")

    def lines() -> list[str]:
        return tmux("capture-pane", "-p").splitlines()

    wait_until(lambda: any("curl[4242]" in line for line in lines()), "the view")
    wait_until(lambda: any("Details" in line and "Quit" in line for line in lines()), "the keys")
    assert lines()[0].startswith(" 1 process  2 tree  3 peer  4 port  5 container")
    tmux("send-keys", "3")
    wait_until(lambda: any("192.0.2.1" in line for line in lines()), "peers")
    tmux("send-keys", "q")
    wait_until(lambda: any("events, 1 lost" in line for line in lines()), "the screen that was there before")
    assert not any("Quit" in line for line in lines())


def test_a_signal_ends_the_view_and_restores_the_terminal(view: Callable[..., Terminal]) -> None:
    terminal = view(80, 24)
    terminal.shows("Quit")
    terminal.process.terminate()
    terminal.ended()
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
    assert terminal.ended() == 1
    terminal.shows("netmon: without it: netmon top --once, or netmon top --format line")
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
    assert terminal.ended() == 0

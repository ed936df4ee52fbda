"""`netmon run` on one and on several outputs: the summary, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from netmon.cli.main import make_parser
from netmon.cli.run import begin_reading, run_with, view_maker
from netmon.cli.session import Signals
from netmon.errors import OutputError
from netmon.filters.compiled import CompiledFilters
from netmon.outputs import direct, queue
from netmon.outputs.base import Output
from netmon.terminal.field_views import TableView
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import Filler

MIX = MIXES["1 process, IPv4"]
EVENTS = 2000
LIMIT = 64 << 10  # bytes of a queue: a tenth of the events
DEADLINE = 30.0  # seconds


# `netmon run` on a terminal of its own, whose records are sent when it is ready.
ON_A_TERMINAL = """
import fcntl, sys, termios
from netmon.cli import main, run
from tests.unit.cli.test_run import EVENTS, MIX, Filler
fcntl.ioctl(2, termios.TIOCSCTTY)
run_with = run.run_with
def open_filler(filters, ring_size, *, aggregate):
    filler = Filler(MIX, ring_size)
    filler.send(1 + EVENTS)
    return filler
run.run_with = lambda outputs, options, signals, **view: run_with(outputs, options, signals, open_filler, **view)
sys.exit(main.main(["run", "--any-kernel"]))
"""


@pytest.fixture(autouse=True)
def _handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the signal handlers back; give up stuck outputs early."""
    for module in (direct, queue):
        monkeypatch.setattr(module, "DRAIN_LIMIT", 0.3)
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in handled]
    yield
    for number, handler in zip(handled, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def file(tmp_path: Path) -> Output:
    return Output("file", os.open(tmp_path / "events", os.O_WRONLY | os.O_CREAT))


def run_on(
    outputs: Sequence[Output],
    act: Callable[[Filler], None],
    stop: bool = True,
    arguments: Sequence[str] = (),
    command: str = "run",
    **further: Any,
) -> None:
    """Run the command; once it is attached, act in another thread, and then stop the command by SIGTERM."""
    fillers: list[Filler] = []

    def open_filler(filters: CompiledFilters, ring_size: int, *, aggregate: bool) -> Filler:
        fillers.append(Filler(MIX, ring_size))
        return fillers[-1]

    def wait_and_act() -> None:
        end = time.monotonic() + DEADLINE
        while not (fillers and fillers[0].attached) and time.monotonic() < end:
            time.sleep(0.002)
        failed = True
        try:
            act(fillers[0])
            failed = False
        finally:
            if stop or failed:  # after a failure, too: the command would never end
                os.kill(os.getpid(), signal.SIGTERM)

    signals = Signals()
    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        options = make_parser([command]).parse_args([command, "--any-kernel", "--no-confine", *arguments])
        run_with(outputs, options, signals, open_filler, **further)
    finally:
        thread.join()


def test_the_summary_names_each_output_with_losses(
    file: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read_end, write_end = os.pipe()
    stuck = Output("pipe", write_end, LIMIT)
    run_on([stuck, file], lambda filler: filler.send(1 + EVENTS))
    stuck.close()
    with open(read_end, "rb") as source:
        received = len(source.readlines())
    assert (tmp_path / "events").read_bytes().count(b"NetworkEvent") == EVENTS
    assert 0 < received < EVENTS
    summary = capsys.readouterr().err.splitlines()[-1]
    assert summary.endswith(f" events, 0 lost, {EVENTS - received} not written to pipe")


def test_a_broken_output_is_reported_and_the_run_goes_on(
    file: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = Output("full", os.open("/dev/full", os.O_WRONLY))
    lines: list[str] = []

    def act(filler: Filler) -> None:
        filler.send(1 + 10)
        end = time.monotonic() + DEADLINE
        while "LostEvents" not in "".join(lines) and time.monotonic() < end:
            lines[:] = (tmp_path / "events").read_text().splitlines()
            time.sleep(0.01)
        filler.send(10)

    run_on([full, file], act)
    (report,) = (json.loads(line) for line in lines if "LostEvents" in line)
    assert report["lost_events"]["outputs"] == {"full": 10}
    *_, summary = errors = capsys.readouterr().err.splitlines()
    assert errors[:2] == ["netmon: ready", "netmon: full: No space left on device; closed"]
    assert summary.endswith(" events, 0 lost, 20 not written to full")
    assert (tmp_path / "events").read_bytes().count(b"NetworkEvent") == 20


@pytest.mark.parametrize("count", [1, 2])
def test_the_last_output_that_breaks_ends_the_run(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Their losses are in the summary: also of events that were still in the ring buffer."""
    outputs = [Output(f"full {number}", os.open("/dev/full", os.O_WRONLY)) for number in range(count)]
    with pytest.raises(OutputError, match=r"^full \d: No space left on device$"):
        run_on(outputs, lambda filler: filler.send(1 + EVENTS), stop=False)
    summary = capsys.readouterr().err.splitlines()[-1]
    losses = "".join(f", {EVENTS} not written to full {number}" for number in range(count))
    assert summary == f"netmon: {EVENTS} events, 0 lost{losses}"


def test_a_stuck_output_is_given_up_after_sigterm(capsys: pytest.CaptureFixture[str]) -> None:
    """What the reader finds later, and what is counted as lost, are all events."""
    read_end, write_end = os.pipe()
    stuck = Output("pipe", write_end)
    begin = time.monotonic()
    run_on([stuck], lambda filler: filler.send(1 + EVENTS))
    assert time.monotonic() - begin < 10
    stuck.close()
    with open(read_end, "rb") as source:
        received = source.read().count(b"\n")
    summary = capsys.readouterr().err.splitlines()[-1]
    assert 0 < received < EVENTS
    assert summary == f"netmon: {EVENTS} events, 0 lost, {EVENTS - received} not written to pipe"


def test_a_reader_that_goes_away_ends_the_run_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    read_end, write_end = os.pipe()
    with pytest.raises(OutputError) as caught:
        run_on([Output("pipe", write_end)], lambda _filler: os.close(read_end), stop=False)
    assert caught.value.reader_gone
    assert capsys.readouterr().err == "netmon: ready\n"


def test_the_summary_does_not_count_reports_of_losses(
    file: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_on([file], lambda filler: filler.send(1 + EVENTS), arguments=["--ring-size", "4K"])
    lines = (tmp_path / "events").read_text().splitlines()
    reports = [line for line in lines if line.startswith('{"type":"LostEvents"')]
    assert reports
    summary = capsys.readouterr().err.splitlines()[-1]
    assert summary.startswith(f"netmon: {len(lines) - len(reports)} events, ")
    assert ", 0 lost" not in summary


@pytest.mark.parametrize("where", ["file", "terminal"])
def test_a_terminal_that_is_closed_ends_the_run(where: str, tmp_path: Path) -> None:
    """The exit code is that of SIGTERM. The events are in the file, if there is one."""
    master, terminal = pty.openpty()
    tty.setraw(terminal)
    path = tmp_path / "events"
    with path.open("wb") as file:
        stdout = file if where == "file" else terminal
        process = subprocess.Popen(
            [sys.executable, "-c", ON_A_TERMINAL], stdout=stdout, stderr=terminal, start_new_session=True
        )
    os.close(terminal)
    shown = b""
    while b"netmon: ready" not in shown:
        shown += os.read(master, 1 << 16)
    os.close(master)
    assert process.wait(DEADLINE) == 0
    if where == "file":
        assert path.read_bytes().count(b"NetworkEvent") == EVENTS


def test_a_file_says_how_events_are_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "netmon.yaml"
    path.write_text("egress: {enabled: true}\nrun: {format: table, fields: [type], ring_size: 64K}\n")
    options = make_parser(["run"]).parse_args(["run", "--config", str(path)])
    make_view = view_maker(options)
    filters = begin_reading(options)()
    filters.release()
    assert options.ring_size == 64 << 10
    assert isinstance(make_view(filters.watched), TableView)

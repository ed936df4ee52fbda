"""`netmon run` on several outputs: the summary, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from netmon.cli.main import make_parser
from netmon.cli.run import run_with
from netmon.cli.session import Signals
from netmon.errors import OutputError
from netmon.filters.compiled import CompiledFilters
from netmon.outputs import queue
from netmon.outputs.base import Output
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import Filler

MIX = MIXES["1 process, IPv4"]
EVENTS = 2000
LIMIT = 64 << 10  # bytes of a queue: a tenth of the events
DEADLINE = 30.0  # seconds


@pytest.fixture(autouse=True)
def _handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the signal handlers back; give up stuck outputs early."""
    monkeypatch.setattr(queue, "DRAIN_LIMIT", 0.3)
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in handled]
    yield
    for number, handler in zip(handled, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def file(tmp_path: Path) -> Output:
    return Output("file", os.open(tmp_path / "events", os.O_WRONLY | os.O_CREAT))


def run_on(outputs: Sequence[Output], act: Callable[[Filler], None], stop: bool = True) -> None:
    """Run the command; once it is attached, act in another thread, and then stop the command by SIGTERM."""
    fillers: list[Filler] = []

    def open_filler(filters: CompiledFilters, ring_size: int, *, aggregate: bool) -> Filler:
        fillers.append(Filler(MIX, ring_size))
        return fillers[-1]

    def wait_and_act() -> None:
        end = time.monotonic() + DEADLINE
        while not (fillers and fillers[0].attached) and time.monotonic() < end:
            time.sleep(0.002)
        act(fillers[0])
        if stop:
            os.kill(os.getpid(), signal.SIGTERM)

    signals = Signals()
    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        run_with(outputs, make_parser(["run"]).parse_args(["run", "--any-kernel"]), signals, open_filler)
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
    """With several outputs, their losses are in the summary."""
    outputs = [Output(f"full {number}", os.open("/dev/full", os.O_WRONLY)) for number in range(count)]
    with pytest.raises(OutputError, match=r"^full \d: No space left on device$"):
        run_on(outputs, lambda filler: filler.send(1 + 10), stop=False)
    summary = capsys.readouterr().err.splitlines()[-1]
    if count == 1:
        assert summary == "netmon: ready"
    else:
        assert "10 not written to full 0, 10 not written to full 1" in summary

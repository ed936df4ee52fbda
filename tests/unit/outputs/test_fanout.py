"""One stream, several outputs: real pipes and files, and a real monitor whose ring buffer a socket filter fills."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from netmon.errors import OutputError
from netmon.outputs import queue
from netmon.outputs.base import Output
from netmon.outputs.fanout import Fanout
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import watching

MIX = MIXES["1 process, IPv4"]
EVENTS = 5000
LIMIT = 256 << 10  # bytes: a tenth of the lines of so many events
DEADLINE = 30.0  # seconds


@pytest.fixture(autouse=True)
def _short_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "DRAIN_LIMIT", 0.5)


@pytest.fixture
def file(tmp_path: Path) -> Output:
    """A file that takes everything: its queue holds a whole batch, whatever the machine does meanwhile."""
    return Output("file", os.open(tmp_path / "events", os.O_WRONLY | os.O_CREAT), 64 << 20)


@pytest.fixture
def in_file(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """Returns what is in that file."""
    return lambda: lines_of((tmp_path / "events").read_bytes())


class Pipe:
    """An output that is a pipe, which nobody reads unless the test does."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.read_end, write_end = os.pipe()
        self.output = Output("pipe", write_end, limit)

    def read(self) -> bytes:
        """Return what is in the pipe, up to its end."""
        with open(self.read_end, "rb") as source:
            return source.read()


def lines_of(data: bytes) -> list[dict[str, Any]]:
    """Return what the lines say; each must be a whole one."""
    assert data.endswith(b"\n") or not data
    return [json.loads(line) for line in data.splitlines()]


def cookies_of(lines: list[dict[str, Any]]) -> list[int]:
    return [line["network_event"]["cookie"] for line in lines if line["type"] == "NetworkEvent"]


def lost_in(lines: list[dict[str, Any]]) -> int:
    """Return how many events of the pipe the LostEvents among the lines report as lost."""
    return sum(line["lost_events"].get("outputs", {}).get("pipe", 0) for line in lines if line["type"] == "LostEvents")


def rss() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def pass_on(outputs: Sequence[Output], sends: Sequence[int], then: Callable[[int], None] = lambda _: None) -> Fanout:
    """Run a monitor on outputs: send events in portions, the next one once all of the previous one is handed on."""
    fanout = Fanout(outputs, report=print)
    with fanout, watching(MIX, output_losses=fanout.losses) as (monitor, filler):
        filler.send(1)  # the process's description
        for number, count in enumerate(sends):
            before = filler.events
            filler.send(count)
            for lines in monitor.json_lines(timeout=1.1):  # until LostEvents, at most one a second, have come, too
                fanout.write(lines)
            assert (filler.events - before, filler.lost) == (count, 0)
            then(number)
        monitor.stop()
        for lines in monitor.json_lines():
            fanout.write(lines)
    return fanout


def write_on(outputs: Sequence[Output], lines: list[str], report: Callable[[str], None] = print) -> None:
    """Write the same lines again and again, until an error ends it."""
    with Fanout(outputs, report) as fanout:
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            fanout.write(lines)
            time.sleep(0.01)


def test_two_outputs_read_one_stream(file: Output, in_file: Callable[[], list[dict[str, Any]]]) -> None:
    pipe = Pipe(64 << 20)
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(pipe.read()))
    thread.start()
    fanout = pass_on([pipe.output, file], [EVENTS])
    pipe.output.close()
    thread.join()
    assert fanout.losses() == {}
    assert in_file() == lines_of(received[0])
    assert cookies_of(in_file()) == sorted(cookies_of(in_file()))
    assert len(in_file()) == EVENTS


def test_a_stuck_output_loses_alone(file: Output, in_file: Callable[[], list[dict[str, Any]]]) -> None:
    """Its losses are counted exactly, reported in the other output, and cost no memory beyond its queue."""
    pipe = Pipe()
    seen: list[int] = []
    fanout = pass_on([pipe.output, file], [EVENTS, EVENTS], lambda _: seen.append(rss()))
    pipe.output.close()
    held = lines_of(pipe.read())
    cookies = cookies_of(in_file())
    assert len(cookies) == 2 * EVENTS
    assert cookies == sorted(cookies)
    assert 0 < len(cookies_of(held)) < 1000
    assert cookies_of(held) == cookies[: len(cookies_of(held))]
    assert fanout.losses() == {"pipe": 2 * EVENTS - len(cookies_of(held))}
    # What is still in its queue at the end is not lost by the time of the last report.
    assert fanout.losses()["pipe"] - LIMIT // 400 < lost_in(in_file()) < fanout.losses()["pipe"]
    assert seen[1] - seen[0] < 4 << 20


def test_an_output_that_was_stuck_goes_on_and_learns_what_it_missed(
    file: Output, in_file: Callable[[], list[dict[str, Any]]]
) -> None:
    pipe = Pipe()
    received = bytearray()

    def read() -> None:
        while data := os.read(pipe.read_end, 1 << 16):
            received.extend(data)

    thread = threading.Thread(target=read)
    fanout = pass_on([pipe.output, file], [EVENTS, 100], lambda number: None if number else thread.start())
    pipe.output.close()
    thread.join()
    os.close(pipe.read_end)
    lines = lines_of(bytes(received))
    lost = fanout.losses()["pipe"]
    assert len(cookies_of(in_file())) == EVENTS + 100
    assert len(cookies_of(lines)) + lost == EVENTS + 100
    assert cookies_of(lines)[-100:] == cookies_of(in_file())[-100:]
    assert lost_in(lines) == lost_in(in_file()) == lost


@pytest.mark.parametrize("name", ["reader gone", "full"])
def test_a_broken_output_is_reported_and_closed_while_the_other_goes_on(
    file: Output,
    in_file: Callable[[], list[dict[str, Any]]],
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipe = Pipe()
    os.close(pipe.read_end)
    full = Output("full", os.open("/dev/full", os.O_WRONLY))
    broken = pipe.output if name == "reader gone" else full
    fanout = pass_on([broken, file], [100, 100])
    assert len(cookies_of(in_file())) == 200
    assert fanout.losses() == {broken.name: 200}
    reason = "pipe: Broken pipe" if name == "reader gone" else "full: No space left on device"
    assert capsys.readouterr().out == f"{reason}; closed\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(broken._fd)


def test_a_broken_output_that_cannot_be_closed_either_leaves_the_other_alone(tmp_path: Path) -> None:
    """As on a network file system over its quota, where close() reports the error again."""

    class Failing(Output):
        def close(self) -> None:
            super().close()
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    broken = Failing("full", os.open("/dev/full", os.O_WRONLY))
    file = Output("file", os.open(tmp_path / "events", os.O_WRONLY | os.O_CREAT))
    messages: list[str] = []
    with Fanout([broken, file], messages.append) as fanout:
        fanout.write(["1\n"])
        end = time.monotonic() + DEADLINE
        while not messages and time.monotonic() < end:
            time.sleep(0.01)
            fanout.write(["2\n"])
        fanout.write(["3\n"])
    assert messages == ["full: No space left on device; closed"]
    assert (tmp_path / "events").read_text().endswith("3\n")
    file.close()


def test_the_last_output_that_breaks_ends_the_run() -> None:
    first, second = Pipe(), Output("full", os.open("/dev/full", os.O_WRONLY))
    os.close(first.read_end)
    messages: list[str] = []
    with pytest.raises(OutputError):
        write_on([first.output, second], ["{}\n"], messages.append)
    assert len(messages) == 1


def test_one_output_that_breaks_ends_the_run() -> None:
    with pytest.raises(OutputError, match="full: No space left on device") as caught:
        pass_on([Output("full", os.open("/dev/full", os.O_WRONLY))], [100])
    assert not caught.value.reader_gone


@pytest.mark.parametrize("others", [0, 1])
def test_a_reader_that_goes_away_is_noticed_while_nothing_happens(others: int) -> None:
    pipes = [Pipe() for _ in range(1 + others)]
    closed: list[float] = []

    def close() -> None:
        closed.append(time.monotonic())
        for pipe in pipes:
            os.close(pipe.read_end)

    timer = threading.Timer(0.2, close)
    timer.start()
    with pytest.raises(OutputError) as caught:
        write_on([pipe.output for pipe in pipes], [])  # as a session does each second
    assert caught.value.reader_gone
    assert time.monotonic() - closed[0] < 1 + others  # the queue's thread looks, then the fanout


def test_one_output_makes_the_reader_wait() -> None:
    """No queue, no thread: what comes meanwhile stays in the ring buffer, and counts there."""
    pipe = Pipe()
    threads = threading.active_count()
    written: list[int] = []

    def write() -> None:
        with Fanout([pipe.output], report=print) as fanout:
            assert threading.active_count() == threads + 1  # this one
            for number in range(200):
                fanout.write([f"{number:0999}\n"])
                written.append(number)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive() and len(written) < 100
    data = bytearray()
    while len(data) < 200_000:
        data += os.read(pipe.read_end, 1 << 16)
    thread.join()
    assert [int(line) for line in data.splitlines()] == list(range(200))


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before

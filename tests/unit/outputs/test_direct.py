"""The only output of a run, over real pipes and files: what it waits for, what it loses, what it counts."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest

from netmon.outputs import direct as module
from netmon.outputs.base import Output
from netmon.outputs.direct import DirectOutput

EVENT = b'{"type":"NetworkEvent","args":"%s"}\n' % (b"x" * 960)
REPORT = b'{"type":"LostEvents","lost_events":{"count":1}}\n'
BATCH = EVENT * 100  # more than a pipe takes


@pytest.fixture(autouse=True)
def _short_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAIN_LIMIT", 0.3)


class Pipe:
    """A pipe that nobody reads, as the only output of a run that may be told to end."""

    def __init__(self) -> None:
        self.read_end, write_end = os.pipe()
        self.ending = False
        self.direct = DirectOutput(Output("pipe", write_end), lambda: self.ending)

    def put_in_a_thread(self) -> threading.Thread:
        thread = threading.Thread(target=self.direct.put, args=[BATCH])
        thread.start()
        return thread

    def read(self) -> bytes:
        """Close the output; return what is in the pipe."""
        self.direct.output.close()
        with open(self.read_end, "rb") as source:
            return source.read()


def test_it_waits_for_a_stuck_output_until_the_run_is_to_end() -> None:
    pipe = Pipe()
    thread = pipe.put_in_a_thread()
    thread.join(1.0)
    assert thread.is_alive()
    pipe.ending = True
    begin = time.monotonic()
    thread.join()
    assert 0.2 < time.monotonic() - begin < 5
    pipe.direct.put(REPORT + EVENT)  # at once, to count it
    received = pipe.read()
    assert BATCH.startswith(received)
    assert received.count(b"\n") + pipe.direct.lost == 101  # a LostEvents is no event
    assert pipe.direct.error is None


def test_the_end_waits_for_a_reader_that_is_slow_but_not_stuck() -> None:
    pipe = Pipe()
    pipe.ending = True
    thread = pipe.put_in_a_thread()
    received = bytearray()
    while len(received) < len(BATCH):
        received += os.read(pipe.read_end, 8192)
        time.sleep(0.05)  # all of it takes longer than DRAIN_LIMIT
    thread.join()
    assert (bytes(received), pipe.direct.lost) == (BATCH, 0)
    assert pipe.read() == b""


def test_a_full_disk_leaves_whole_lines_and_counts_the_others(tmp_path: Path) -> None:
    """A limit of the file's size stands in for the disk's."""
    path = tmp_path / "events"
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = 3 * len(EVENT) + 100
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        direct = DirectOutput(Output("file", os.open(path, os.O_WRONLY | os.O_CREAT)), lambda: False)
        for lines in (EVENT * 2, EVENT * 2 + REPORT, EVENT):
            direct.put(lines)
        os.write(write_end, f"{direct.lost} lost, {direct.error}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write_end)
    with open(read_end) as source:
        assert source.read() == "2 lost, file: File too large"
    assert path.read_bytes() == EVENT * 3


def test_a_reader_that_goes_away_breaks_it() -> None:
    pipe = Pipe()
    pipe.direct.check_reader()
    assert pipe.direct.error is None
    os.close(pipe.read_end)
    pipe.direct.check_reader()
    assert pipe.direct.error is not None and pipe.direct.error.reader_gone
    pipe.direct.put(BATCH)
    assert pipe.direct.lost == 100
    pipe.direct.output.close()

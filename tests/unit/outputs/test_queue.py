"""One output's queue, over real pipes and threads: what it takes, what it loses, what it counts."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from netmon.errors import OutputError
from netmon.outputs import queue as module
from netmon.outputs.base import Output
from netmon.outputs.queue import OutputQueue, add_reports
from tests.support.waiting import wait_until

LIMIT = 256 << 10  # bytes
DEADLINE = 30.0  # seconds


def event(number: int) -> bytes:
    return b'{"type":"NetworkEvent","number":%d,"args":"%s"}\n' % (number, b"x" * 450)


def report(count: int, **outputs: int) -> bytes:
    """Return a LostEvents, as the monitor writes it."""
    lost: dict[str, Any] = {"count": count, "ring_full": count, "missed": 0}
    if outputs:
        lost["outputs"] = outputs
    data = {"type": "LostEvents", "lost_events": lost, "timestamp": f"2026-11-25T12:00:{count:02d}.000Z"}
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def batches(count: int, size: int = 100) -> Iterator[bytes]:
    for start in range(0, count, size):
        yield b"".join(event(number) for number in range(start, min(count, start + size)))


class Pipe:
    """A queue whose output is a pipe, and the pipe's other end."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.output = Output("pipe", self.write_end, LIMIT)
        self.queue = OutputQueue(self.output)
        self.queue.start()
        self.received: list[bytes] = []
        self._thread: threading.Thread | None = None

    def fill(self) -> int:
        """Fill the pipe, then the queue to the last byte; return how many events that takes or loses."""
        count = 0
        for data in batches(2000):
            self.queue.put(data)
            count += data.count(b"\n")
        room = select.poll()
        room.register(self.write_end, select.POLLOUT)
        wait_until(lambda: not room.poll(0))
        while (left := LIMIT - self.queue._size) > 1:
            self.queue.put(b"z" * (left - 1) + b"\n")
            count += 1
        return count

    def read(self) -> None:
        """Read from now on, to the end."""

        def receive() -> None:
            with open(self.read_end, "rb") as source:
                self.received.extend(source)

        self._thread = threading.Thread(target=receive)
        self._thread.start()

    def finish(self) -> list[dict[str, Any]]:
        """Finish and close the output; return what came out of the pipe."""
        self.queue.finish()
        self.queue.join()
        self.output.close()
        if self._thread is None:
            self.read()
        assert self._thread is not None
        self._thread.join()
        return [json.loads(line) for line in self.received]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    monkeypatch.setattr(module, "DRAIN_LIMIT", 0.3)
    made = Pipe()
    yield made
    made.queue.finish()
    made.queue.join()


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    return [line["number"] for line in lines if line["type"] == "NetworkEvent"]


def test_all_comes_out_in_order(pipe: Pipe) -> None:
    pipe.read()
    for data in batches(5000):
        pipe.queue.put(data)
        wait_until(lambda: pipe.queue._size < LIMIT // 2)
    assert numbers(pipe.finish()) == list(range(5000))
    assert pipe.queue.lost == 0


def test_a_stuck_pipe_keeps_a_bounded_part_and_the_rest_is_counted(pipe: Pipe) -> None:
    for data in batches(5000):
        pipe.queue.put(data)
        assert pipe.queue._size <= LIMIT
    assert pipe.queue.lost > 0
    received = pipe.finish()  # after the limit of the drain: what the pipe itself holds
    assert numbers(received) == list(range(len(received)))
    assert len(received) + pipe.queue.lost == 5000
    assert pipe.queue.error is None


def test_what_fits_of_a_batch_is_taken(pipe: Pipe) -> None:
    data = b"".join(event(number) for number in range(2000))
    assert len(data) > LIMIT
    pipe.queue.put(data)
    assert LIMIT - 1000 < pipe.queue._size <= LIMIT
    pipe.read()
    received = pipe.finish()
    assert numbers(received) == list(range(len(received)))
    assert len(received) + pipe.queue.lost == 2000


def test_a_reader_that_was_slow_learns_what_it_has_missed(pipe: Pipe) -> None:
    """The reports that found no room are added up, and come as soon as there is room, once."""
    count = pipe.fill()
    lost = pipe.queue.lost
    assert lost > 0
    pipe.queue.put(report(3, pipe=lost - 10))
    pipe.queue.put(event(2000) + report(4, pipe=10, file=1))
    pipe.read()
    wait_until(lambda: pipe.queue._size == 0)
    pipe.queue.put(event(2001))
    pipe.queue.finish()
    pipe.queue.join()
    pipe.output.close()
    assert pipe._thread is not None
    pipe._thread.join()
    *events, added, new = pipe.received
    assert len(events) + lost == count
    assert json.loads(added) == {
        "type": "LostEvents",
        "lost_events": {"count": 7, "ring_full": 7, "missed": 0, "outputs": {"pipe": lost, "file": 1}},
        "timestamp": "2026-11-25T12:00:04.000Z",
    }
    assert json.loads(new)["number"] == 2001
    assert pipe.queue.lost == lost + 1  # reports are not events


def test_reports_are_not_counted_as_events(pipe: Pipe) -> None:
    pipe.fill()
    lost = pipe.queue.lost
    for count in range(50):
        pipe.queue.put(report(count))
    assert pipe.queue.lost == lost


def test_the_end_waits_for_a_reader_that_is_slow_but_not_stuck(pipe: Pipe) -> None:
    for data in batches(400):
        pipe.queue.put(data)
    received = bytearray()

    def read() -> None:
        while data := os.read(pipe.read_end, 8192):
            received.extend(data)
            time.sleep(0.02)  # all of it takes longer than DRAIN_LIMIT

    thread = threading.Thread(target=read)
    thread.start()
    pipe.queue.finish()
    pipe.queue.join()
    pipe.output.close()
    thread.join()
    os.close(pipe.read_end)
    assert received.count(b"\n") == 400
    assert pipe.queue.lost == 0


@pytest.mark.parametrize("idle", [True, False])
def test_a_reader_that_goes_away_breaks_the_output(pipe: Pipe, idle: bool) -> None:
    os.close(pipe.read_end)
    if not idle:
        pipe.queue.put(event(0))
    begin = time.monotonic()
    wait_until(lambda: pipe.queue.error)
    assert time.monotonic() - begin < 2
    assert pipe.queue.error is not None and pipe.queue.error.reader_gone
    for data in batches(1000):
        pipe.queue.put(data)
    pipe.queue.finish()
    pipe.queue.join()
    assert pipe.queue.lost == 1000 + (not idle)
    pipe.output.close()


def test_a_write_error_counts_what_was_not_written_whole() -> None:
    """The file may have a whole line and a part of the second one, which does not stay in the file."""
    script_limit = len(event(0)) + 100
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        import resource
        import tempfile

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (script_limit, script_limit))
        with tempfile.TemporaryFile() as file:
            queue = OutputQueue(Output("file", os.dup(file.fileno())))
            queue.start()
            queue.put(event(0) + event(1))
            wait_until(lambda: queue.error and queue.lost)
            queue.put(event(2))
            os.write(write_end, f"{queue.lost}, {os.fstat(file.fileno()).st_size}, {queue.error}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read_end, 1000).decode() == f"2, {len(event(0))}, file: File too large"
    os.close(read_end)
    os.close(write_end)


def test_a_write_that_does_not_return_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an unreachable file server. When it returns after all, nothing is written a second time."""
    monkeypatch.setattr(module, "DRAIN_LIMIT", 0.2)
    returns = threading.Event()

    class Hanging(Output):
        def write_some(self, data: bytes, start: int, seconds: float) -> int:
            written = super().write_some(data, start, seconds)
            returns.wait(DEADLINE)
            return written

    read_end, write_end = os.pipe()
    queue = OutputQueue(Hanging("hanging", write_end))
    queue.start()
    for data in batches(100, size=20):
        queue.put(data)
    queue.finish()
    queue.join()
    assert queue.lost == 100  # as far as anyone knows
    returns.set()
    queue._thread.join()
    queue.output.close()
    with open(read_end, "rb") as source:
        assert numbers([json.loads(line) for line in source]) == list(range(8))  # of PIPE_BUF bytes
    assert queue.lost == 100


def test_reports_are_added_key_by_key() -> None:
    added = json.loads(add_reports([report(1), report(2, a=5), report(3, a=1, b=2)]))
    assert added["lost_events"] == {"count": 6, "ring_full": 6, "missed": 0, "outputs": {"a": 6, "b": 2}}
    assert add_reports([report(1)]) == report(1)


def test_the_thread_takes_no_signals(pipe: Pipe) -> None:
    """The kernel would not interrupt the main thread, which has to handle them."""
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "pipe")
    status = open(f"/proc/self/task/{thread.native_id}/status").read()
    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        assert blocked & 1 << (number - 1)
        assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_an_error_names_the_output() -> None:
    assert str(OutputError("pipe", OSError(5, "Input/output error"))) == "pipe: Input/output error"


def test_what_is_rendered_is_counted_by_its_events(pipe: Pipe) -> None:
    """Lines of another schema are longer: what was written of them says how many events were."""
    pipe.output.render = lambda lines: [f"{line.strip()}{'y' * 1000}\n" for line in lines]
    for data in batches(5000):
        pipe.queue.put(data)
    pipe.queue.finish()
    pipe.queue.join()
    pipe.output.close()
    with open(pipe.read_end, "rb") as source:
        received = source.read()
    lines = received[: received.rfind(b"\n") + 1].splitlines()
    assert all(line.endswith(b"y" * 1000) for line in lines)
    assert len(lines) + pipe.queue.lost == 5000

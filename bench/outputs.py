"""Measures what each format and each output costs: CPU time of netmon's process for an event, at native speed.

    python3 -m bench.outputs            writes bench/results/outputs.md

Lines of JSON that are made already are written to an output, in batches as a busy host has them: what makes them costs
the same for all of them (bench/native.py). Readers are other processes; of `netmon forward`, sending is left out.
"""

from __future__ import annotations

import os
import resource
import socket
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from netmon.forward.otlp import Encoder
from netmon.outputs.base import Output
from netmon.outputs.datagram import DatagramOutput
from netmon.outputs.fanout import Fanout
from netmon.outputs.file import FileOutput
from netmon.outputs.journal import to_entry
from netmon.outputs.server import SocketServer
from netmon.outputs.syslog import SyslogEncoder
from netmon.outputs.unix_socket import listen
from netmon.schemas.directions import Directions
from netmon.schemas.renderer import Renderer
from tests.support.volumes import HOST, events
from tests.support.waiting import wait_until

RESULTS = Path(__file__).parent / "results/outputs.md"
BATCH = 200  # lines
BATCHES = 50
ROUNDS = 5
PAUSE_AT = 4 << 20  # bytes in a file's queue: below it nothing is lost
BIG_QUEUE = 1 << 30  # bytes: no measurement is to lose events


def cpu() -> float:
    """Return the seconds of CPU that this process has used, in user mode and in the kernel."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def child(work: Callable[[], object]) -> Iterator[None]:
    """Run something in another process."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def drain(fd: int) -> None:
    """Read to the end."""
    while os.read(fd, 1 << 18):
        pass


def through(fanout: Fanout, batches: list[list[str]]) -> float:
    """Return the seconds of CPU of writing batches to outputs, until they are written."""
    before = cpu()
    with fanout:
        for lines in batches:
            fanout.write(lines)
    assert not fanout.losses(), fanout.losses()
    return cpu() - before


def to_pipe(batches: list[list[str]]) -> float:
    """Standard output, to a pipe."""
    reading, writing = os.pipe()
    with child(lambda: drain(reading)):
        os.close(reading)
        return through(Fanout([Output("pipe", writing)], report=print), batches)


def to_file(batches: list[list[str]], schema: str = "") -> float:
    """A file, in a format."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        output = FileOutput(f"{directory}/events", queue_limit=BIG_QUEUE)
        note = None
        if schema:
            directions = Directions()
            output.render, note = Renderer(schema, HOST, directions).lines, directions.note
        return through(Fanout([output], report=print, note=note), batches)


def to_socket(batches: list[list[str]], readers: int = 1) -> float:
    """A socket with readers."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/socket"
        server = SocketServer(path, listen(path, 0o600, None), print, reader_limit=BIG_QUEUE)

        def read() -> None:
            for _ in range(readers - 1):
                if not os.fork():
                    break
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(path)
            drain(connection.fileno())

        with child(read):
            before = cpu()
            with Fanout([server], report=print) as fanout:
                wait_until(lambda: server.readers == readers)
                for lines in batches:
                    fanout.write(lines)
            return cpu() - before


def to_log(batches: list[list[str]], encode: Callable[[bytes], bytes]) -> float:
    """journald or a syslog."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/log"
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(path)
        with child(lambda: drain(receiver.fileno())):
            output = DatagramOutput("log", path, encode, queue_limit=BIG_QUEUE)
            return through(Fanout([output], report=print), batches)


def encoded(batches: list[list[str]], *, compress: bool) -> float:
    """What `netmon forward` does with an event, but for sending it."""
    encoder = Encoder(HOST, {}, compress=compress)
    pieces = ["".join(lines).encode() for lines in batches]
    before = cpu()
    for at in range(0, len(pieces), 8):  # some 1 MiB, as it sends
        encoder.encode(b"".join(pieces[at : at + 8]))
    return cpu() - before


MEASURED: dict[str, Callable[[list[list[str]]], float]] = {
    "standard output, a pipe: `json`": to_pipe,
    "file: `json`": to_file,
    "file: `ecs`": lambda batches: to_file(batches, "ecs"),
    "file: `ocsf`": lambda batches: to_file(batches, "ocsf"),
    "file: `otel`": lambda batches: to_file(batches, "otel"),
    "socket, a reader: `json`": to_socket,
    "socket, 16 readers: `json`": lambda batches: to_socket(batches, 16),
    "`journald`": lambda batches: to_log(batches, to_entry),
    "`syslog`": lambda batches: to_log(batches, SyslogEncoder().encode),
    "`netmon forward`, its process, without sending": lambda batches: encoded(batches, compress=False),
    "the same with gzip": lambda batches: encoded(batches, compress=True),
}


def main() -> None:
    """Measure, and write the table."""
    lines = events()
    batches = [
        [lines[(at + number) % len(lines)] for number in range(BATCH)] for at in range(0, BATCH * BATCHES, BATCH)
    ]
    rows = [
        "What an output costs: microseconds of CPU of netmon's process for an event, in user mode and in the kernel; "
        f"the median and the least of {ROUNDS} rounds of {BATCH * BATCHES:,} events (`python3 -m bench.outputs`).",
        "",
        "| output | median | least |",
        "|---|---:|---:|",
    ]
    for name, measure in MEASURED.items():
        found = [measure(batches) / (BATCH * BATCHES) * 1e6 for _ in range(ROUNDS)]
        rows.append(f"| {name} | {statistics.median(found):.2f} | {min(found):.2f} |")
        print(rows[-1], flush=True)
    RESULTS.write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()

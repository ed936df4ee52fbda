"""The loads: programs that make connections. Each runs under a name of its own, by which its events are recognized."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.plan import Plan

PROGRAMS = Path("/opt/netmon/bin")
LIMIT = 3600  # seconds


@dataclass(frozen=True)
class Load:
    """A load, and its title in reports."""

    name: str
    title: str
    program: str
    pairs: int = 1

    def connections(self, plan: Plan) -> int:
        """Return how many connections the load makes in a plan."""
        return plan.processes if self.program == "process_load" else plan.connections

    def run(self, connections: int, name: str = "") -> float:
        """Make connections; return the rate, in connections a second."""
        command = [str(program_named(name or self.name, self.program)), "-n", str(connections // self.pairs)]
        if self.pairs > 1:
            command += ["-p", str(self.pairs)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT)
        made, seconds = done.stdout.split()
        return int(made) / float(seconds)


# Names have at most the 11 characters that the tools show.
LOADS = {
    load.name: load
    for load in (
        Load("pairs1", "one pair of threads", "connect_load"),
        Load("pairs2", "two pairs of threads", "connect_load", pairs=2),
        Load("short", "short processes", "process_load"),
    )
}
IDLE = "idle"


def program_named(name: str, program: str) -> Path:
    """Return a link to a program under another name."""
    path = PROGRAMS / name
    if not path.exists():
        os.link(PROGRAMS / program, path)
    return path


@contextmanager
def open_connections(count: int) -> Iterator[None]:
    """Keep connections open inside the context."""
    with subprocess.Popen(
        [program_named(IDLE, "connect_load"), "-n", str(count), "-o"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline() != b"open\n":
            raise RuntimeError(f"{count} connections could not be opened")
        yield
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.read()

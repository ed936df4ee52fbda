"""Starts a monitor in the guest, waits for it, measures it, and stops it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO

from bench import proc
from bench.monitors import Monitor

# Seconds: generous, since they only end failures. bcc takes a minute to start, a million CIDRs several.
START_DEADLINE = 900.0
SETTLE_DEADLINE = 60.0
# Seconds without use of the processor after which a monitor has read everything.
QUIET = 0.3
READY = b"netmon: ready"


class MonitorError(Exception):
    """A monitor failed."""


def wait_until(condition: Callable[[], object], what: str, deadline: float, pause: float = 0.01) -> None:
    """Wait for a condition; raise MonitorError after deadline seconds."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise MonitorError(f"not within {deadline:g} s: {what}")
        time.sleep(pause)


class Running:
    """A running monitor; leaving the context stops it."""

    def __init__(self, monitor: Monitor, *arguments: str, stdout: int | IO[bytes] | None = None) -> None:
        """Start the monitor. stdout: where its events go, in place of a file in memory."""
        self.monitor = monitor
        self._others = proc.program_ids()
        self._output = tempfile.TemporaryFile()
        self._errors = tempfile.TemporaryFile()
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*monitor.command, *arguments],
            stdout=self._output if stdout is None else stdout,
            stderr=self._errors,
            start_new_session=True,
        )

    @property
    def errors(self) -> bytes:
        return os.pread(self._errors.fileno(), 1 << 16, 0)

    @property
    def is_ready(self) -> bool:
        """Whether netmon has written that it is ready."""
        return READY in self.errors

    def check(self) -> None:
        """Raise MonitorError when it has ended."""
        if self.process.poll() is not None:
            raise MonitorError(f"{self.monitor.name} ended with {self.process.returncode}: {self.errors.decode()}")

    def wait_until_ready(self) -> float:
        """Wait until netmon writes that it is ready; return the seconds since the start."""

        def ready() -> bool:
            self.check()
            return self.is_ready

        wait_until(ready, "netmon: ready", START_DEADLINE)
        return time.monotonic() - self.started

    @property
    def output(self) -> str:
        """The whole lines that it has written."""
        data = os.pread(self._output.fileno(), os.fstat(self._output.fileno()).st_size, 0)
        return data[: data.rfind(b"\n") + 1].decode(errors="replace")

    def count(self, program: str) -> int:
        """Return how many events of a program it has written."""
        mark = self.monitor.mark.format(program).encode()
        found, rest, offset = 0, b"", 0
        while data := os.pread(self._output.fileno(), 1 << 22, offset):
            offset += len(data)
            text = rest + data
            found += text.count(mark)
            rest = text[-len(mark) + 1 :]
        return found

    @property
    def cpu_seconds(self) -> float:
        return proc.cpu_seconds(self.process.pid)

    @property
    def cpu_nanoseconds(self) -> int:
        return proc.cpu_nanoseconds(self.process.pid)

    @property
    def memory(self) -> proc.Memory:
        return proc.memory(self.process.pid)

    @property
    def runs(self) -> dict[str, proc.Runs]:
        """The runs of the BPF programs that were loaded since the start, by program."""
        return proc.runs_of(proc.program_ids() - self._others)

    def settle(self) -> None:
        """Wait until it has nothing left to read."""
        used, since = self.cpu_seconds, time.monotonic()

        def quiet() -> bool:
            nonlocal used, since
            self.check()
            if (now := self.cpu_seconds) != used:
                used, since = now, time.monotonic()
            return time.monotonic() - since >= QUIET

        wait_until(quiet, f"{self.monitor.name} at rest", SETTLE_DEADLINE, pause=0.05)

    def stop(self) -> None:
        """Interrupt the monitor, as users do, and wait for its end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(SETTLE_DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def lost(self) -> int:
        """How many events the monitor counts as lost."""
        pattern = rb"(\d+) lost" if self.monitor.is_netmon else rb"(?i)lost (\d+)"
        return sum(map(int, re.findall(pattern, self.errors)))

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

"""Runs `netmon run` in a process of its own, and reads its events."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from tests.support import fork_server
from tests.support.json_events import Event
from tests.support.sockets import refused_connection

DEADLINE = 60.0  # seconds: generous, since it only ends failures
PROGRAMS = Path("/opt/netmon/bin")


def wait_until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """Return the condition's first true value; fail after deadline seconds."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {deadline:g} s: {what}")


class Ended(NamedTuple):
    """The exit code of a netmon, and all that it wrote."""

    returncode: int
    stdout: bytes
    stderr: str

    @property
    def events(self) -> list[Event]:
        return [json.loads(line) for line in self.stdout.splitlines()]


class Netmon:
    """`netmon run` in a process of its own."""

    def __init__(
        self, *arguments: str, config: str | None = None, tmp_path: Path | None = None, anew: bool = False
    ) -> None:
        """Start netmon, and wait until it is ready.

        Args:
            arguments: Flags of `netmon run`.
            config: The text of a configuration, which is written to a file in tmp_path.
            tmp_path: The directory for it.
            anew: Start Python for it, as users do, and not by a fork: slower, for tests of starts and of memory.
        """
        if config is not None and tmp_path is not None:
            path = tmp_path / "netmon.yaml"
            path.write_text(config)
            arguments = ("--config", str(path), *arguments)
        # Files, not pipes: a reader in this process would compete with netmon for the CPUs.
        self._stdout = tempfile.TemporaryFile()
        self._stderr = tempfile.TemporaryFile()
        self._events_of_mark = 1 if "--outcome" in arguments else 2
        self._events: list[Event] = []
        self._offset = 0
        started = time.monotonic()
        arguments = ("run", "--any-kernel", *arguments)
        self.process: subprocess.Popen[bytes] | fork_server.ForkedProcess
        if anew:
            command = [sys.executable, "-m", "netmon", *arguments]
            self.process = subprocess.Popen(command, stdout=self._stdout, stderr=self._stderr)
        else:
            self.process = fork_server.start(arguments, self._stdout, self._stderr)
        wait_until(lambda: self._is_ready() or self.process.poll() is not None, "netmon: ready")
        self.seconds_to_ready = time.monotonic() - started
        assert self._is_ready(), self.stderr

    def _is_ready(self) -> bool:
        return self.stderr.startswith("netmon: ready")

    @property
    def stderr(self) -> str:
        return os.pread(self._stderr.fileno(), 1 << 20, 0).decode()

    @property
    def events(self) -> list[Event]:
        """The events so far."""
        data = b"".join(iter(self._read_on, b""))
        whole = data[: data.rfind(b"\n") + 1]
        self._offset -= len(data) - len(whole)
        self._events += map(json.loads, whole.splitlines())
        return list(self._events)

    def _read_on(self) -> bytes:
        data = os.pread(self._stdout.fileno(), 1 << 20, self._offset)
        self._offset += len(data)
        return data

    @contextmanager
    def watch(self) -> Iterator[list[Event]]:
        """Yield a list, and fill it on leaving with every event since entering."""
        seen: list[Event] = []
        _, start = self._mark()
        yield seen
        cookie, _ = self._mark()
        seen += [event for event in self.events[start:] if event["network_event"]["cookie"] != cookie]

    def _mark(self) -> tuple[int, int]:
        """Make a connection that is refused and wait for its events; return its cookie, and the next event's index."""
        start = len(self.events)
        cookie = refused_connection()

        def end() -> int | None:
            events = self.events[start:]
            indices = [i for i, event in enumerate(events, start) if event["network_event"]["cookie"] == cookie]
            return indices[-1] + 1 if len(indices) == self._events_of_mark else None

        return cookie, wait_until(end, "the marking connection's events")

    def stop(self, number: int = signal.SIGTERM) -> Ended:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(DEADLINE)
        self._stdout.seek(0)
        return Ended(code, self._stdout.read(), self.stderr)

    def __enter__(self) -> Netmon:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.stop()


def counts_of(stderr: str) -> tuple[int, int, int]:
    """Return the counts of a summary: events, lost events, and the upper bound of missed ones."""
    summary = re.search(r"(\d+) events, (\d+) lost", stderr)
    assert summary, stderr
    missed = re.search(r"at most (\d+) missed", stderr)
    return int(summary[1]), int(summary[2]), int(missed[1]) if missed else 0

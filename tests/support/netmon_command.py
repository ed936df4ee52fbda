"""Runs `netmon run` in a process of its own, and reads its events."""

from __future__ import annotations

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
from tests.support.file_changes import FileChanges
from tests.support.json_events import Event, of_cookie, parse
from tests.support.sockets import refused_connection
from tests.support.waiting import DEADLINE, wait_until

PROGRAMS = Path("/opt/netmon/bin")
LOOK = 0.25  # seconds between two looks at what is no output of netmon


class Ended(NamedTuple):
    """The exit code of a netmon, and all that it wrote."""

    returncode: int
    stdout: bytes
    stderr: str

    @property
    def events(self) -> list[Event]:
        return parse(self.stdout)[0]

    @property
    def losses(self) -> list[dict[str, Any]]:
        """What each LostEvents says."""
        return parse(self.stdout)[1]


class Netmon:
    """`netmon run` in a process of its own."""

    def __init__(
        self,
        *arguments: str,
        config: str | None = None,
        tmp_path: Path | None = None,
        anew: bool = False,
        command: str = "run",
    ) -> None:
        """Start netmon, and wait until it is ready.

        Args:
            arguments: Flags of the command.
            config: The text of a configuration, which is written to a file in tmp_path.
            tmp_path: The directory for it.
            anew: Start Python for it, as users do, and not by a fork: slower, for tests of starts and of memory.
            command: Another one than `netmon run`.
        """
        if config is not None and tmp_path is not None:
            self._config = tmp_path / "netmon.yaml"
            self._config.write_text(config)
            arguments = ("--config", str(self._config), *arguments)
        # Files, not pipes: a reader in this process would compete with netmon for the CPUs.
        self._stdout = tempfile.TemporaryFile()
        self._stderr = tempfile.TemporaryFile()
        self._events_of_mark = 1 if "--outcome" in arguments else 2
        self._changes = FileChanges(self._stdout.fileno(), self._stderr.fileno())
        self._events: list[Event] = []
        self._losses: list[dict[str, Any]] = []
        self._offset = 0
        started = time.monotonic()
        arguments = (command, "--any-kernel", *arguments)
        self.process: subprocess.Popen[bytes] | fork_server.ForkedProcess
        if anew:
            started_anew = [sys.executable, "-m", "netmon", *arguments]
            self.process = subprocess.Popen(started_anew, stdout=self._stdout, stderr=self._stderr)
        else:
            self.process = fork_server.start(arguments, self._stdout, self._stderr)
        self.wait_until(lambda: self._is_ready() or self.process.poll() is not None, "netmon: ready")
        self.seconds_to_ready = time.monotonic() - started
        assert self._is_ready(), self.stderr

    def _is_ready(self) -> bool:
        return self.stderr.startswith("netmon: ready")

    @property
    def stderr(self) -> str:
        return os.pread(self._stderr.fileno(), 1 << 20, 0).decode()

    @property
    def events(self) -> list[Event]:
        """The events about connections so far; within watch(), those since it was entered."""
        self._read_lines()
        return self._events

    @property
    def losses(self) -> list[dict[str, Any]]:
        """What each LostEvents so far says."""
        self._read_lines()
        return self._losses

    def _read_lines(self) -> None:
        if data := b"".join(iter(self._read_on, b"")):
            whole = data[: data.rfind(b"\n") + 1]
            self._offset -= len(data) - len(whole)
            events, losses = parse(whole)
            self._events += events
            self._losses += losses

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        """Return the condition's first true value: it is asked whenever netmon has written something."""
        return wait_until(condition, what, pause=lambda _: self._changes.wait(LOOK))

    def wait_for_process(self, pid: int) -> None:
        """Wait for an event of a process."""
        self.wait_until(lambda: pid in (event["process"]["pid"] for event in self.events), f"an event of {pid}")

    def _read_on(self) -> bytes:
        data = os.pread(self._stdout.fileno(), 1 << 20, self._offset)
        self._offset += len(data)
        return data

    def reload(self, config: str, says: str = "reloaded") -> None:
        """Write another configuration, send SIGHUP, and wait for a new message that contains a text."""
        self._config.write_text(config)
        before = len(self.stderr)
        self.process.send_signal(signal.SIGHUP)
        self.wait_until(lambda: says in self.stderr[before:], f"a message with {says!r}")

    @contextmanager
    def watch(self) -> Iterator[list[Event]]:
        """Yield a list, and fill it on leaving with every event since entering.

        Events from before, which may be those of other tests, are dropped.
        """
        seen: list[Event] = []
        self._mark()
        self._events.clear()
        yield seen
        cookie = self._mark()
        seen += [event for event in self.events if event["network_event"]["cookie"] != cookie]

    def _mark(self) -> int:
        """Make a connection that is refused, and wait until its events have come; return its cookie."""
        cookie = refused_connection()
        self.wait_until(
            lambda: len(of_cookie(self.events, cookie)) == self._events_of_mark, "the marking connection's events"
        )
        return cookie

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
        self._changes.close()


def counts_of(stderr: str) -> tuple[int, int, int]:
    """Return the counts of a summary: events, lost events, and the upper bound of missed ones."""
    summary = re.search(r"(\d+) events, (\d+) lost", stderr)
    assert summary, stderr
    missed = re.search(r"at most (\d+) missed", stderr)
    return int(summary[1]), int(summary[2]), int(missed[1]) if missed else 0

"""Attackers at once, each uid 1000 without rights: netmon goes on, others are reported, and all stays within bounds."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from netmon.limits import DEFAULT_LINE_LIMIT
from netmon.text import is_harmless
from tests.support.attacks import HOSTILE_ARGUMENT, HUGE_ARGUMENT, attacking
from tests.support.held_process import HeldProcess, held_process, load_fuse
from tests.support.json_events import Event
from tests.support.netmon_command import counts_of
from tests.support.procfs import status_of
from tests.support.sockets import refused_connection
from tests.support.waiting import DEADLINE, wait_until

SECONDS = 4.0  # of the attack. docs/security.md has the figures of 60
PACE = 0.04  # seconds between two connections of the victim
HELD_PACE = 1.0  # and of the process that holds up reads
RING = "1M"
MEMORY = 128 << 10  # kB

# In a cgroup each: what floods, what has itself described anew, what renames itself, what holds sockets.
ATTACKS = {
    "/attack/connect": ("connect", HUGE_ARGUMENT),
    "/attack/change": ("change", HUGE_ARGUMENT),
    "/attack/fork": ("fork", HOSTILE_ARGUMENT),
    "/attack/hold": ("hold", HOSTILE_ARGUMENT),
}


class Attacked:
    """A netmon whose lines are looked at as they come, and dropped, but for those of one process and of losses."""

    def __init__(self, *flags: str) -> None:
        self.kept: list[Event] = []
        self.lines = 0
        self.longest = 0
        self.raw: bytes | None = None  # a line that controls what shows it
        self._mine = b'"pid":%d,' % os.getpid()
        self._stderr = tempfile.TemporaryFile()
        command = [sys.executable, "-m", "netmon", "run", "--any-kernel", "--ring-size", RING, *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._stderr)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        wait_until(lambda: self.stderr.startswith("netmon: ready"), "netmon: ready")

    @property
    def stderr(self) -> str:
        return os.pread(self._stderr.fileno(), 1 << 20, 0).decode()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines += 1
            self.longest = max(self.longest, len(line))
            if not is_harmless(line[:-1].decode()):
                self.raw = line
            if self._mine in line or line.startswith(b'{"type":"LostEvents"'):
                self.kept.append(json.loads(line))

    @property
    def memory(self) -> int:
        """Its peak so far, in kB."""
        return int(status_of(self.process.pid)["VmHWM"][0])

    def stop(self) -> int:
        """End it as systemd does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE)
        self._reader.join()
        return code

    def kept_of(self, key: str) -> list[dict[str, Any]]:
        """Return what the kept events that have a key have there."""
        return [event[key] for event in self.kept if key in event]


@contextmanager
def all_attacks(directory: Path, listener: socket.socket) -> Iterator[HeldProcess]:
    with ExitStack() as cleanup:
        held = cleanup.enter_context(held_process(directory, str(listener.getsockname()[1])))
        for cgroup, attack in ATTACKS.items():
            cleanup.enter_context(attacking(*attack, cgroup=cgroup))
        yield held


def connect(held: HeldProcess, listener: socket.socket) -> set[int]:
    """Connect at an even pace, and now and then have the held process connect; return the own connections' cookies."""
    cookies: set[int] = set()
    held_connections = 0
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < SECONDS:
        if elapsed >= PACE * len(cookies):
            cookies.add(refused_connection())
        if elapsed >= HELD_PACE * held_connections:
            held_connections += 1
            held.connect()
            listener.accept()[0].close()
    return cookies


def count_reported(netmon: Attacked, cookies: set[int]) -> int:
    """Return how many openings and closes of connections that this process has opened are reported."""
    events = sum(event["cookie"] in cookies for event in netmon.kept_of("network_event"))
    flows = [flow for flow in netmon.kept_of("flow") if flow["direction"] == "egress"]
    return events + sum(int(flow["opened"]) + int(flow["closed"]) for flow in flows)


@pytest.mark.core(flags=("--parent",))
@pytest.mark.parametrize("flags", [("--parent",), ("--aggregate", "2s")], ids=["events", "aggregates"])
def test_attackers_at_once_cost_others_nothing(
    flags: tuple[str, ...], listener: socket.socket, tmp_path: Path, modules: None
) -> None:
    load_fuse()
    netmon = Attacked(*flags)
    try:
        with all_attacks(tmp_path, listener) as held:
            cookies = connect(held, listener)
            memory = netmon.memory
        code = netmon.stop()
    finally:
        netmon.process.kill()
    summary = netmon.stderr.splitlines()[-1]
    print(f"{len(cookies)} connections of the victim, peak {memory} kB, {netmon.lines} lines: {summary}")
    assert code == 0
    assert memory < MEMORY
    assert netmon.longest <= DEFAULT_LINE_LIMIT
    assert netmon.raw is None
    assert is_harmless(netmon.stderr.replace("\n", ""))
    _, lost, missed = counts_of(netmon.stderr)
    reported = count_reported(netmon, cookies)
    assert reported <= 2 * len(cookies) <= reported + missed
    losses = netmon.kept_of("lost_events")
    assert {name for loss in losses for name in loss.get("offenders", {})} <= {*ATTACKS}
    # The events of a process whose description was refused have an unknown one.
    assert sum(loss["over_budget"] + loss["unknown_process"] for loss in losses) == lost

"""Runs netmon for long: does its memory grow, does it lose events at full speed, and does it count what it loses?"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import proc
from bench.loads import LOADS
from bench.monitors import ALL_OPTIONS, CONFIG, MONITORS, Monitor
from bench.plan import PARTS, STALL, Plan
from bench.running import SETTLE_DEADLINE, Running, wait_until
from bench.samples import Samples

EVENTS = 4  # of each connection
RELOADED = b"netmon: reloaded "


def run_long(plan: Plan, samples: Samples) -> None:
    """Flood a netmon with default settings and one with everything on; run a busy host's day under the latter."""
    _write_config(0)
    flood = LOADS["pairs2"]
    for monitor in (MONITORS["netmon"], ALL_OPTIONS):
        samples.say(f"{plan.flood:,} connections at full speed: {monitor.name}")
        with _running(monitor, []) as (running, account):
            rate = flood.run(plan.flood)
            running.settle()
            memory = running.memory
        samples.send(0, monitor.name, "flood", rate=rate, **vars(memory), **account(plan.flood))
    connections, processes = plan.connections // PARTS, plan.processes // PARTS
    made = PARTS * (connections + processes)
    with _running(ALL_OPTIONS, [str(EVENTS * made // PARTS), str(STALL)]) as (running, account):
        for part in range(PARTS):
            rate = LOADS["pairs1"].run(connections)
            started = LOADS["short"].run(processes)
            _reload(running, part + 1)
            running.settle()
            figures = {**vars(running.memory), **vars(proc.kernel_memory(running.process.pid))}
            samples.say(f"part {part + 1} of {PARTS}: {rate:,.0f} connections/s, PSS {figures['pss']:.1f} MB")
            samples.send(part, ALL_OPTIONS.name, "day", rate=rate, started=started, **figures)
    samples.send(0, ALL_OPTIONS.name, "account", **account(made))


def _write_config(number: int) -> None:
    """Write a configuration that differs from the one before, in one of its thousand networks."""
    networks = ["127.0.0.0/8", *(f"10.{number}.{low}.0/24" for low in range(256)), f"192.0.2.{number}/32"]
    side = {"enabled": True, "ipv4_filter": {"src_ip": networks}}
    Path(CONFIG).write_text(json.dumps({"egress": side, "ingress": side}))


def _reload(running: Running, number: int) -> None:
    _write_config(number)
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: running.errors.count(RELOADED) == number, f"reload {number}", SETTLE_DEADLINE, pause=0.05)


class Account:
    """What has been written, once netmon has ended, and what it says that it has lost."""

    def __init__(self) -> None:
        self.read: dict[str, int] = {}
        self.said_lost = 0

    def __call__(self, connections: int) -> dict[str, float]:
        """Return the figures beside what happened. connections: how many were made."""
        return {**self.read, "happened": EVENTS * connections, "said_lost": self.said_lost}


@contextmanager
def _running(monitor: Monitor, stalls: list[str]) -> Iterator[tuple[Running, Account]]:
    """Run a monitor whose events a process reads (bench/reader.py), which stalls as its arguments say."""
    account = Account()
    command = [sys.executable, "-m", "bench.reader", *stalls]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None and reader.stdout is not None
        with Running(monitor, stdout=reader.stdin) as running:
            reader.stdin.close()
            running.wait_until_ready()
            yield running, account
        account.read = json.loads(reader.stdout.read())
        account.said_lost = running.lost

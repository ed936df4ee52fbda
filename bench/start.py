"""Measures how long a monitor takes until it reports something."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import time
import tty
from contextlib import suppress

from bench.monitors import Monitor
from bench.running import SETTLE_DEADLINE, START_DEADLINE, MonitorError, Running

# Seconds between connections during the start, which must not take the processor from the monitor.
PAUSE = 0.02


def seconds_to_ready(monitor: Monitor) -> dict[str, float]:
    """Start a monitor at a terminal, where lines are not buffered; return the seconds until it reports something.

    That is the first event of connections that are made all the while, and, of netmon, that it says so.
    """
    if monitor.silent:
        with Running(monitor) as running:
            return {"said_ready_s": running.wait_until_ready()}
    ours, terminal = os.openpty()
    tty.setraw(terminal)
    with Running(monitor, stdout=terminal) as running:
        os.close(terminal)
        found = _watch(running, ours)
        _stop(running, ours)
    os.close(ours)
    return found


def _watch(running: Running, terminal: int) -> dict[str, float]:
    found: dict[str, float] = {}
    shown = b""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Every monitor prints the port.
        port = re.compile(rb"\b%d\b" % listener.getsockname()[1])
        while not port.search(shown):
            running.check()
            if time.monotonic() - running.started > START_DEADLINE:
                raise MonitorError(f"{running.monitor.name} showed nothing within {START_DEADLINE:g} s")
            _connect_once(listener)
            if select.select([terminal], [], [], PAUSE)[0]:
                shown += os.read(terminal, 1 << 16)
            if running.is_ready:
                found.setdefault("said_ready_s", time.monotonic() - running.started)
        found["ready_s"] = time.monotonic() - running.started
    return found


def _connect_once(listener: socket.socket) -> None:
    """Make one connection within this process, and close it."""
    with socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        accepted.close()


def _stop(running: Running, terminal: int) -> None:
    """Stop a monitor while reading its output: a full terminal would block it."""
    running.process.send_signal(signal.SIGINT)
    end = time.monotonic() + SETTLE_DEADLINE
    with suppress(OSError):  # EIO: it has closed the terminal
        while time.monotonic() < end:
            if select.select([terminal], [], [], PAUSE)[0]:
                os.read(terminal, 1 << 16)

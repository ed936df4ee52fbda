"""A process of low priority that is inside of netmon's programs nearly always hides nothing of the others.

The kernel skips a program for all tasks that get to it while another task is preempted in it on their CPU.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.json_events import Event
from tests.support.netmon_command import PROGRAMS, Ended, Netmon, counts_of
from tests.support.sockets import connect_pair, listen, refused_connection
from tests.support.waiting import wait_until

CONNECTIONS = 200
EVENTS = 4 * CONNECTIONS
MPTCP_EACH = 4
MPTCP = 262
CPU = 1
PAUSE = 0.002  # seconds
MODE = Path("/sys/kernel/debug/sched/preempt")


@pytest.fixture(autouse=True, scope="module")
def _full_preemption() -> Iterator[None]:
    """Let the kernel preempt tasks everywhere, as newer ones do by default; leave it as it was."""
    if not MODE.exists():  # the kernel was built with one mode alone
        yield
        return
    text = MODE.read_text()
    before = text[text.index("(") + 1 : text.index(")")]
    with contextlib.suppress(OSError):  # newer kernels no longer know this mode on every processor
        MODE.write_text("full")
    yield
    MODE.write_text(before)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Run processes that make netmon describe them without end."""
    load = subprocess.Popen([PROGRAMS / "describe_load", str(processes), str(CPU)], stdout=subprocess.PIPE)
    try:
        assert load.stdout is not None
        assert load.stdout.readline() == b"busy\n"
        yield
    finally:
        load.kill()
        load.communicate()


def connect_on_the_same_cpu() -> set[int]:
    """Make connections, some of MPTCP, and close them; return the cookies of both sockets of each."""
    cookies: set[int] = set()
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CPU})
    try:
        with listen() as tcp, listen(protocol=MPTCP) as mptcp:
            for number in range(CONNECTIONS):
                listener = tcp if number % MPTCP_EACH else mptcp
                pair = connect_pair(listener, listener.getsockname())
                cookies |= {pair.client_cookie, pair.server_cookie}
                pair.close()
                time.sleep(PAUSE)  # lets the busy processes run, and preempts one of them wherever it is
    finally:
        os.sched_setaffinity(0, cpus)
    return cookies


def cookies_of(events: list[Event]) -> list[int]:
    """Return the cookie of each event."""
    return [event["network_event"]["cookie"] for event in events]


# What the test reads: the busy processes' arguments would take much of the guest's memory.
KEYS = ("--fields", "type,network_event.type,network_event.cookie,lost_events.missed")


def run_beside(processes: int, *flags: str) -> tuple[int, Ended]:
    """Make connections beside busy processes; return how many of their events were reported, and how netmon ended."""
    with Netmon("--ring-size", "64M", *KEYS, *flags) as netmon:
        with busy(processes):
            cookies = connect_on_the_same_cpu()
        last = {refused_connection() for _ in range(20)}  # the busy processes may not be gone yet
        wait_until(lambda: not last.isdisjoint(cookies_of(netmon.events)), "one of the last connections")
        ended = netmon.stop()
    count = sum(cookie in cookies for cookie in cookies_of(ended.events))
    print(f"{count} of {EVENTS} events; {ended.stderr.splitlines()[-1]}")
    assert counts_of(ended.stderr)[0] > 1.5 * EVENTS  # many are of the busy processes
    return count, ended


@pytest.mark.core
def test_connections_are_reported_beside_busy_processes() -> None:
    """Those that are not, a few in a thousand, are counted: as missed, or lost."""
    count, ended = run_beside(8)
    _, lost, missed = counts_of(ended.stderr)
    assert 0.98 * EVENTS < count <= EVENTS <= count + lost + missed


@pytest.mark.oldest_and_newest
@pytest.mark.parametrize("flags", [("--outcome", "--statistics"), ("--context",)], ids=["outcome", "context"])
def test_what_may_have_been_missed_with_options_is_counted(flags: tuple[str, ...]) -> None:
    """Since 7.0 a task can be preempted in programs at tracepoints, too, which outcomes take."""
    count, ended = run_beside(4, *flags)
    _, lost, missed = counts_of(ended.stderr)
    assert count <= EVENTS <= count + lost + missed

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

from tests.support.json_events import Event, types_by_cookie
from tests.support.netmon_command import PROGRAMS, Netmon, counts_of
from tests.support.sockets import connect_pair, listen
from tests.support.waiting import wait_until

pytestmark = pytest.mark.core

CONNECTIONS = 300
CPU = 1
PAUSE = 0.002  # seconds
MODE = Path("/sys/kernel/debug/sched/preempt")


@pytest.fixture(autouse=True, scope="module")
def _full_preemption() -> Iterator[None]:
    """Let the kernel preempt tasks everywhere, as newer ones do by default; leave it as it was."""
    text = MODE.read_text()
    before = text[text.index("(") + 1 : text.index(")")]
    with contextlib.suppress(OSError):  # newer kernels no longer know this mode on every processor
        MODE.write_text("full")
    yield
    MODE.write_text(before)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Run processes that make netmon describe them without end."""
    if not processes:
        yield
        return
    load = subprocess.Popen([PROGRAMS / "describe_load", str(processes), str(CPU)], stdout=subprocess.PIPE)
    try:
        assert load.stdout is not None
        assert load.stdout.readline() == b"busy\n"
        yield
    finally:
        load.kill()
        load.communicate()


def connect_on_the_same_cpu() -> set[int]:
    """Make connections and close them; return the cookies of both sockets of each."""
    cookies: set[int] = set()
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CPU})
    try:
        with listen() as listener:
            for _ in range(CONNECTIONS):
                pair = connect_pair(listener, listener.getsockname())
                cookies |= {pair.client_cookie, pair.server_cookie}
                pair.close()
                time.sleep(PAUSE)  # lets the busy processes run, and preempts one of them wherever it is
    finally:
        os.sched_setaffinity(0, cpus)
    return cookies


def of_sockets(events: list[Event], cookies: set[int]) -> dict[int, list[str]]:
    mine = [event for event in events if event.get("network_event", {}).get("cookie") in cookies]
    return types_by_cookie(mine)


@pytest.mark.parametrize("flags", [(), ("--outcome", "--statistics")], ids=["plain", "outcome"])
@pytest.mark.parametrize("processes", [0, 2, 4, 8])
def test_every_connection_is_reported_beside_busy_processes(processes: int, flags: tuple[str, ...]) -> None:
    with Netmon("--ring-size", "64M", *flags) as netmon:
        with busy(processes):
            cookies = connect_on_the_same_cpu()
        wait_until(lambda: sum(map(len, of_sockets(netmon.events, cookies).values())) >= 4 * CONNECTIONS, "all events")
        ended = netmon.stop()
    reported = of_sockets(ended.events, cookies)
    print(f"{sum(map(len, reported.values()))} of {4 * CONNECTIONS} events; {ended.stderr.splitlines()[-1]}")
    assert set(map(tuple, reported.values())) == {("Establish", "Close"), ("Accept", "Close")}
    assert counts_of(ended.stderr)[2] <= 20

"""The examples of docs/library.md, run unchanged; an event loop that waits for a monitor; a start that fails."""

from __future__ import annotations

import multiprocessing
import os
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from urllib.request import urlopen

import pytest

from netmon import Monitor, NetmonError, NetworkEvent, NetworkSummary
from tests.support.guide import example
from tests.support.sockets import refused_connection
from tests.support.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def any_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a Monitor start on the oldest kernel of the tests, which is older than netmon supports."""
    monkeypatch.setattr("netmon.monitor.is_new_enough", lambda release: True)


@contextmanager
def running(code: str) -> Iterator[BaseProcess]:
    """Run a program in a forked child, which has all slow imports already."""
    program = multiprocessing.get_context("fork").Process(target=exec, args=(code, {"__name__": "__main__"}))
    program.start()
    try:
        yield program
    finally:
        program.kill()
        program.join()


def answer_of(port: int) -> str:
    """Return what a server sends; nothing when there is no server."""
    try:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            return sock.makefile().read()
    except ConnectionRefusedError:
        return ""


@pytest.mark.parametrize("heading", ["Library", "Configuration"])
def test_a_first_example(heading: str, capfd: pytest.CaptureFixture[str]) -> None:
    with running(example(heading).replace("daddr)", "daddr, flush=True)")):

        def find_own() -> re.Match[str] | None:
            refused_connection()
            return re.search(r"^/\S*python\S* 127\.0\.0\.1$", capfd.readouterr().out, re.MULTILINE)

        wait_until(find_own, "the example: an event of this process")


def test_an_asyncio_service(capfd: pytest.CaptureFixture[str]) -> None:
    with running(example("In asyncio: a service")) as service:
        # The test and the service both open connections by asking.
        wait_until(lambda: re.search(r"^[1-9]\d* /\S*python", answer_of(7979)), "the service: its count of Python's")
        service.terminate()
        service.join(DEADLINE)
        assert service.exitcode == 0
    assert capfd.readouterr() == ("", "")


def test_a_prometheus_exporter() -> None:
    def scrape() -> str:
        try:
            with urlopen("http://127.0.0.1:9435/metrics") as response:
                return str(response.read().decode())
        except OSError:
            return ""

    with running(example("A Prometheus exporter")):
        # A scrape that comes before the server listens is refused: its close precedes the first accept.
        text = wait_until(lambda: re.search(r"(?s)(?=.*Accept).*Close.*", scrape()), "the exporter: closes, accepts")[0]
    assert re.search(r'^netmon_events_total{type="TcpConnectionAccept"} [1-9]\d*$', text, re.MULTILINE)
    assert re.search(r"^netmon_lost_total 0$", text, re.MULTILINE)


def test_an_event_loop_wakes_for_what_the_kernel_reports() -> None:
    """It wakes for records and at the end of a period; a forked child does not disturb it."""
    with Monitor(any_kernel=True) as events, Monitor(any_kernel=True, aggregate=1) as sums, select.epoll() as loop:
        for monitor in (events, sums):
            loop.register(monitor.fileno(), select.EPOLLIN)
        child = os.fork()
        if not child:
            os._exit(end_of_child(events, sums))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        cookie = refused_connection()
        seen: list[object] = []
        while not any(isinstance(event, NetworkSummary) for event in seen):
            ready = loop.poll(DEADLINE)
            assert ready
            for monitor in (events, sums):
                if monitor.fileno() in dict(ready):
                    seen += monitor.poll(0)
        cookies = [event.network_event.cookie for event in seen if isinstance(event, NetworkEvent)]
        assert cookies == [cookie, cookie]


def end_of_child(*monitors: Monitor) -> int:
    """Stop, poll and close in a forked child, which must not disturb the parent; return the exit code."""
    for monitor in monitors:
        monitor.stop()
        try:
            monitor.poll(0)
            return 1
        except NetmonError:
            monitor.close()
    return 0


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_a_failed_start_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails at its last step, in aggregate mode, which allocates most."""

    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("netmon.reader.reader.Wakeup", refuse)
    monitor = Monitor(any_kernel=True, aggregate=1)
    before = descriptors()
    with pytest.raises(NetmonError, match="Too many open files"):
        monitor.start()
    assert descriptors() == before

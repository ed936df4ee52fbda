"""A session in this process: real signals, a service manager's real socket, a ring buffer filled on request."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netmon import Config, ConfigError, Monitor
from netmon.cli.session import TICK, Session, Signals
from netmon.errors import Problem
from netmon.filters.compiled import CompiledFilters
from netmon.outputs.base import Output
from netmon.outputs.fanout import Fanout
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import Filler
from tests.support.waiting import DEADLINE, wait_until

MIX = MIXES["1 process, IPv4"]
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Put the handlers of signals back."""
    before = [signal.getsignal(number) for number in HANDLED]
    yield
    for number, handler in zip(HANDLED, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager's socket, which wants a sign of life as often as it can get one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "0")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        yield listening


def received(manager: socket.socket) -> list[str]:
    """Return the first words of the messages that have come."""
    messages = []
    while True:
        try:
            messages.append(manager.recv(4096).decode().partition("\n")[0])
        except BlockingIOError:
            return messages


class Run:
    """A session, and a thread that acts on it while it runs."""

    def __init__(
        self,
        config_file: str | None = None,
        read_config: Callable[[], Config | None] = lambda: None,
        deliver: Callable[[list[str]], object] = lambda _lines: None,
        *,
        reloadable: bool = True,
    ) -> None:
        self.fillers: list[Filler] = []
        self.lines: list[str] = []
        self.signals = Signals(reloadable=reloadable)
        self.monitor = Monitor(any_kernel=True, open_source=self._open)
        self.session = Session(self.monitor, self.signals, config_file, read_config)
        self._then = deliver

    def _open(self, filters: CompiledFilters, ring_size: int, *, aggregate: bool) -> Filler:
        self.fillers.append(Filler(MIX, ring_size))
        return self.fillers[-1]

    def deliver(self, lines: list[str]) -> None:
        self._then(lines)
        self.lines += lines

    def during(self, act: Callable[[Filler], None]) -> None:
        """Run the session; once it is ready, act in another thread."""
        failures: list[BaseException] = []

        def wait_and_act() -> None:
            try:
                wait_until(lambda: self.fillers and self.fillers[0].attached)
                act(self.fillers[0])
            except BaseException as error:
                failures.append(error)
                self.monitor.stop()

        thread = threading.Thread(target=wait_and_act)
        thread.start()
        self.session.run(self.deliver)
        thread.join()
        assert not failures, failures


def send_signal(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """What was in the ring buffer is delivered, in order; a second signal has its usual effect."""
    run = Run()

    def act(filler: Filler) -> None:
        filler.send(1 + 30_000)
        send_signal(number)

    run.during(act)
    cookies = [json.loads(line)["network_event"]["cookie"] for line in run.lines]
    assert cookies == sorted(cookies)
    assert len(cookies) == run.monitor.counters.connection_events == 30_000
    assert [signal.getsignal(second) for second in (signal.SIGINT, signal.SIGTERM)] == [signal.SIG_DFL] * 2
    assert capsys.readouterr().err == "netmon: ready\n"


def test_a_signal_before_the_start_ends_it_at_once() -> None:
    run = Run()
    send_signal(signal.SIGTERM)
    run.session.run(run.deliver)
    assert run.lines == []


def test_a_signal_before_there_is_a_monitor_stops_it() -> None:
    signals = Signals()
    send_signal(signal.SIGINT)
    monitor = Monitor()
    signals.bind(monitor)
    assert monitor.stopped


@pytest.mark.parametrize("reloadable", [True, False])
def test_nohup_is_respected(reloadable: bool) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Signals(reloadable=reloadable)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_the_service_manager_learns_each_state(manager: socket.socket) -> None:
    run = Run("netmon.yaml", Config.everything)

    def act(_filler: Filler) -> None:
        messages: list[str] = []
        send_signal(signal.SIGHUP)

        def ready_again() -> bool:
            messages.extend(received(manager))
            return messages.count("READY=1") == 2

        wait_until(ready_again)
        assert [message for message in messages if message != "WATCHDOG=1"] == ["READY=1", "RELOADING=1", "READY=1"]
        send_signal(signal.SIGTERM)

    run.during(act)
    assert received(manager)[-1] == "STOPPING=1"


def test_the_watchdog_gets_a_sign_of_life_each_second_while_nothing_happens(manager: socket.socket) -> None:
    def act(_filler: Filler) -> None:
        wait_until(lambda: "READY=1" in received(manager))
        begin = time.monotonic()
        wait_until(lambda: "WATCHDOG=1" in received(manager))
        wait_until(lambda: "WATCHDOG=1" in received(manager))
        assert time.monotonic() - begin < 5
        send_signal(signal.SIGTERM)

    Run().during(act)


def test_the_watchdog_gets_no_sign_of_life_while_an_output_is_stuck(manager: socket.socket) -> None:
    """The output is a pipe that nobody reads until later."""
    read_end, write_end = os.pipe()
    output = Output("pipe", write_end)
    lines: list[bytes] = []

    def read() -> None:
        with open(read_end, "rb") as source:
            lines.extend(source)

    reader = threading.Thread(target=read)

    def act(filler: Filler) -> None:
        try:
            filler.send(1 + 1000)
            room = select.poll()
            room.register(write_end, select.POLLOUT)
            wait_until(lambda: not room.poll(0))
            received(manager)  # those sent before the write that blocks
            assert select.select([manager], [], [], 1.5 * TICK)[0] == []
        finally:
            reader.start()  # without it the session would never end
        wait_until(lambda: "WATCHDOG=1" in received(manager))
        send_signal(signal.SIGTERM)

    fanout = Fanout([output], report=print)
    Run(deliver=fanout.write).during(act)
    output.close()
    reader.join()
    assert len(lines) == 1000


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConfigError([Problem("netmon.yaml", 1, (), None, "is nonsense")]), "netmon.yaml:1: is nonsense"),
        (OSError(errno.EMFILE, "Too many open files", "netmon.yaml"), "netmon.yaml: Too many open files"),
    ],
)
def test_a_reload_that_fails_changes_nothing(
    error: Exception, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Config:
        raise error

    run = Run("netmon.yaml", fail)
    written: list[str] = []

    def said(text: str) -> bool:
        written.append(capsys.readouterr().err)
        return text in "".join(written)

    def act(filler: Filler) -> None:
        send_signal(signal.SIGHUP)
        wait_until(lambda: said("netmon: netmon.yaml not reloaded: going on as before\n"))
        filler.send(1 + 10)
        send_signal(signal.SIGTERM)

    run.during(act)
    assert f"netmon: {message}\n" in "".join(written)
    assert len(run.lines) == 10


def test_a_configuration_that_cannot_be_read_holds_nothing_up(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is on a file system that does not answer for long, say."""
    monkeypatch.setattr("netmon.cli.session.READ_DEADLINE", 0.2)
    answers = threading.Event()
    reads: list[int] = []

    def read() -> Config | None:
        reads.append(1)
        assert len(reads) > 1 or answers.wait(DEADLINE)
        return None

    run = Run("netmon.yaml", read)
    written: list[str] = []

    def said(text: str, times: int = 1) -> bool:
        written.append(capsys.readouterr().err)
        return "".join(written).count(text) == times

    def act(filler: Filler) -> None:
        send_signal(signal.SIGHUP)
        wait_until(lambda: said("netmon: netmon.yaml cannot be read so far: going on as before until it is\n"))
        filler.send(1 + 10)
        wait_until(lambda: len(run.lines) == 10)
        send_signal(signal.SIGHUP)  # waits until the first one is done
        assert not said("netmon: reloaded netmon.yaml\n")
        answers.set()
        wait_until(lambda: said("netmon: reloaded netmon.yaml\n", 2))
        messages = [message for message in received(manager) if message != "WATCHDOG=1"]
        assert messages == ["READY=1", "RELOADING=1", "READY=1", "READY=1", "RELOADING=1", "READY=1"]
        send_signal(signal.SIGTERM)

    run.during(act)


def test_the_end_does_not_wait_for_a_configuration_that_cannot_be_read() -> None:
    answers = threading.Event()

    def read() -> Config | None:
        answers.wait(DEADLINE)
        return None

    def act(_filler: Filler) -> None:
        send_signal(signal.SIGHUP)
        send_signal(signal.SIGTERM)

    began = time.monotonic()
    Run("netmon.yaml", read).during(act)
    answers.set()
    assert time.monotonic() - began < DEADLINE / 2


def test_without_anything_to_reload_a_hangup_drains(capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal was closed: kernel and shell may both send SIGHUP, and what ends the session may add SIGTERM."""
    run = Run(reloadable=False)

    def act(filler: Filler) -> None:
        filler.send(1 + 30_000)
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            send_signal(number)

    run.during(act)
    assert len(run.lines) == 30_000
    assert capsys.readouterr().err == "netmon: ready\n"


def test_an_output_that_fails_ends_the_run_and_closes_the_monitor() -> None:
    def deliver(lines: list[str]) -> None:
        if lines:
            raise OSError(errno.ENOSPC, "No space left on device")

    run = Run(deliver=deliver)
    with pytest.raises(OSError, match="No space left"):
        run.during(lambda filler: filler.send(2))
    assert run.monitor.finished

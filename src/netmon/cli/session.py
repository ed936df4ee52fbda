"""Runs a monitor from its start to its end: signals, reloads, the service manager. Outputs are not known here."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Protocol, TypeVar

from netmon.cli.console import describe, say
from netmon.errors import NetmonError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from netmon.config import Config
    from netmon.filters.compiled import CompiledFilters
    from netmon.monitor import Monitor

T = TypeVar("T")

# How often (seconds) to deliver an empty batch, and to check for a requested reload, while nothing happens.
TICK = 1.0
# Seconds: how long to wait for a configuration that is read again before going on meanwhile, and before saying so.
READ_AT_ONCE, READ_DEADLINE = 0.1, 10.0


class Signals:
    """Handles signals, from its creation on: the first SIGINT or SIGTERM stops the monitor.

    SIGHUP requests a reload or, without anything to reload, stops the monitor: the terminal was closed.

    If the signal comes before bind(), the monitor stops as soon as it starts. A second SIGINT or SIGTERM kills the
    process, as usual, since an output may be stuck. A second SIGHUP does not: when a terminal is closed, the shell and
    the kernel may send one each.

    Attributes:
        stopped: Whether a signal that stops the monitor has come.
        reopen: Is called in the handler of SIGUSR1: another program has renamed the files of outputs.
    """

    def __init__(self, *, reloadable: bool = True) -> None:
        """Handle the signals from now on. reloadable: SIGHUP requests a reload."""
        self.stopped = False
        self.reopen: Callable[[], object] = lambda: None
        self._monitor: Monitor | None = None
        self._reload = False
        signal.signal(signal.SIGUSR1, self._request_reopening)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        # nohup ignores SIGHUP: leave it so.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._request_reload if reloadable else self._stop)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGHUP:
            for ending in (signal.SIGINT, signal.SIGTERM):
                signal.signal(ending, signal.SIG_DFL)
        self.stopped = True
        if self._monitor is not None:
            self._monitor.stop()

    def _request_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True

    def _request_reopening(self, _number: int, _frame: FrameType | None) -> None:
        self.reopen()

    def take_reload(self) -> bool:
        """Return whether SIGHUP came since the last call."""
        requested, self._reload = self._reload, False
        return requested

    def bind(self, monitor: Monitor) -> None:
        """Set the monitor that the signals stop."""
        self._monitor = monitor
        if self.stopped:
            monitor.stop()


class Ending(Protocol):
    """What ends a run: signals, or the end of a command.

    Attributes:
        stopped: Whether the monitor was told to stop.
    """

    stopped: bool

    def bind(self, monitor: Monitor) -> None:
        """Set the monitor to stop; if the end has come, stop it."""

    def take_reload(self) -> bool:
        """Return whether a reload was requested since the last call."""


class Session:
    """Runs a monitor until a signal stops it. Between two batches it reloads, and sends the watchdog a sign of life."""

    def __init__(
        self,
        monitor: Monitor,
        signals: Ending,
        config_file: str | None,
        read_config: Callable[[], CompiledFilters | Config | None],
    ) -> None:
        """Bind the signals to the monitor.

        Args:
            monitor: Not started yet.
            signals: The process's signal handlers, or what else ends the run.
            config_file: The configuration's file, for messages; None: there is none, and signals are not reloadable.
            read_config: Reads the configuration again. Raises NetmonError or OSError.

        Raises:
            NetmonError: There is no socket for messages to the service manager.
        """
        self._blind = ""
        self._inexact = ""
        self._monitor = monitor
        self._signals = signals
        self._config_file = config_file
        self._read_config = read_config
        self._reading: Future[Callable[[], None]] | None = None
        self._say_late_at: float | None = None
        self._notify = _notifier()
        signals.bind(monitor)

    def run(
        self,
        deliver: Callable[[list[str]], None],
        begin: Callable[[], None] = lambda: None,
        ready: Callable[[], None] = lambda: say("ready"),
    ) -> None:
        """Start the monitor, and deliver batches of lines until it is stopped and all reported events are delivered.

        Args:
            deliver: Takes a batch, an empty one while nothing happens. While it does not return, the watchdog gets no
                sign of life. Its exceptions end the run.
            begin: Is called once the monitor is attached, to give up rights.
            ready: Is called then, and says so.

        Raises:
            NetmonError: The monitor cannot start, or fails.
        """
        with self._monitor as monitor:
            begin()
            ready()
            self._notify("READY=1")
            _import_for_events()
            stopped = False
            while not stopped:
                stopped = monitor.stopped  # before the last reading, which drains
                for lines in monitor.json_lines(timeout=TICK):
                    self._deliver(lines, deliver)
                self._deliver([], deliver)
            self._notify("STOPPING=1")

    def _deliver(self, lines: list[str], deliver: Callable[[list[str]], None]) -> None:
        deliver(lines)
        if (blind := self._monitor.blind) != self._blind:
            self._blind = blind
            self._say_whether_blind()
        if not self._inexact and (inexact := self._monitor.inexact):
            self._inexact = inexact
            say(inexact)
        if self._reading is None and self._signals.take_reload():
            self._notify("RELOADING=1")
            self._say_late_at = time.monotonic() + READ_DEADLINE
            self._reading = _begin(lambda: self._monitor.prepare_reload(self._read_config()))
        if self._reading is not None:
            self._go_on_reloading(self._reading)
        self._notify("WATCHDOG=1")

    def _say_whether_blind(self) -> None:
        """Say to the user and the service manager that the kernel stopped running the programs, or runs them again."""
        state = self._blind or "the kernel runs netmon's programs again"
        say(state)
        self._notify(f"STATUS={state}")

    def _go_on_reloading(self, reading: Future[Callable[[], None]]) -> None:
        """Put the configuration in force once it is read; if that fails, for whatever reason, keep the previous one."""
        if not reading.done():
            if self._say_late_at is not None and time.monotonic() >= self._say_late_at:
                self._say_late_at = None
                say(f"{self._config_file} cannot be read so far: going on as before until it is")
                self._notify("READY=1")
            return
        self._reading = None
        try:
            reading.result()()
        except (NetmonError, OSError) as error:
            say(error if isinstance(error, NetmonError) else describe(error))
            say(f"{self._config_file} not reloaded: going on as before")
        else:
            say(f"reloaded {self._config_file}")
        self._notify("READY=1")


def _begin(work: Callable[[], T]) -> Future[T]:
    """Begin work in a thread, for which neither the reader nor the process's end waits; return what it will give."""
    from concurrent.futures import Future  # slow to import

    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # a limit of threads, such as the unit's TasksMax=
        result.set_exception(NetmonError(f"cannot read the configuration: {error}"))
    else:
        thread.join(READ_AT_ONCE)
    return result


def _notifier() -> Callable[[str], None]:
    """Return a function that sends a state to the service manager (sd_notify(3)), if there is one."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return lambda _state: None
    from netmon.cli.sd_notify import ServiceManager  # slow to import

    try:
        return ServiceManager(os.environ).notify
    except OSError as error:
        raise NetmonError(f"NOTIFY_SOCKET: {describe(error)}") from error


def _import_for_events() -> None:
    """Import modules that are slow to import, and that only the first event needs.

    Importing them in a thread during the start would slow the start down: libbpf calls back for each message, and each
    callback would wait for that thread to release the interpreter.
    """
    import socket  # noqa: F401

    import netmon.decode.decoder
    import netmon.kernel.cmdline_reader  # noqa: F401

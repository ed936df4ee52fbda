"""Runs a monitor from its start to its end: signals, reloads, the service manager. Outputs are not known here."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Protocol, TypeVar

from netmon.cli.console import ERROR, WARNING, describe, say
from netmon.errors import NetmonError
from netmon.version import __version__

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
# Seconds between two summaries for the service manager.
STATUS_INTERVAL = 30.0
SHORT_DIGEST = 12  # hexadecimal digits that are shown to people


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


class Reload:
    """The result of a reload, for whoever has asked for it.

    Attributes:
        error: Why the previous configuration stays in force; "" if the new one is.
    """

    def __init__(self) -> None:
        self.error = ""
        self._done = threading.Event()

    def finish(self, error: str) -> None:
        """Wake up who waits."""
        self.error = error
        self._done.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the result; return whether it is there."""
        return self._done.wait(seconds)


class Session:
    """Runs a monitor until a signal stops it. Between two batches it reloads, and sends the watchdog a sign of life.

    Attributes:
        generation: Counts the configurations since the start, from 1.
        digest: The SHA-256 of the file in force, in hexadecimal (see netmon.config.digest); "" if there is none.
        since: When it was put in force, in seconds since 1970.
        last_reload: When (in seconds since 1970) it was tried last to reload, and why that failed, or "".
        failed_reloads: How many reloads have failed.
        turned: When (time.monotonic()) the last batch was delivered.
    """

    def __init__(
        self,
        monitor: Monitor,
        signals: Ending,
        config_file: str | None,
        read_config: Callable[[], CompiledFilters | Config | None],
        digest: str = "",
    ) -> None:
        """Bind the signals to the monitor.

        Args:
            monitor: Not started yet.
            signals: The process's signal handlers, or what else ends the run.
            config_file: The configuration's file, for messages; None: there is none, and signals are not reloadable.
            read_config: Reads the configuration again. Raises NetmonError or OSError.
            digest: Of the configuration that the monitor has.

        Raises:
            NetmonError: There is no socket for messages to the service manager.
        """
        self._blind = ""
        self._inexact = ""
        self._monitor = monitor
        self._signals = signals
        self._config_file = config_file
        self._read_config = read_config
        self.generation, self.digest, self.since = 1, digest, time.time()
        self.last_reload: tuple[float, str] | None = None
        self.failed_reloads = 0
        self.turned = time.monotonic()
        self._asked: deque[Reload] = deque()  # by any thread, and not begun
        self._waiting: list[Reload] = []  # for the one that goes on
        self._next_status = time.monotonic() + STATUS_INTERVAL
        self._reading: Future[tuple[Callable[[], None], str]] | None = None
        self._say_late_at: float | None = None
        self._managed = bool(os.environ.get("NOTIFY_SOCKET"))
        self._notify = notifier()
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
            self._notify(f"READY=1\nSTATUS={self.summary()}" if self._managed else "READY=1")
            _import_for_events()
            stopped = False
            while not stopped:
                stopped = monitor.stopped  # before the last reading, which drains
                for lines in monitor.json_lines(timeout=TICK):
                    self._deliver(lines, deliver)
                self._deliver([], deliver)
            self._take_asked()
            self._answer_waiting("netmon is ending")
            self._notify("STOPPING=1")

    def _deliver(self, lines: list[str], deliver: Callable[[list[str]], None]) -> None:
        deliver(lines)
        if (blind := self._monitor.blind) != self._blind:
            self._blind = blind
            self._say_whether_blind()
        if not self._inexact and (inexact := self._monitor.inexact):
            self._inexact = inexact
            say(inexact, WARNING)
        if self._reading is None and (self._signals.take_reload() or self._asked):
            self._take_asked()
            self._notify("RELOADING=1")
            self._say_late_at = time.monotonic() + READ_DEADLINE
            self._reading = _begin(self._prepare)
        if self._reading is not None:
            self._go_on_reloading(self._reading)
        self.turned = time.monotonic()
        if self._managed and self.turned >= self._next_status:
            self._next_status = self.turned + STATUS_INTERVAL
            self._notify(f"STATUS={self.summary()}")
        self._notify("WATCHDOG=1")

    def request_reload(self) -> Reload:
        """Ask for a reload, from any thread; return what will have its result.

        Raises NetmonError if there is no configuration file.
        """
        if self._config_file is None:
            raise NetmonError("there is no configuration file to reload: start netmon run with --config FILE")
        request = Reload()
        self._asked.append(request)
        return request

    def summary(self) -> str:
        """Return a line about the run. Any thread may call it."""
        counters, losses = self._monitor.counters, self._monitor.losses
        digest = self.digest[:SHORT_DIGEST]
        parts = [
            self._blind,
            f"version {__version__}",
            f"configuration {digest or 'without a file'}, generation {self.generation}",
            "the last reload failed" if self.last_reload is not None and self.last_reload[1] else "",
            f"{counters.connection_events + counters.summaries} events, {losses.total} lost",
        ]
        return "; ".join(filter(None, parts))

    def _prepare(self) -> tuple[Callable[[], None], str]:
        """Return what puts the configuration in force, which is read again, and its digest."""
        config = self._read_config()
        return self._monitor.prepare_reload(config), digest_of(config)

    def _say_whether_blind(self) -> None:
        """Say to the user and the service manager that the kernel stopped running the programs, or runs them again."""
        state = self._blind or "the kernel runs netmon's programs again"
        say(state, ERROR if self._blind else None)
        self._notify(f"STATUS={self.summary()}")

    def _go_on_reloading(self, reading: Future[tuple[Callable[[], None], str]]) -> None:
        """Put the configuration in force once it is read; if that fails, for whatever reason, keep the previous one."""
        if not reading.done():
            if self._say_late_at is not None and time.monotonic() >= self._say_late_at:
                self._say_late_at = None
                say(f"{self._config_file} cannot be read so far: going on as before until it is", WARNING)
                self._notify("READY=1")
            return
        self._reading = None
        problem = ""
        try:
            swap, digest = reading.result()
            swap()
        except (NetmonError, OSError) as error:
            problem = str(error) if isinstance(error, NetmonError) else describe(error)
            self.failed_reloads += 1
            say(problem, ERROR)
            say(f"{self._config_file} not reloaded: going on as before", ERROR)
        else:
            self.generation, self.digest, self.since = self.generation + 1, digest, time.time()
            say(f"reloaded {self._config_file}")
        self.last_reload = time.time(), problem
        # In this order: whoever has asked may be what the service manager waits for.
        self._notify(f"READY=1\nSTATUS={self.summary()}")
        self._answer_waiting(problem)

    def _take_asked(self) -> None:
        while self._asked:  # another thread may add one meanwhile
            self._waiting.append(self._asked.popleft())

    def _answer_waiting(self, problem: str) -> None:
        for request in self._waiting:
            request.finish(problem)
        self._waiting = []


def digest_of(config: object) -> str:
    """Return the digest of the file that a configuration comes from, in hexadecimal; "" if none is known."""
    return getattr(config, "digest", b"").hex()


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


def notifier() -> Callable[[str], None]:
    """Return a function that sends a state to the service manager, if there is one. Raises NetmonError."""
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

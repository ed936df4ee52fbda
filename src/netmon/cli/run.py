"""`netmon run`: reports events until a signal ends it, or until nobody reads standard output any more."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_OK
from netmon.cli.console import STANDARD_OUTPUT, describe, say
from netmon.cli.flags import add_run_flags, config_of, flag_error
from netmon.errors import ArgumentError, NetmonError, OutputError

if TYPE_CHECKING:
    from netmon.losses import Losses
    from netmon.monitor import Monitor

# The flags that are the Monitor's arguments, too.
MONITOR_FLAGS = ("any_kernel", "ring_size", "batch_delay", "aggregate", "lost_events")
# How often (seconds) to look for a reader of standard output and for a reload when nothing happens.
LOOK_INTERVAL = 1.0


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "run",
        help="watch connections; one JSON event a line on standard output",
        description="Watch TCP connections until SIGINT or SIGTERM: one JSON event a line on standard output. "
        "Without --config the flags below say what to report; without those, everything.",
    )
    parser.set_defaults(command=run)
    add_run_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM. Raises ConfigError, OutputError, another NetmonError."""
    signals = Signals()
    from netmon.monitor import Monitor  # slow to import

    config = config_of(options)
    given = {name: getattr(options, name) for name in MONITOR_FLAGS if getattr(options, name) is not None}
    try:
        monitor = Monitor(config, **given)
    except ArgumentError as error:  # the flag of the same name
        raise flag_error(error.name, error.reason) from None
    signals.bind(monitor)
    notify = _notifier()
    with monitor:
        say("ready")
        notify("READY=1")
        _import_for_events()
        count = 0
        for lines in _lines(monitor):
            count += _write(lines)
            if signals.take_reload():
                notify("RELOADING=1")
                _reload(monitor, options)
                notify("READY=1")
            notify("WATCHDOG=1")
        notify("STOPPING=1")
    say(_summary(count, monitor.losses))
    return EXIT_OK


def _import_for_events() -> None:
    """Import what only the first event needs: a start does without it, and it is slow to import.

    A thread beside the start would slow the start down: libbpf calls back for each message, and each callback would
    wait for that thread to release the interpreter.
    """
    import socket  # noqa: F401

    import orjson  # noqa: F401


class Signals:
    """Handles signals: the first SIGINT or SIGTERM stops the monitor, SIGHUP requests a reload.

    A SIGINT or SIGTERM that comes before there is a monitor stops it at its start. A second one kills the process, as
    usual: output may be stuck.
    """

    def __init__(self) -> None:
        self._monitor: Monitor | None = None
        self._stopped = False
        self._reload = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        # nohup ignores SIGHUP: leave it so.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._request_reload)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._stopped = True
        if self._monitor is not None:
            self._monitor.stop()

    def _request_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True

    def take_reload(self) -> bool:
        """Return whether SIGHUP came since the last call."""
        requested, self._reload = self._reload, False
        return requested

    def bind(self, monitor: Monitor) -> None:
        """Set the monitor that signals stop."""
        self._monitor = monitor
        if self._stopped:
            monitor.stop()


def _notifier() -> Callable[[str], None]:
    """Return a function that sends a state to the service manager (sd_notify(3)), if there is one."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return lambda _state: None
    from netmon.cli.sd_notify import ServiceManager

    try:
        return ServiceManager(os.environ).notify
    except OSError as error:
        raise NetmonError(f"NOTIFY_SOCKET: {error.strerror}") from error


def _reload(monitor: Monitor, options: argparse.Namespace) -> None:
    """Read the configuration again; if that fails, for whatever reason, go on with the one before."""
    if options.config is None:
        say("SIGHUP: there is no configuration file to reload; start it with --config FILE to have one")
        return
    try:
        monitor.reload(config_of(options))
    except (NetmonError, OSError) as error:
        say(error if isinstance(error, NetmonError) else describe(error))
        say(f"{options.config} not reloaded: going on as before")
    else:
        say(f"reloaded {options.config}")


def _lines(monitor: Monitor) -> Iterator[list[str]]:
    """Yield batches of lines, empty ones when nothing happens, until the monitor is stopped.

    Raises OutputError when nobody reads standard output any more.
    """
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)
    stopped = False
    while not stopped:
        stopped = monitor.stopped  # before the last reading, which drains
        yield from monitor.json_lines(timeout=LOOK_INTERVAL)
        if any(state & (select.POLLERR | select.POLLHUP) for _, state in reader.poll(0)):
            raise OutputError(STANDARD_OUTPUT, BrokenPipeError())
        yield []


def _write(lines: list[str]) -> int:
    """Write all of the lines; return how many. Raises OutputError."""
    if not lines:
        return 0
    data = memoryview("".join(lines).encode())
    fd = sys.stdout.fileno()
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # standard output does not block, and is full
            writer = select.poll()
            writer.register(fd, select.POLLOUT)
            writer.poll()
        except OSError as error:
            raise OutputError(STANDARD_OUTPUT, error) from error
    return len(lines)


def _summary(count: int, losses: Losses) -> str:
    reasons = ", ".join(f"{'at most ' * (name == 'missed')}{value} {name}" for name, value in losses.reasons() if value)
    return f"{count} events, {losses.total} lost" + (f" ({reasons})" if reasons else "")

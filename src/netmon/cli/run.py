"""`netmon run`: events to standard output until a signal ends it, or nobody reads them any more."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from netmon.cli.console import say
from netmon.cli.flags import config_of
from netmon.errors import ConfigError, NetmonError

if TYPE_CHECKING:
    from netmon.losses import Losses
    from netmon.monitor import Monitor

# Of the flags, those that the Monitor takes as they are.
MONITOR_FLAGS = ("any_kernel", "ring_size", "batch_delay", "aggregate", "lost_events")
# How often (seconds) to look whether somebody still reads, and whether to reload, when nothing happens.
LOOK_INTERVAL = 1.0


def run(options: argparse.Namespace) -> None:
    """Run until SIGINT or SIGTERM. Raises ConfigError, another NetmonError, OSError of standard output."""
    signals = Signals()
    from netmon.monitor import Monitor

    given = {name: getattr(options, name) for name in MONITOR_FLAGS if getattr(options, name) is not None}
    try:
        monitor = Monitor(config_of(options), **given)
    except ValueError as error:  # of a size or a duration: the Monitor knows the bounds
        raise ConfigError([f"--{str(error).replace('_', '-', 1)}"]) from None
    signals.attend(monitor)
    tell = _teller()
    with monitor:
        say("ready")
        tell("READY=1")
        _import_for_events()
        count = 0
        for lines in _lines(monitor):
            count += _write(lines)
            if signals.take_reload():
                tell("RELOADING=1")
                _reload(monitor, options)
                tell("READY=1")
            tell("WATCHDOG=1")
        tell("STOPPING=1")
    say(_summary(count, monitor.losses))


def _import_for_events() -> None:
    """Import what the first event needs and a start does not, slow to import as it is.

    Not in a thread beside the start: libbpf, which calls back for all that it says, would wait for the interpreter.
    """
    import socket  # noqa: F401

    import orjson  # noqa: F401


class Signals:
    """From its creation on, the first SIGINT or SIGTERM stops the monitor, even before there is one; SIGHUP reloads.

    A second SIGINT or SIGTERM, should output be stuck, kills as usual.
    """

    def __init__(self) -> None:
        self._monitor: Monitor | None = None
        self._stopped = False
        self._reload = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        # What nohup has ignored stays ignored.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._ask_for_reload)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._stopped = True
        if self._monitor is not None:
            self._monitor.stop()

    def _ask_for_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True

    def take_reload(self) -> bool:
        """Say whether SIGHUP came since the last time."""
        asked, self._reload = self._reload, False
        return asked

    def attend(self, monitor: Monitor) -> None:
        """Say which monitor there is now."""
        self._monitor = monitor
        if self._stopped:
            monitor.stop()


def _teller() -> Callable[[str], None]:
    """Return what tells the service manager, if there is one, of netmon's states (sd_notify(3))."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return lambda _state: None
    from netmon.cli.sd_notify import ServiceManager

    try:
        return ServiceManager(os.environ).tell
    except OSError as error:
        raise NetmonError(f"NOTIFY_SOCKET: {error.strerror}") from error


def _reload(monitor: Monitor, options: argparse.Namespace) -> None:
    """Read the configuration again; whatever is wrong with it, go on with the one before."""
    if options.config is None:
        say("SIGHUP: there is no configuration file to reload; start it with --config FILE to have one")
        return
    try:
        monitor.reload(config_of(options))
    except NetmonError as error:
        say(error)
        say(f"{options.config} not reloaded: going on as before")
    else:
        say(f"reloaded {options.config}")


def _lines(monitor: Monitor) -> Iterator[list[str]]:
    """Yield batches of lines, empty ones when nothing happens, until the monitor is stopped.

    Raises BrokenPipeError when nobody reads them any more.
    """
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)
    stopped = False
    while not stopped:
        stopped = monitor.stopped  # before the last reading, which drains
        yield from monitor.json_lines(timeout=LOOK_INTERVAL)
        if any(state & (select.POLLERR | select.POLLHUP) for _, state in reader.poll(0)):
            raise BrokenPipeError
        yield []


def _write(lines: list[str]) -> int:
    """Write all of the lines, whatever part of them a single write takes: none, if standard output does not block."""
    if not lines:
        return 0
    data = memoryview("".join(lines).encode())
    fd = sys.stdout.fileno()
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            writer = select.poll()
            writer.register(fd, select.POLLOUT)
            writer.poll()
    return len(lines)


def _summary(count: int, losses: Losses) -> str:
    reasons = ", ".join(f"{'at most ' * (name == 'missed')}{value} {name}" for name, value in losses.reasons() if value)
    return f"{count} events, {losses.events} lost" + (f" ({reasons})" if reasons else "")

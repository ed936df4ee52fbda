"""What a run says of itself, and does, on request: the answers of its control socket."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from netmon.cli.group import group_of
from netmon.control.server import Command, ControlServer
from netmon.decode.format import format_timestamp
from netmon.errors import NetmonError, shown
from netmon.limits import DEFAULT_RING_SIZE
from netmon.losses import BY_NAME
from netmon.outputs.unix_socket import listen
from netmon.version import __version__

if TYPE_CHECKING:
    from netmon.cli.confine import User
    from netmon.cli.session import Session
    from netmon.control.event_counts import EventCounts
    from netmon.monitor import Monitor
    from netmon.outputs.fanout import Fanout

LOOK_MODE, OWN_MODE = 0o660, 0o600  # of the socket: with a group, and without
RELOAD_LIMIT = 75.0  # seconds: a file of millions of addresses takes some. systemd waits for 90
LIVE_LIMIT = 60.0  # seconds without a turn of the reading thread, as the unit's WatchdogSec=
BPF_STATISTICS = "/proc/sys/kernel/bpf_stats_enabled"
NSEC = 1_000_000_000


class RunControl:
    """Answers for a run.

    Attributes:
        counts: Counts the events, if metrics are asked for.
    """

    def __init__(self, options: argparse.Namespace, monitor: Monitor, session: Session, fanout: Fanout) -> None:
        """Make the socket.

        Args:
            options: The parsed flags of `netmon run`, with the file's settings.
            monitor: The run's monitor.
            session: Runs it.
            fanout: Its outputs.

        Raises:
            ConfigError: The group is none.
            NetmonError: The socket cannot be made.
        """
        self._monitor = monitor
        self._session = session
        self._fanout = fanout
        self._file: str | None = options.config
        self._path: str = options.control
        self._ring_size: int = options.ring_size or DEFAULT_RING_SIZE
        self._started = time.time()
        self._started_at = time.monotonic()
        self._ready = False
        self.counts: EventCounts | None = None
        if options.metrics:
            from netmon.control.event_counts import EventCounts  # seldom needed

            report = monitor.watched.report
            self.counts = EventCounts(outcome=report.outcome, statistics=report.statistics)
        group = None if options.control_group is None else group_of(options.control_group, "control_group")
        listener = listen(self._path, OWN_MODE if group is None else LOOK_MODE, group)
        commands = {"status": Command(self.status), "reload": Command(self.reload, changes=True)}
        self._server = ControlServer(listener, group, commands)

    def give_to(self, user: User) -> None:
        """Let the user that the process becomes connect, too. Raises NetmonError."""
        try:
            os.chown(self._path, user.uid, -1, follow_symlinks=False)
        except OSError as error:
            raise NetmonError(f"{shown(self._path)}: {error.strerror}: start netmon as root") from None

    def start(self) -> None:
        """Begin to answer: the monitor is attached, and rights are given up."""
        self._ready = True
        self._server.start()

    def reload(self) -> Mapping[str, Any]:
        """Read the configuration again, and return what is in force then. Raises NetmonError if that fails."""
        request = self._session.request_reload()
        if not request.wait(RELOAD_LIMIT):
            raise NetmonError(
                f"{self._file} not reloaded within {RELOAD_LIMIT:.0f} seconds: its file system, or the reader of an "
                "output, holds netmon up, which goes on as before until then"
            )
        if request.error:
            raise NetmonError(f"{request.error}\n{self._file} not reloaded: netmon goes on as before")
        return {"configuration": self._configuration()}

    def status(self) -> Mapping[str, Any]:
        """Return all that is known of the run, as plain data: docs/operations.md describes it."""
        monitor, counters, losses = self._monitor, self._monitor.counters, self._monitor.losses
        silent = time.monotonic() - self._session.turned
        watched = monitor.watched
        return {
            "version": __version__,
            "pid": os.getpid(),
            "kernel": os.uname().release,
            "started": _time(self._started),
            "uptime_s": round(time.monotonic() - self._started_at, 3),
            "live": silent < LIVE_LIMIT,
            "ready": self._ready and silent < LIVE_LIMIT and not monitor.blind and not monitor.stopped,
            "silent_s": round(silent, 3),
            "problems": [problem for problem in (monitor.blind, monitor.inexact, monitor.record_problem) if problem],
            "configuration": self._configuration(),
            "reports": {
                "directions": list(watched.directions),
                "options": {name: value for name, value in watched.report._asdict().items() if value},
            },
            "events": counters.connection_events + counters.summaries,
            "losses": {
                "total": losses.total,
                **{name: getattr(losses, name) for name in losses._fields if name not in BY_NAME},
                "offenders": losses.top_offenders(),
            },
            "outputs": [output._asdict() for output in self._fanout.states()],
            "ring": {"size": self._ring_size, "waiting": counters.bytes_waiting, "read": counters.bytes_read},
            "processes": {"known": counters.processes_known, "described": counters.processes_described},
            "programs": self._programs(),
            "program_statistics": _statistics_enabled(),
            "rules": dict(monitor.rule_counts),
            "resources": _resources(),
            "counted": None if self.counts is None else self.counts.document(),
        }

    def _configuration(self) -> dict[str, Any]:
        session = self._session
        last = session.last_reload
        return {
            "file": self._file,
            "sha256": session.digest or None,
            "generation": session.generation,
            "since": _time(session.since),
            "last_reload": None if last is None else {"time": _time(last[0]), "error": last[1] or None},
            "failed_reloads": session.failed_reloads,
        }

    def _programs(self) -> list[dict[str, Any]]:
        try:
            infos = self._monitor.program_infos()
        except NetmonError:  # it has ended, or the kernel does not tell without rights
            return []
        return [{"name": info.name, "runs": info.runs, "run_time_ns": info.run_time_ns} for info in infos]


def _time(seconds: float) -> str:
    return format_timestamp(int(seconds * NSEC))


def _statistics_enabled() -> bool:
    try:
        with open(BPF_STATISTICS) as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def _resources() -> dict[str, Any]:
    """Return what this process uses."""
    used = time.process_time()
    try:
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return {"cpu_s": used}
    return {"cpu_s": used, "resident_bytes": resident}

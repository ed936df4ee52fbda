"""Writes a recording while a monitor runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from netmon.batch import HEADER, Batch, offsets_in
from netmon.decode.format import RECORDS_OF_PROCESSES
from netmon.errors import NetmonError
from netmon.losses import Losses
from netmon.recording.form import (
    AGAIN,
    CONTAINER,
    MAX_FRAME,
    STEP,
    USER,
    WAITING,
    Header,
    Kind,
    pack_frame,
    pack_header,
    pack_json,
    pack_losses,
    pack_names,
)
from netmon.version import __version__

if TYPE_CHECKING:
    from netmon.decode.loss_report import LossReport
    from netmon.decode.workloads import NameSource
    from netmon.filters.compiled import NameRules, Watched
    from netmon.reader.source import Host
    from netmon.workload import Names

END_SIZE = 64 << 10  # bytes of the file's limit that are kept for its last frame
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
NUL = b"\0"
NO_EVENTS = frozenset(map(int, RECORDS_OF_PROCESSES))


class _State(NamedTuple):
    """How far the file is written. It is replaced as a whole: a signal handler may raise at any moment."""

    at: int  # where in the file `pending` belongs
    pending: bytes = b""
    recorded: int = -1  # the position in the ring buffer up to which batches are in the file, or pending


class RecordedNames:
    """Answers as a source of names does, and records that (netmon.decode.workloads.NameSource)."""

    def __init__(self, source: NameSource, record: Callable[[Any], object]) -> None:
        """Make it. record: is called with each answer."""
        self._source = source
        self._record = record

    def container(self, subject: str) -> Names | None:
        """Return the names of a container."""
        names = self._source.container(subject)
        self._record({CONTAINER: names})
        return names

    def container_again(self, subject: str) -> Names | None:
        """Return them once more. That it is too early is recorded by nothing."""
        names = self._source.container_again(subject)
        if names is not None:
            self._record({AGAIN: names})
        return names

    def user(self, uid: int) -> str | None:
        """Return a user's name."""
        name = self._source.user(uid)
        self._record({USER: name})
        return name


class Recorder:
    """Writes a recording, frame by frame. If it cannot go on, it ends the file, and counts the events from then on.

    Attributes:
        problem: Why the recording has ended early; "" if it has not.
        lost: The events that are not in it.
    """

    def __init__(self, path: str | os.PathLike[str], header: Header, limit: int) -> None:
        """Create the file, for this user alone.

        Args:
            path: The file. Nothing may have this name.
            header: The recording's header.
            limit: Bytes that the file may have.

        Raises:
            NetmonError: The file exists, or cannot be created or written.
        """
        self.problem = ""
        self.lost = 0
        self._name = os.fspath(path)
        self._limit = limit - END_SIZE
        self._state = _State(0)
        self._whole = 0  # where the last whole frame ends
        self._lock = threading.RLock()  # close() may come from another thread
        self._pid = os.getpid()
        try:
            self._fd: int | None = os.open(path, FLAGS, 0o600)
        except FileExistsError:
            raise NetmonError(f"{self._name}: exists already; name another file, or remove it") from None
        except OSError as error:
            raise NetmonError(f"{self._name}: {error.strerror}") from None
        self._append(pack_header(header))
        if self.problem:
            self.close()
            raise NetmonError(self.problem)

    def batch(self, batch: Batch) -> None:
        """Record a batch, once: it may be given several times."""
        if batch.end == self._state.recorded or not batch.size:
            return
        with self._lock:
            if not self._append(pack_frame(Kind.BATCH, batch.data), batch.end):
                self.lost += _count_events(batch.data)
                self._state = self._state._replace(recorded=batch.end)

    def step(self, since: int, offset: int) -> None:
        """Record that UTC was set: when, and its offset from then on."""
        self._append(pack_frame(Kind.CLOCK, STEP.pack(since, offset)))

    def names(self, rules: NameRules | None) -> None:
        """Record which names of peers pass from now on."""
        payload = pack_json(pack_names(rules))
        if len(payload) <= MAX_FRAME:
            self._append(pack_frame(Kind.NAMES, payload))
            return
        with self._lock:
            if not self.problem and self._fd is not None:
                self._end(Losses(), whole=False)
                self.problem = f"{self._name}: has no room for a filter of so many names"

    def report(self, report: LossReport) -> None:
        """Record a report of lost events."""
        fields = {"losses": pack_losses(report.losses), "timestamp": report.timestamp}
        self._append(pack_frame(Kind.REPORT, pack_json(fields)))

    def recorded_cmdline(
        self, read: Callable[[int, int, str, bytes], bytes | None]
    ) -> Callable[[int, int, str, bytes], bytes | None]:
        """Return a function that reads a process's arguments as another one does, and records them."""

        def read_and_record(pid: int, start_time_ns: int, exe: str, comm: bytes) -> bytes | None:
            cmdline = read(pid, start_time_ns, exe, comm)
            self._append(pack_frame(Kind.CMDLINE, b"" if cmdline is None else NUL + cmdline))
            return cmdline

        return read_and_record

    def recorded_names(self, source: NameSource) -> NameSource:
        """Return a source of names that answers as another one does, and records the answers."""
        return RecordedNames(source, lambda answer: self._append(pack_frame(Kind.HOST_NAMES, pack_json(answer))))

    def recorded_waiting(self, count: Callable[[], int]) -> Callable[[], int]:
        """Return a function that counts the bytes that wait as another one does, and records them."""

        def count_and_record() -> int:
            waiting = count()
            self._append(pack_frame(Kind.WAITING, WAITING.pack(waiting)))
            return waiting

        return count_and_record

    def finish(self, losses: Losses) -> None:
        """End the recording; a forked child only closes its descriptor. losses: of the kernel half. Idempotent."""
        if os.getpid() != self._pid:
            self._close_fd()  # without the lock, which another thread may have held at the fork
            return
        with self._lock:
            if not self.problem and self._fd is not None:
                self._end(losses, whole=True)
            self.close()

    def discard(self) -> None:
        """Close and remove the file, after a start that has failed: the next one may use the name."""
        self.close()
        with suppress(OSError):
            os.unlink(self._name)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if os.getpid() != self._pid:
            self._close_fd()
            return
        with self._lock:
            self._close_fd()

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _append(self, frame: bytes, recorded: int | None = None) -> bool:
        """Write a frame; return whether that was possible. recorded: as of _State, for a batch."""
        with self._lock:
            if self.problem or self._fd is None:
                return False
            state = self._state
            if state.at + len(state.pending) + len(frame) > self._limit:
                self._end(Losses(), whole=False)
                self.problem = self.problem or f"{self._name}: has reached its limit of {self._limit + END_SIZE} bytes"
                return False
            end = state.recorded if recorded is None else recorded
            self._state = _State(state.at, state.pending + frame, end)
            return self._flush()

    def _end(self, losses: Losses, whole: bool) -> None:
        frame = pack_frame(Kind.END, pack_json({"losses": pack_losses(losses), "whole": whole}))
        state = self._state
        self._state = state._replace(pending=state.pending + frame)
        self._flush()

    def _flush(self) -> bool:
        """Write what is pending; return whether that was possible."""
        assert self._fd is not None
        try:
            while self._state.pending:
                at, pending, recorded = self._state
                written = os.pwrite(self._fd, pending, at)  # again at the same place, if a signal handler raises
                self._state = _State(at + written, pending[written:], recorded)
        except OSError as error:
            self.problem = f"{self._name}: {error.strerror}"
            with suppress(OSError):
                os.ftruncate(self._fd, self._whole)  # without a torn frame
            return False
        self._whole = self._state.at
        return True


def begin_recording(
    path: str | os.PathLike[str], limit: int, host: Host, watched: Watched, line_limit: int
) -> tuple[Recorder, Host]:
    """Create a recording; return its recorder, and a host whose answers are recorded.

    Args:
        path: The file. Nothing may have this name.
        limit: Bytes that it may have.
        host: What the decoder would ask.
        watched: What is recorded.
        line_limit: As of Monitor.

    Raises:
        NetmonError: The file exists, or cannot be created or written.
    """
    system = os.uname()
    header = Header(
        netmon=__version__,
        kernel=f"{system.release} {system.machine}",
        last_cap=host.last_cap,
        offset_ns=host.clock.offset,
        line_limit=line_limit,
        ingress=watched.ingress,
        egress=watched.egress,
        report=watched.report,
        boot_id=host.boot_id,
    )
    recorder = Recorder(path, header, limit)
    host.clock.on_step = recorder.step
    names = recorder.recorded_names(host.name_source) if host.name_source else None
    return recorder, host._replace(read_cmdline=recorder.recorded_cmdline(host.read_cmdline), name_source=names)


def _count_events(data: bytes) -> int:
    """Return how many of a batch's records are events of connections."""
    return sum(data[at + HEADER.size] not in NO_EVENTS for at in offsets_in(data))

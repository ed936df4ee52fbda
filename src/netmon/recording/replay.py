"""Replays a recording: a source of records for a Monitor, and what its decoder asks the host."""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from netmon.batch import Batch, offsets_in
from netmon.decode.clock import RecordedClock
from netmon.decode.decoder import Decoder
from netmon.decode.loss_report import LossReport
from netmon.errors import DecodeError, NetmonError
from netmon.filters.compiled import CompiledFilters, NameRules, Watched
from netmon.losses import Losses
from netmon.recording.form import (
    AGAIN,
    CONTAINER,
    USER,
    Header,
    Kind,
    unpack_json,
    unpack_losses,
    unpack_names,
    unpack_step,
    unpack_waiting,
)
from netmon.recording.reader import Frame, RecordingFile
from netmon.workload import Names, container_names

if TYPE_CHECKING:
    from typing import TypeVar

    from netmon.decode.processes import ProcessTable
    from netmon.decode.raw_event import Form
    from netmon.kernel.bpf import ProgramInfo
    from netmon.kernel.marks import FollowedProcess
    from netmon.names.naming import Naming

    T = TypeVar("T")

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
BEFORE_BATCH = (Kind.CLOCK, Kind.NAMES)
NOT_RUNNING = "this monitor replays a recording: nothing runs that could be "


class Recording:
    """A recording that may be replayed, as often as one likes.

    Attributes:
        header: What decoding needs to know.
        whole: Whether the last replay has found the end of the run: not while it goes on, nor after a kill or on a full
            disk.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read its header. Raises DecodeError, or NetmonError if it cannot be read."""
        self._path = path
        file = RecordingFile(path)
        self.header: Header = file.header
        self.whole = False
        file.close()

    @property
    def filters(self) -> CompiledFilters:
        """What a Monitor is told about what was watched."""
        return CompiledFilters(Watched(self.header.ingress, self.header.egress, self.header.report), b"")

    def open(self, _filters: CompiledFilters, _ring_size: int, *, aggregate: bool) -> RecordedSource:
        """Begin a replay. Raises DecodeError, or NetmonError if the file cannot be read."""
        self.whole = False
        return RecordedSource(RecordingFile(self._path), self)


class RecordedSource:
    """A source of records for a Monitor (netmon.reader.source.Source), and the answers to what its decoder asks."""

    def __init__(self, file: RecordingFile, recording: Recording) -> None:
        """Take over an open file."""
        self._recording = recording
        self._losses = Losses()
        self.clock = RecordedClock(file.header.offset_ns)
        self.last_cap = file.header.last_cap
        self.ring = RecordedBuffer(file, self)
        self.answers: deque[Frame] = deque()
        self.reports: deque[LossReport] = deque()
        self.filter_by: Callable[[NameRules | None], None] | None = None  # without names, nothing is filtered by them

    def take(self, frame: Frame) -> None:
        """Take a frame that follows a batch. Raises DecodeError."""
        if frame.kind == Kind.REPORT:
            self.reports.append(_unpack_report(frame.payload))
        elif frame.kind == Kind.END:
            fields = unpack_json(frame.payload)
            self._losses = unpack_losses(fields.get("losses"))
            self._recording.whole = fields.get("whole") is True
        else:
            self.answers.append(frame)

    def take_names(self, rules: NameRules | None) -> None:
        """Filter the next batches by names."""
        if self.filter_by is not None:
            self.filter_by(rules)

    def read_cmdline(self, _pid: int, _start_time_ns: int, _exe: str, _comm: bytes) -> bytes | None:
        """Return what was read from /proc then; None, too, if netmon was killed before it was recorded."""
        payload = self._answer(Kind.CMDLINE)
        return payload[1:] if payload else None

    def container(self, _subject: str) -> Names | None:
        """Return what was found of a container at first."""
        return self._names(CONTAINER)

    def container_again(self, _subject: str) -> Names | None:
        """Return what was found of a container later on, if it was asked for then."""
        return self._names(AGAIN)

    def _names(self, question: str) -> Names | None:
        names = self._name(question)
        return container_names(names) if isinstance(names, dict) else None

    def user(self, _uid: int) -> str | None:
        """Return a user's name."""
        name = self._name(USER)
        return name if isinstance(name, str) and name.isprintable() else None

    def _name(self, question: str) -> Any:
        """Return the next answer, if it is one to this question."""
        if self.answers and self.answers[0].kind == Kind.HOST_NAMES:
            answer = unpack_json(self.answers[0].payload)
            if question in answer:
                self.answers.popleft()
                return answer[question]
        return None

    def bytes_waiting(self) -> int:
        """Return how many bytes were waiting then."""
        payload = self._answer(Kind.WAITING)
        return unpack_waiting(payload) if payload else 0

    def _answer(self, kind: Kind) -> bytes | None:
        if not self.answers or self.answers[0].kind != kind:
            return None
        return self.answers.popleft().payload

    # Of a Reporter.

    def due(self) -> None:
        """Return that no report comes before a batch."""

    def prepare(self, ending: bool) -> None:
        """Prepare nothing."""

    def collect(self, drained: bool, ending: bool) -> list[LossReport]:
        """Return the reports that followed the batch."""
        reports = list(self.reports)
        self.reports.clear()
        return reports

    # Of a Source.

    def attach(self) -> None:
        """Begin nothing."""

    def detach(self) -> None:
        """End nothing: what was recorded is read to its end."""

    def close(self) -> None:
        """Close the file. Idempotent."""
        self.ring.close()

    def follow(self, pid: int) -> None:
        """Refuse."""
        raise NetmonError(f"{NOT_RUNNING}followed")

    def followed(self) -> list[FollowedProcess]:
        """Return that no processes are followed."""
        return []

    def report_existing(self) -> bool:
        """Return that no connections are open."""
        return False

    def swap_filters(self, filters: CompiledFilters) -> None:
        """Refuse."""
        raise NetmonError(f"{NOT_RUNNING}filtered")

    def set_oldest_process_id(self, process_id: int) -> None:
        """Do nothing: what the kernel described again is in the recording."""

    def read_losses(self) -> Losses:
        """Return what the kernel half had lost at the end of the run, once that is read."""
        return self._losses

    @property
    def blind(self) -> str:
        """Return that records came."""
        return ""

    @property
    def flows_are_many(self) -> bool:
        """Whether there are many flows: there are none."""
        return False

    def report_open(self, *, anew: bool = False) -> bool:
        """Report nothing: what was reported of open connections is recorded."""
        return False

    @property
    def inexact(self) -> str:
        """Nothing: what netmon said of it is not recorded."""
        return ""

    def take_flows(self) -> list[tuple[bytes, bytes]]:
        """Return no flows."""
        return []

    def program_infos(self) -> list[ProgramInfo]:
        """Return that no programs are loaded."""
        return []


class RecordedBuffer:
    """The batches of a recording (netmon.reader.source.RecordBuffer)."""

    def __init__(self, file: RecordingFile, source: RecordedSource) -> None:
        """Begin at the first batch."""
        self._file = file
        self._source = source
        self._next: Frame | None = file.read_frame()
        self._fd: int | None = os.eventfd(1, os.EFD_CLOEXEC)  # readable for ever
        self.batch = Batch(b"", (), 0, 0)
        self.place = ""

    def fileno(self) -> int:
        """Return a descriptor that is readable."""
        if self._fd is None:
            raise NetmonError("the recording is closed")
        return self._fd

    @property
    def waiting(self) -> int:
        """How many bytes wait: unknown."""
        return 0

    def fill(self, limit: int) -> bool:
        """Read the next batch, and what was asked and reported while it was decoded; return whether more follows."""
        data, offsets = b"", []
        frame = self._next
        self._source.answers.clear()  # each batch has its own
        try:
            while frame is not None and frame.kind in BEFORE_BATCH:
                if frame.kind == Kind.CLOCK:
                    self._source.clock.step(*unpack_step(frame.payload))
                else:
                    self._source.take_names(unpack_names(unpack_json(frame.payload)))
                frame = self._file.read_frame()
            if frame is not None and frame.kind == Kind.BATCH:
                data, offsets = frame.payload, offsets_in(frame.payload)
                self.place = f"{self._file.name}: damaged in the batch at byte {frame.at}"
                frame = self._file.read_frame()
            while frame is not None and frame.kind not in (*BEFORE_BATCH, Kind.BATCH):
                if frame.kind == Kind.HEADER:
                    raise DecodeError("there is a second header")
                self._source.take(frame)
                frame = None if frame.kind == Kind.END else self._file.read_frame()
        except DecodeError as error:
            self._next = None
            if frame is None or str(error).startswith(self._file.name):
                raise
            raise self._file.error(frame.at, str(error)) from None
        self._next = frame
        self.batch = Batch(data, offsets, self.batch.end + len(data), self.batch.count + len(offsets))
        return frame is not None

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class RecordedDecoder(Decoder):
    """A decoder whose errors name the place in the file."""

    def __init__(
        self, clock: RecordedClock, processes: ProcessTable, buffer: RecordedBuffer, naming: Naming | None = None
    ) -> None:
        """Make a decoder. buffer: where its batches come from; naming: as of Decoder."""
        super().__init__(clock, processes, naming)
        self._buffer = buffer

    def _decode(self, batch: Batch, form: Form[T], longest: int = sys.maxsize) -> Iterator[T]:
        try:
            yield from super()._decode(batch, form, longest)
        except DecodeError as error:
            raise DecodeError(f"{self._buffer.place}: {error}") from None


def _unpack_report(payload: bytes) -> LossReport:
    fields: dict[str, Any] = unpack_json(payload)
    timestamp = fields.get("timestamp")
    if not isinstance(timestamp, str) or not TIMESTAMP.fullmatch(timestamp):
        raise DecodeError("a report has no time")
    return LossReport(unpack_losses(fields.get("losses")), timestamp)

"""The library's entry: a Monitor yields events about the TCP connections of this host."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, cached_property
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar, cast

from netmon.arguments import check_arguments
from netmon.batch import Batch
from netmon.decode.clock import Clock
from netmon.errors import ArgumentError, NetmonError
from netmon.filters.compile import compile_filters
from netmon.kernel import procfs
from netmon.kernel.features import is_new_enough
from netmon.kernel.probes import Probes
from netmon.kernel.refusals import explaining_refusals
from netmon.limits import (
    DEFAULT_BATCH_DELAY,
    DEFAULT_LINE_LIMIT,
    DEFAULT_RECORD_LIMIT,
    DEFAULT_RING_SIZE,
)
from netmon.log import debug_logger
from netmon.losses import NO_COUNTS, Losses
from netmon.reader.reader import Reader
from netmon.reader.reporters import LossReporter, Reporter
from netmon.reader.source import Host
from netmon.reader.stream import Stream
from netmon.reader.wakeup import bounded, deadline_in

if TYPE_CHECKING:
    from netmon.command.run import CommandRun, Stdio
    from netmon.config import Config
    from netmon.decode.decoder import Decoder
    from netmon.decode.flows import FlowSummary
    from netmon.decode.loss_report import LossReport
    from netmon.decode.processes import ProcessTable
    from netmon.decode.raw_event import RawEvent
    from netmon.decode.workloads import NameSource
    from netmon.events import Event, NetworkEvent
    from netmon.filters.compiled import CompiledFilters, Watched
    from netmon.kernel.bpf import ProgramInfo
    from netmon.kernel.cmdline_reader import CmdlineReader
    from netmon.kernel.marks import FollowedProcess
    from netmon.names.naming import Naming
    from netmon.reader.flow_reporter import FlowReporter
    from netmon.reader.reporters import ReportedEvent
    from netmon.reader.source import OpenSource, Source
    from netmon.recording.replay import Recording
    from netmon.recording.writer import Recorder
    from netmon.rules.apply import RuledEvents

T = TypeVar("T")

RECORDING = "recording"  # its name among outputs


def _record_nothing(_batch: Batch) -> None:
    """Without a recording, record nothing."""


def _cmdline_reader(boot_offset_ns: int) -> Callable[[int, int, str, bytes], bytes | None]:
    """Return what reads the argv of live processes. It is imported when it is needed, as the decoder is."""

    @cache
    def reader() -> CmdlineReader:
        from netmon.kernel.cmdline_reader import CmdlineReader

        return CmdlineReader(boot_offset_ns)

    return lambda pid, start_time_ns, exe, comm: reader().read(pid, start_time_ns, exe, comm)


def _name_source() -> NameSource:
    """Return what knows the names of containers and users."""
    from netmon.kernel.workload_reader import WorkloadReader  # seldom needed

    return WorkloadReader()


class Counters(NamedTuple):
    """What a monitor has read since its start, and what it holds now.

    Attributes:
        connection_events: Connection events handed on.
        bytes_read: Bytes read from the ring buffer.
        bytes_waiting: Bytes in the ring buffer that were not read yet.
        processes_described: Descriptions of processes read.
        processes_known: Processes known now.
        summaries: NetworkSummary events handed on.
    """

    connection_events: int = 0
    bytes_read: int = 0
    bytes_waiting: int = 0
    processes_described: int = 0
    processes_known: int = 0
    summaries: int = 0


class Monitor:
    """Watches TCP connections while it is open, and yields an event for each that opens or closes.

        with Monitor() as monitor:
            for event in monitor:
                print(event.process.binary_path, event.network_event.daddr)

    Iterate by `for`, or in asyncio by `async for`. In another event loop, call poll() when fileno() is readable.

    One thread at a time reads. Any thread may call stop() and close(), and read `losses` and `counters`; signal
    handlers may call stop(). A forked child can only close the monitor. Monitors are independent of each other.
    """

    def __init__(
        self,
        config: Config | CompiledFilters | None = None,
        *,
        any_kernel: bool = False,
        ring_size: int = DEFAULT_RING_SIZE,
        batch_delay: float = DEFAULT_BATCH_DELAY,
        line_limit: int = DEFAULT_LINE_LIMIT,
        aggregate: float | None = None,
        lost_events: bool = True,
        argv: bool = False,
        output_losses: Callable[[], Mapping[str, int]] | None = None,
        record: str | os.PathLike[str] | None = None,
        record_limit: int = DEFAULT_RECORD_LIMIT,
        open_source: OpenSource = Probes,
    ) -> None:
        """Prepare a monitor; nothing is loaded before start() or the with statement.

        Args:
            config: What to watch. None watches everything without code that filters, so reload() cannot add filters
                later; Config.everything() watches everything and can be reloaded. CompiledFilters are what the command
                gives: another process has compiled them, and a monitor can be started with them once.
            any_kernel: Try on a kernel older than netmon supports.
            ring_size: Size of the buffer between kernel and reader in bytes: a power of two, from a page to 1 GiB.
            batch_delay: Seconds that a first event waits for others to be read with it, at most; from 0 to 10.
            line_limit: Bytes that an event's line may have, from 16 to 48 KiB: the texts of processes are cut so that
                it is no longer, in models, too, and the event says so.
            aggregate: Seconds of a period, from 1 to 86,400: aggregate connections in the kernel, and report the
                aggregates of each period in place of connection events. None: do not aggregate.
            lost_events: Report losses as LostEvents in events(), json_lines() and poll(), too.
            argv: Add the arguments of each process as a list, `argv`.
            output_losses: For a program that passes events on to outputs of its own: returns how many events each
                output has lost so far, by the output's name. They are reported with the monitor's own losses. It is
                called in the reading thread, and in any thread that reads `losses`.
            record: A file to create, for the raw records: replay() makes the same events of them.
            record_limit: Bytes that the file may have, at least 1 MiB. Beyond, and on a full disk, the monitor goes on
                without it: see `record_problem`.
            open_source: Opens the source of the records: the kernel's probes, unless a test brings its own.

        Raises:
            ValueError: A size or a time is out of its range, or config has options that exclude aggregation.
            TypeError: An argument is of another type: a dict or a path in place of a Config, say.
            ConfigError: A path in config is not a network namespace.
        """
        check_arguments(config, ring_size, batch_delay, line_limit, aggregate, record, record_limit)
        self._filters = compile_filters(config)
        watched = self._filters.watched
        if aggregate is not None and (excluded := watched.report.not_with_aggregate()):
            raise ArgumentError(
                "aggregate", f"cannot be combined with {', '.join(excluded)}; leave one or the other out"
            )
        self._any_kernel = any_kernel
        self._ring_size = ring_size
        self._batch_delay = batch_delay
        self._line_limit = line_limit
        self._period = aggregate
        self._reports_losses = lost_events
        self._with_argv = argv
        self._output_losses = output_losses or (lambda: NO_COUNTS)
        self._record = record
        self._record_limit = record_limit
        self._open_source = open_source
        self._recording: Recording | None = None  # that is replayed
        # Another thread may set it to None at any time, by close(): each method reads it once.
        self._reader: Reader | None = None
        self._final_losses = Losses()
        self._final_counters = Counters()
        self._recorder: Recorder | None = None
        self._stopped = False
        self._ruled = self._make_rules(self._filters)
        self._unreported = 0  # events that rules left out which are in force no more

    @classmethod
    def replay(cls, path: str | os.PathLike[str], *, argv: bool = False) -> Monitor:
        """Return a monitor that gives a recording's events, without a kernel.

        It is started and read like any other, and finished once all is read. What needs a kernel raises NetmonError.

        Args:
            path: The file, which Monitor(record=path) or `netmon run --record` has made.
            argv: Add the arguments of each process as a list, `argv`.

        Raises:
            DecodeError: It is no recording, or one that this version of netmon cannot use. While iterating: it is
                damaged; the message names the place.
            NetmonError: The file cannot be read.
        """
        from netmon.recording.replay import Recording  # seldom needed

        recording = Recording(path)
        monitor = cls(any_kernel=True, batch_delay=0, line_limit=recording.header.line_limit, argv=argv)
        monitor._recording = recording
        monitor._filters = recording.filters
        return monitor

    @classmethod
    def exec(
        cls,
        arguments: Sequence[str],
        config: Config | None = None,
        *,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        wait_all: bool = False,
        **options: Any,
    ) -> CommandRun[Monitor]:
        """Run a command, and report the connections of it and of all its descendants, from the first instruction on.

        Args:
            arguments: The command and its arguments. No shell reads them.
            config: What to report; None: everything. It may filter, but `process_filter` follows the command alone.
            stdin: An open file, a descriptor or subprocess.DEVNULL in place of this process's own.
            stdout: Likewise.
            stderr: Likewise, or subprocess.STDOUT.
            cwd: The directory to run it in.
            env: Its environment, in place of this process's own.
            wait_all: Whether iterations go on until the command's descendants have ended, too.
            **options: Further arguments of Monitor.

        Returns:
            A run, to be used in a with statement. Nothing is started before that.

        Raises:
            ValueError: An argument has a value that cannot be used.
        """
        from netmon.command.run import CommandRun  # seldom needed
        from netmon.config.following import following

        following(config, os.getpid())  # refuses what is wrong before anything is started
        cls(config, **options)
        return CommandRun(
            arguments,
            lambda pid: cls(following(config, pid), **options),
            stdio={"stdin": stdin, "stdout": stdout, "stderr": stderr},
            cwd=cwd,
            env=env,
            wait_all=wait_all,
        )

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        raise TypeError("a monitor cannot be pickled: make one in each process, or pass the events on")

    def __enter__(self) -> Monitor:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Load and attach the probes, as entering the with statement does.

        Raises:
            KernelError: The kernel is too old for netmon (see any_kernel), or has no BTF.
            LibbpfError: libbpf is missing or too old.
            BpfError: The kernel refuses, for lack of a capability, say; the message says what to do.
            ConfigError: A process that config follows does not run.
            NetmonError: The monitor has been started already, or the system lacks a resource, such as descriptors.
        """
        if self._reader is not None:
            raise NetmonError("this monitor has been started already")
        release = os.uname().release
        if not (self._any_kernel or is_new_enough(release)):
            from netmon.kernel.requirements import require_kernel  # seldom needed

            require_kernel(release)
        with explaining_refusals(), ExitStack() as resources:
            self._start(resources)
            resources.pop_all()  # the reader closes them from now on
            self._filters.release()
        self._log("started")

    def _start(self, resources: ExitStack) -> None:
        self._recorder = None
        for name in ("_decoder", "_processes", "_naming"):  # those of an earlier start
            self.__dict__.pop(name, None)
        if self._recording is not None:
            self._start_replay(self._recording, resources)
            return
        source = self._open_source(self._filters, self._ring_size, aggregate=self._period is not None)
        resources.callback(source.close)
        boot_offset_ns = procfs.read_boot_offset()
        host = Host(
            Clock(boot_offset_ns),
            procfs.read_last_cap(),
            _cmdline_reader(boot_offset_ns),
            _name_source() if self._filters.watched.report.workload else None,
            procfs.read_boot_id() if self._filters.watched.report.id else "",
        )
        bytes_waiting = self._bytes_waiting
        if self._record is not None:
            from netmon.recording.writer import begin_recording  # seldom needed

            recorder, host = begin_recording(
                self._record, self._record_limit, host, self._filters.watched, self._line_limit
            )
            self._recorder = recorder
            if self._filters.names is not None:
                recorder.names(self._filters.names)
            resources.callback(recorder.discard)
            bytes_waiting = recorder.recorded_waiting(bytes_waiting)
        self._clock = host.clock
        self._make_processes: Callable[[], ProcessTable] = lambda: self._make_table(host, bytes_waiting)
        self._flows: FlowReporter | None = None
        reporters: list[Reporter] = []
        if self._period is not None:
            from netmon.reader.flow_reporter import FlowReporter  # only this mode needs it

            self._flows = FlowReporter(self._period, source, self._processes, host.clock)
            reporters.append(self._flows)
        if self._reports_losses:  # the last one, since the other may lose something
            reporters.append(LossReporter(source, self._count_unknown, host.clock, self._outputs_lost))
        report = self._filters.watched.report
        progress = report.progress if report.sends_progress else None
        self._begin(source, host.clock, reporters, self._batch_delay, progress)

    def _start_replay(self, recording: Recording, resources: ExitStack) -> None:
        """Start to replay, stopped from the start: all records are there already, and it ends after the last one."""
        from netmon.recording.replay import RecordedDecoder

        source = recording.open(self._filters, self._ring_size, aggregate=False)
        resources.callback(source.close)
        names = source if self._filters.watched.report.workload else None
        host = Host(source.clock, source.last_cap, source.read_cmdline, names, recording.header.boot_id)
        self._processes = self._make_table(host, source.bytes_waiting)
        self._decoder = RecordedDecoder(source.clock, self._processes, source.ring, self._naming)
        source.filter_by = self._naming.filter_by if self._naming is not None else None
        self._flows = None
        self._begin(source, source.clock, [source], batch_delay=0, progress=None)
        self.stop()

    def _make_table(self, host: Host, bytes_waiting: Callable[[], int]) -> ProcessTable:
        from netmon.decode.processes import ProcessTable  # imported late: see _decoder

        report = self._filters.watched.report
        return ProcessTable(
            host.clock,
            host.last_cap,
            read_cmdline=host.read_cmdline,
            bytes_waiting=bytes_waiting,
            set_oldest=self._set_oldest,
            line_limit=self._line_limit,
            roles=1 + report.parent + report.opener,
            evict_on_add=self._period is None,
            with_cgroup=report.context,
            with_exec=report.exec,
            with_argv=self._with_argv,
            naming=self._naming,
            name_source=host.name_source,
            boot_id=host.boot_id,
            with_ancestors=bool(report.ancestors),
        )

    def _bytes_waiting(self) -> int:
        reader = self._reader
        return reader.waiting if reader is not None else 0

    def _set_oldest(self, process_id: int) -> None:
        if (reader := self._reader) is not None:
            reader.set_oldest(process_id)

    def _begin(
        self, source: Source, clock: Clock, reporters: list[Reporter], batch_delay: float, progress: float | None
    ) -> None:
        """Attach the source, and begin to read."""
        self._reports: deque[ReportedEvent] = deque()
        self._polled: list[Event] = []
        source.attach()
        record = self._recorder.batch if self._recorder is not None else _record_nothing
        reader = Reader(source, clock, self._note_read, reporters, self._ring_size, batch_delay, progress, record)
        reader.set_timer(reporters)
        self._reader = reader
        if self._stopped:  # stop() was called before there was a reader
            reader.stop()

    @cached_property
    def _decoder(self) -> Decoder:
        """The decoder. It is imported when it is needed, not before the probes are attached.

        Only the thread that reads makes it: any other one looks at _decoder_counts.
        """
        from netmon.decode.decoder import Decoder

        decoder = Decoder(self._clock, self._processes, self._naming)
        decoder.ruled = self._ruled
        return decoder

    @cached_property
    def _naming(self) -> Naming | None:
        """What adds names to events; None without the option. Only the thread that reads makes it."""
        report = self._filters.watched.report
        if not (report.names or report.sni):
            return None
        from netmon.names.naming import Naming  # only these options need it

        naming = Naming(reports_names=report.sends("name"))
        naming.filter_by(self._filters.names)
        return naming

    @property
    def _named(self) -> tuple[int, int, int, int]:
        """How many answers gave no name, how many names were forgotten, records gave no event, hellos gave no name."""
        made: Naming | None = self.__dict__.get("_naming")
        if made is None:
            return 0, 0, 0, 0
        return made.unused, made.evicted, made.answers + made.hellos + made.dropped, made.unused_hellos

    def _make_rules(self, filters: CompiledFilters) -> RuledEvents | None:
        """Return what applies the rules, if there are any."""
        if not filters.rules:
            return None
        from netmon.rules.apply import RuledEvents  # most runs have none

        return RuledEvents(filters.rules, filters.watched)

    @cached_property
    def _processes(self) -> ProcessTable:
        """The processes. Only the thread that reads makes the table: any other one looks at _known."""
        return self._make_processes()

    @property
    def _known(self) -> ProcessTable | None:
        """The processes, if there is a table yet."""
        made: ProcessTable | None = self.__dict__.get("_processes")
        return made

    def _note_read(self, size: int) -> None:
        self._processes.note_consumed(size)

    @property
    def _decoder_counts(self) -> tuple[int, int]:
        """How many events the decoder, if there is one yet, has dropped, and reported without their opener."""
        made: Decoder | None = self.__dict__.get("_decoder")
        return (made.unknown_process, made.unknown_opener) if made else (0, 0)

    def close(self) -> None:
        """Detach the probes and free everything. Idempotent.

        Events that were not read are gone, and an iteration in another thread ends. Any thread may call it, but no
        signal handler: call stop() there.
        """
        reader = self._reader
        if reader is None:
            return
        try:
            self._final_losses, self._final_counters = self.losses, self.counters
            if self._recorder is not None:
                self._recorder.finish(reader.read_losses() or Losses())
        finally:
            if self._recorder is not None:
                self._recorder.close()
            self._reader = None
            self._stopped = False
            reader.close()
        self._log("closed: %s, %s", self._final_losses, self._final_counters)

    def stop(self) -> None:
        """Make the iteration detach the probes, yield the events reported by then, and end.

        Any thread or signal handler may call it, before start(), too.
        """
        self._stopped = True
        if (reader := self._reader) is not None:
            reader.stop()

    def reload(self, config: Config | CompiledFilters | None) -> None:
        """Filter connections that open from now on by another configuration; open connections keep their verdicts.

        The filters are swapped at once. Call it in the reading thread. After an error the old filters stay in force.

        Args:
            config: Differs from the configuration in force in its filters only.

        Raises:
            NetmonError: More than filters differ, or the monitor was started without a configuration
                (Config.everything() is one), or it is not running.
            ConfigError: A path in config is not a network namespace.
            BpfError: The kernel refuses, for lack of memory, say.
        """
        self.prepare_reload(config)()

    def prepare_reload(self, config: Config | CompiledFilters | None) -> Callable[[], None]:
        """Do the part of reload() that can take long: long lists, and paths whose file system does not answer.

        Any thread may call it, so that the reading thread does not wait.

        Args:
            config: As of reload().

        Returns:
            A function that does the rest, and raises what reload() does. Call it in the reading thread.

        Raises:
            ConfigError: A path in config is not a network namespace.
        """
        filters = compile_filters(config)
        ruled = self._make_rules(filters)

        def swap() -> None:
            try:
                self._running().source.swap_filters(filters)
            finally:
                filters.release()
            self._filters = filters
            if self._naming is not None:
                self._naming.filter_by(filters.names)
                if self._recorder is not None:
                    self._recorder.names(filters.names)
            self._swap_rules(ruled)
            self._log("reloaded")

        return swap

    def _swap_rules(self, ruled: RuledEvents | None) -> None:
        """Judge the events from now on by other rules."""
        if ruled is not None and self._ruled is not None:
            ruled.judge.inherit(self._ruled.judge)
        self._unreported += self._ruled.judge.dropped if self._ruled is not None and ruled is None else 0
        self._ruled = ruled
        decoder: Decoder | None = self.__dict__.get("_decoder")
        if decoder is not None:
            decoder.ruled = ruled

    @property
    def rule_counts(self) -> Mapping[str, int]:
        """How many connections each rule has matched since the rules were put in force, in their order."""
        return self._ruled.judge.counts if self._ruled is not None else {}

    @property
    def watched(self) -> Watched:
        """What is watched: directions and report options, which no reload changes."""
        return self._filters.watched

    @property
    def stopped(self) -> bool:
        """Whether stop() was called since the last close()."""
        return self._stopped

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to read: stopped and all read, or not running."""
        reader = self._reader
        if reader is None:
            return True
        return reader.finished and not (reader.batch.left or self._reports or self._polled)

    @property
    def losses(self) -> Losses:
        """What has been lost since the start, by reason; stays readable after close()."""
        reader = self._reader
        losses = reader.read_losses() if reader is not None else None
        if losses is None:
            losses = self._final_losses
        elif (processes := self._known) is not None:  # without them nothing has been decoded
            losses = losses._replace(
                unknown_process=self._count_unknown(),
                path_incomplete=losses.path_incomplete + processes.path_incomplete,
                args_incomplete=losses.args_incomplete + processes.args_incomplete,
                cgroup_incomplete=losses.cgroup_incomplete + processes.cgroup_incomplete,
                exec_incomplete=processes.exec_incomplete,
                workload_unknown=processes.workload_unknown,
                unknown_opener=self._decoder_counts[1],
                answers_unused=self._named[0],
                names_evicted=self._named[1],
                hellos_unused=self._named[3],
                unknown_rules=self._ruled.judge.forgotten if self._ruled is not None else 0,
            )
        return losses._replace(outputs=dict(self._outputs_lost()))

    def _outputs_lost(self) -> Mapping[str, int]:
        recorder = self._recorder
        lost = {RECORDING: recorder.lost} if recorder is not None and recorder.lost else {}
        return {**self._output_losses(), **lost}

    @property
    def recording(self) -> Recording | None:
        """The recording that this monitor replays: its `header`, and whether it is `whole`; None if it watches."""
        return self._recording

    @property
    def record_problem(self) -> str:
        """Why the recording (see `record`) has ended before the monitor; "" if it has not.

        `losses.outputs` counts the events that are missing there, as those of `recording`.
        """
        return self._recorder.problem if self._recorder is not None else ""

    @property
    def blind(self) -> str:
        """Why the kernel runs none of netmon's programs although they are attached, and what to do; "" if it runs them.

        `losses.blind_ms` counts the time, and LostEvents report it.
        """
        reader = self._reader
        return reader.blind if reader is not None else ""

    @property
    def inexact(self) -> str:
        """Why the bytes of closes may be off by what was sent or received meanwhile; "" if they are exact.

        Nearly all kernels let netmon read them with the socket's lock held. "" without `statistics` or aggregation.
        """
        reader = self._reader
        return reader.inexact if reader is not None else ""

    @property
    def counters(self) -> Counters:
        """What has been read since the start, and what is held now; stays readable after close()."""
        reader = self._reader
        if reader is None:
            return self._final_counters
        processes = self._known
        described, others = (processes.described, processes.others_added) if processes is not None else (0, 0)
        decoded = reader.batch.count - reader.batch.left - self._named[2]
        return Counters(
            connection_events=decoded - described - others - self._decoder_counts[0] - self._left_out,
            bytes_read=reader.batch.end,
            bytes_waiting=reader.waiting,
            processes_described=described,
            processes_known=len(processes) if processes is not None else 0,
            summaries=self._flows.summaries if self._flows else 0,
        )

    def program_infos(self) -> list[ProgramInfo]:
        """Return what the kernel reports about each loaded BPF program.

        Any thread may call it. Raises BpfError, and NetmonError unless running.
        """
        return self._running().program_infos()

    def follow(self, pid: int) -> None:
        """Follow a further process, with its descendants: report their connections from now on.

        The monitor must have been started with a configuration that has `process_filter.descendants`. Call it in the
        reading thread.

        Args:
            pid: The id of a process that runs.

        Raises:
            NetmonError: The configuration follows no descendants, or the monitor is not running.
            ConfigError: The process does not run, or is a thread.
            BpfError: The kernel refuses.
        """
        self._running().source.follow(pid)

    def followed(self) -> list[FollowedProcess]:
        """Return the processes that are followed, and that have not ended.

        They are those of `process_filter.pid` and `.descendants`, those given to follow(), and their descendants.

        Any thread may call it. Raises BpfError, and NetmonError unless running.
        """
        return self._running().source.followed()

    @property
    def _left_out(self) -> int:
        """How many events the rules have left out."""
        ruled = self._ruled
        return self._unreported + (ruled.judge.dropped if ruled is not None else 0)

    def _count_unknown(self) -> int:
        return self._decoder_counts[0] + (self._flows.unknown_process if self._flows else 0)

    def __iter__(self) -> Iterator[NetworkEvent]:
        """Yield connection events until stop(): connection_events() without a timeout."""
        return iter(self.connection_events())

    def __aiter__(self) -> AsyncIterator[NetworkEvent]:
        """Yield connection events until stop(), in asyncio's event loop; no thread is started."""
        return aiter(self.connection_events())

    def connection_events(self, timeout: float | None = None) -> Stream[NetworkEvent]:
        """Yield connection events until stop(), or until none came for a time.

        Args:
            timeout: Seconds without events after which the iteration ends; None: never.

        Returns:
            A stream to iterate over by `for` or `async for`. An iteration that is broken off can be resumed, in
            another form, too: nothing is lost in between.

        Raises:
            NetmonError: In aggregate mode, which has no connection events; while iterating: the monitor is not
                running, another thread or task reads it, or this is a forked child.
        """
        return self._connection_stream(lambda batch: self._decoder.events(batch), timeout)

    def raw_events(self, timeout: float | None = None) -> Stream[list[RawEvent]]:
        """Yield batches of connection events as the kernel's records hold them: the cheapest form.

        Args:
            timeout: Seconds without events after which the iteration ends; None: never.

        Returns:
            A stream of lists of RawEvents, to iterate over by `for` or `async for`.

        Raises:
            NetmonError: As connection_events() does.
        """
        return self._connection_stream(lambda batch: self._decoder.raw_events(batch), timeout)

    def events(self, timeout: float | None = None) -> Stream[Event]:
        """Yield events of every type: NetworkEvent, LostEvents and, in aggregate mode, NetworkSummary.

        Args:
            timeout: Seconds without records after which the iteration ends; None: never.

        Returns:
            A stream to iterate over by `for` or `async for`, as of connection_events().

        Raises:
            NetmonError: While iterating: the monitor is not running, another thread or task reads it, or this is a
                forked child.
        """
        return Stream(self._running, self._decode_events, timeout)

    def json_lines(self, timeout: float | None = None) -> Stream[list[str]]:
        """Yield batches of events of every type as lines of JSON, each with its newline.

        For passing events on: it takes a fraction of the time that the models take.

        Args:
            timeout: Seconds without records after which the iteration ends; None: never.

        Returns:
            A stream of lists of lines, to iterate over by `for` or `async for`. A list may be empty: the monitor has
            read something that gave no event, and returns control to the caller.

        Raises:
            NetmonError: As events() does.
        """
        return Stream(self._running, self._decode_json, timeout)

    def fileno(self) -> int:
        """Return a file descriptor that is readable while poll() has something to do, for another event loop.

        It is valid until close(), and not for reading.

        Raises:
            NetmonError: The monitor is not running, or this is a forked child.
        """
        return self._running().fileno()

    def poll(self, timeout: float | None = None) -> list[Event]:
        """Return the events of every type that have come, waiting for a first one if there is none.

        Args:
            timeout: Seconds to wait at most; 0: do not wait; None: wait without end.

        Returns:
            The events; an empty list when none came within the timeout, and when all were read after stop() (see
            finished).

        Raises:
            NetmonError: The monitor is not running, another thread reads it, or this is a forked child.
        """
        reader = self._running()
        reporters, deadline = reader.reporters, deadline_in(bounded(timeout))
        while True:
            # One by one: events that were decoded before an exception, such as a signal handler's, are kept.
            self._polled.extend(self._decode_events(reader.batch))
            if self._polled:
                break
            if reader.must_wait and not reader.wait(reporters, deadline, gather_until=deadline):
                break
            if not reader.read(reporters):
                break
        reader.set_timer(reporters)
        events, self._polled = self._polled, []
        return events

    def _log(self, message: str, *values: object) -> None:
        if logger := debug_logger("netmon.monitor"):
            logger.debug(message, *values)

    def _running(self) -> Reader:
        """Return the reader. Raises NetmonError when the monitor is not running, and in a forked child."""
        reader = self._reader
        if reader is None:
            raise NetmonError("this monitor is not running: use it in a with statement")
        reader.require_own()
        return reader

    def _connection_stream(self, decode: Callable[[Batch], Iterator[T]], timeout: float | None) -> Stream[T]:
        if self._period is not None:
            raise NetmonError("there are no connection events in aggregate mode: iterate over events()")
        return Stream(self._running, decode, timeout, reporting=False)

    # Both forget a report without a call between that and the yield: after a call a signal handler may raise, and the
    # report would be lost.

    def _decode_events(self, batch: Batch) -> Iterator[Event]:
        yield from self._decoder.events(batch)
        self._collect_reports()
        while self._reports:
            event = self._reports[0].model()
            del self._reports[0]
            yield event

    def _decode_json(self, batch: Batch) -> Iterator[list[str]]:
        yield from self._decoder.json_lines(batch)
        self._collect_reports()
        if not self._reports and batch.size:
            # In aggregate mode, batch after batch may hold descriptions of processes alone.
            yield []
        while lines := next(self._decoder.chunks_of_lines(report.json() for report in self._reports), None):
            self._reports = deque(islice(self._reports, len(lines), None))
            yield lines

    def _collect_reports(self) -> None:
        """Add the reports that are due once a batch is decoded to those that an earlier iteration left."""
        if (reader := self._reader) is not None:
            before = len(self._reports)
            reader.collect(self._reports)
            if self._ruled is not None and self._flows is not None:
                self._rule_summaries(self._ruled, before)
            if self._recorder is not None:
                for report in islice(self._reports, before, None):
                    self._recorder.report(cast("LossReport", report))  # there are no others without aggregation

    def _rule_summaries(self, ruled: RuledEvents, first: int) -> None:
        """Apply the rules to the aggregates among the reports from a first one on."""
        new = [self._reports.pop() for _ in range(len(self._reports) - first)]
        for report in reversed(new):
            kept = ruled.summary(cast("FlowSummary", report)) if hasattr(report, "flow") else report
            if kept is not None:
                self._reports.append(kept)

"""The library's way in: a Monitor yields what happens to TCP connections on this host."""

from __future__ import annotations

import mmap
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from netmon.batch import Batch
from netmon.decode.clock import Clock
from netmon.decode.decoder import Decoder, RawEvent
from netmon.decode.processes import ProcessTable
from netmon.errors import BpfError, NetmonError
from netmon.filters.compile import compile_filters
from netmon.kernel import procfs
from netmon.kernel.probes import Probes
from netmon.kernel.requirements import explain_refusal, require_kernel
from netmon.log import debug_logger
from netmon.losses import NO_OUTPUTS, Losses
from netmon.reader.reader import Reader, Stream, bounded
from netmon.reader.reporters import MIN_PERIOD, FlowReporter, LossReporter, Report, Reporter
from netmon.reader.wakeup import deadline_in

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.events import Event, NetworkEvent

T = TypeVar("T")

DEFAULT_RING_SIZE = 4 << 20  # bytes: about 75,000 events

MAX_RING_SIZE = 1 << 30

# How long (seconds) a first event waits for others to be read with it, unless the ring buffer fills too fast for that.
BATCH_DELAY = 0.08
MAX_BATCH_DELAY = 10.0
MAX_PERIOD = 86400.0  # of aggregate mode, in seconds


class Counters(NamedTuple):
    """What a monitor has done since its start, and what it holds."""

    events: int = 0  # connection events handed on
    bytes: int = 0  # read from the ring buffer
    waiting: int = 0  # bytes in the ring buffer, not yet read
    described: int = 0  # descriptions of processes read
    processes: int = 0  # processes known now


class Monitor:
    """Watches TCP connections from entering to leaving its context.

        with Monitor(Config.everything()) as monitor:
            for event in monitor:
                print(event.process.binary_path, event.network_event.daddr)

    Iterate by `for`, or in asyncio by `async for`; or have run() call back, or poll() when fileno() is readable.

    One thread at a time reads; stop() and close() may be called from any, stop() from signal handlers, too. Monitors
    are independent of each other. A forked child can only close what it was given. Entering raises a NetmonError:
    KernelError when this kernel is too old (any_kernel=True tries anyway), BpfError when the kernel refuses,
    LibbpfError when libbpf is missing.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        any_kernel: bool = False,
        ring_size: int = DEFAULT_RING_SIZE,
        batch_delay: float = BATCH_DELAY,
        aggregate: float | None = None,
        lost_events: bool = True,
        output_losses: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        """config: what to watch; everything when None. ring_size: bytes, a power of two from a page to 1 GiB.

        batch_delay: seconds that a first event waits for others to be read with it. aggregate: sum up connections in
        the kernel and report the sums each so many seconds, instead of events. lost_events: tell of losses among the
        events (of all but events() and raw_events()), too. output_losses: returns how many events each output of the
        caller has lost so far, by the output's name; they are reported with the monitor's own losses, and the callable
        is called in the reading thread, and in any that reads `losses`. Raises ValueError for other sizes and times.
        """
        if not (mmap.PAGESIZE <= ring_size <= MAX_RING_SIZE and ring_size.bit_count() == 1):
            raise ValueError(f"ring_size {ring_size}: not a power of two from {mmap.PAGESIZE} to {MAX_RING_SIZE}")
        if not 0 <= batch_delay <= MAX_BATCH_DELAY:
            raise ValueError(f"batch_delay {batch_delay}: not from 0 to {MAX_BATCH_DELAY} seconds")
        if aggregate is not None and not MIN_PERIOD <= aggregate <= MAX_PERIOD:
            raise ValueError(f"aggregate {aggregate}: not from {MIN_PERIOD} to {MAX_PERIOD} seconds")
        self._filters = compile_filters(config)
        watched = self._filters.watched
        if aggregate is not None and (excluded := watched.report.not_with_aggregate()):
            raise ValueError(f"aggregate: cannot be combined with {', '.join(excluded)}; leave one or the other out")
        self._any_kernel = any_kernel
        self._ring_size = ring_size
        self._batch_delay = batch_delay
        self._period = aggregate
        self._tells_losses = lost_events
        self._output_losses = output_losses or (lambda: NO_OUTPUTS)
        self._reader: Reader | None = None
        self._final_losses = Losses()
        self._final_counters = Counters()
        self._stopped = False

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
        """Load and attach the probes; the same as entering the context."""
        if self._reader is not None:
            raise NetmonError("this monitor has been started already")
        if not self._any_kernel:
            require_kernel(os.uname().release)
        try:
            with ExitStack() as resources:
                self._start(resources)
                resources.pop_all()  # the reader's now
        except BpfError as error:
            # The library says what was refused; what to do about it takes a look at the host.
            error.add_hint(explain_refusal(error))
            raise
        except OSError as error:
            raise NetmonError(f"cannot start: {error.strerror}") from error
        self._log("started")

    def _start(self, resources: ExitStack) -> None:
        probes = Probes(self._filters, self._ring_size, aggregate=self._period is not None)
        resources.callback(probes.close)
        clock = Clock()
        self._processes = ProcessTable(
            clock,
            procfs.read_last_cap(),
            read_cmdline=procfs.read_cmdline,
            waiting=lambda: reader.waiting,
            set_oldest=lambda process_id: reader.set_oldest(process_id),
            keep=self._period is not None,
            tell_cgroup=self._filters.watched.report.context,
        )
        self._decoder = Decoder(clock, self._processes)
        self._flows: FlowReporter | None = None
        reporters: list[Reporter] = []
        if self._period is not None:
            self._flows = FlowReporter(self._period, probes, self._processes, clock)
            reporters.append(self._flows)
        if self._tells_losses:  # the last, since the other may lose something
            reporters.append(LossReporter(probes, self._count_unknown, clock, self._output_losses))
        self._reports: deque[Report] = deque()
        self._polled: list[Event] = []
        probes.attach()
        reader = Reader(probes, clock, self._processes, reporters, self._ring_size, self._batch_delay)
        reader.set_timer(reporters)
        self._reader = reader
        if self._stopped:  # before there was one
            reader.stop()

    def close(self) -> None:
        """Detach the probes and free everything; what has not been read is gone, and whoever reads comes to an end.

        Closing twice is fine. From any thread, but not from signal handlers: they stop().
        """
        reader = self._reader
        if reader is None:
            return
        try:
            self._final_losses, self._final_counters = self.losses, self.counters
        finally:
            self._reader = None
            self._stopped = False
            reader.close()
        self._log("closed: %s, %s", self._final_losses, self._final_counters)

    def stop(self) -> None:
        """End the iteration: it detaches the probes, yields what they have reported by then, and ends.

        From any thread or signal handler; before start(), too.
        """
        self._stopped = True
        if (reader := self._reader) is not None:
            reader.stop()

    def reload(self, config: Config | None) -> None:
        """Judge what opens from now on by another configuration, swapped in at once; what is open keeps its verdict.

        In the reading thread. Raises NetmonError when more than filters differ, or when there was none at the start
        (start with Config.everything()); ConfigError; BpfError when the kernel has no room. Then nothing has changed.
        """
        filters = compile_filters(config)
        self._running().probes.swap_filters(filters)
        self._filters = filters
        self._log("reloaded")

    @property
    def stopped(self) -> bool:
        """Whether stop() was called."""
        return self._stopped

    @property
    def finished(self) -> bool:
        """Whether there will be nothing more to read: stopped and all read, or not running."""
        reader = self._reader
        if reader is None:
            return True
        return reader.finished and not (reader.batch.left or self._reports or self._polled)

    @property
    def losses(self) -> Losses:
        """What has been lost so far, by reason; stays readable after close()."""
        reader = self._reader  # read once: another thread may close the monitor at any time
        losses = reader.read_losses(self._count_unknown()) if reader is not None else None
        if losses is None:
            losses = self._final_losses
        else:
            losses = losses._replace(
                args_incomplete=losses.args_incomplete + self._processes.args_unread,
                unknown_opener=self._decoder.unknown_opener,
            )
        return losses._replace(outputs=dict(self._output_losses()))

    @property
    def lost(self) -> int:
        """How many events have been lost so far: those of `losses` that were lost for sure."""
        return self.losses.events

    @property
    def counters(self) -> Counters:
        """What has been read so far, and what is held; stays readable after close()."""
        reader = self._reader
        if reader is None:
            return self._final_counters
        described = self._processes.described
        return Counters(
            events=reader.batch.count - reader.batch.left - described - self._decoder.unknown_process,
            bytes=reader.batch.end,
            waiting=reader.waiting,
            described=described,
            processes=len(self._processes),
        )

    def _count_unknown(self) -> int:
        return self._decoder.unknown_process + (self._flows.unknown_process if self._flows else 0)

    def __iter__(self) -> Iterator[NetworkEvent]:
        """Yield connection events until stop()."""
        return iter(self.events())

    def __aiter__(self) -> AsyncIterator[NetworkEvent]:
        """Yield connection events until stop(), in asyncio: without a thread, by its event loop."""
        return aiter(self.events())

    def events(self, timeout: float | None = None) -> Stream[NetworkEvent]:
        """Yield connection events until stop(), or until nothing has happened for timeout seconds.

        Raises NetmonError in aggregate mode, in which there are none.
        """
        return self._connections(lambda batch: self._decoder.events(batch), timeout)

    def raw_events(self, timeout: float | None = None) -> Stream[list[RawEvent]]:
        """Yield batches of connection events as the kernel's records hold them: much cheaper. Else as events()."""
        return self._connections(lambda batch: self._decoder.raw_events(batch), timeout)

    def all_events(self, timeout: float | None = None) -> Stream[Event]:
        """Yield events of every type, LostEvents and (aggregate mode) NetworkSummary among them; else as events()."""
        return Stream(self._running, self._decode_all, timeout)

    def json_lines(self, timeout: float | None = None) -> Stream[list[str]]:
        """Yield batches of all_events() as lines of JSON, for those who only pass them on.

        One without lines follows each that was read: so whoever iterates has a say while there is nothing to tell.
        """
        return Stream(self._running, self._decode_json, timeout)

    def run(self, callback: Callable[[Event], object], timeout: float | None = None) -> None:
        """Call back for each of all_events(), one after the other, in this thread; return when they end.

        What the callback raises ends it, too; it can be run again then.
        """
        for event in self.all_events(timeout):
            callback(event)

    def fileno(self) -> int:
        """Return a file descriptor that is readable when poll() has something to do: for an event loop of your own.

        It is the monitor's until close().
        """
        return self._running().fileno()

    def poll(self, timeout: float | None = None) -> list[Event]:
        """Return what of all_events() has come, [] when nothing does within timeout seconds; 0: do not wait at all.

        After stop(), what is left, [] when nothing is: see finished.
        """
        reader = self._running()
        reporters, deadline = reader.reporters, deadline_in(bounded(timeout))
        while True:
            # Bit by bit: what was decoded before an exception, such as a signal handler's, is kept.
            self._polled.extend(self._decode_all(reader.batch))
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
        reader = self._reader
        if reader is None:
            raise NetmonError("this monitor is not running: use it in a with statement")
        reader.require_own()
        return reader

    def _connections(self, decode: Callable[[Batch], Iterator[T]], timeout: float | None) -> Stream[T]:
        if self._period is not None:
            raise NetmonError("there are no connection events in aggregate mode: iterate over all_events()")
        return Stream(self._running, decode, timeout, reporting=False)

    def _decode_all(self, batch: Batch) -> Iterator[Event]:
        from netmon.events import EVENT_MODELS  # pydantic: slow to import, and not needed for JSON lines

        yield from self._decoder.events(batch)
        for report in self._due_reports():
            yield EVENT_MODELS[report["type"]].model_validate(report)

    def _decode_json(self, batch: Batch) -> Iterator[list[str]]:
        yield from self._decoder.json_lines(batch)
        if reports := list(self._due_reports()):
            import orjson  # slow to import

            yield [orjson.dumps(report).decode() + "\n" for report in reports]
        elif batch.size:
            # In aggregate mode what is read may be of processes alone, without an end.
            yield []

    def _due_reports(self) -> Iterator[Report]:
        """Yield what the reporters have to say after a batch is decoded, and what an earlier iteration has left."""
        reader = self._reader  # read once: another thread may close the monitor at any time
        if reader is not None:
            self._reports.extend(reader.collect())
        while self._reports:
            yield self._reports.popleft()

"""The library's way in: a Monitor yields what happens to TCP connections on this host."""

from __future__ import annotations

import mmap
import os
import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from netmon import procfs
from netmon.check import explain_refusal, require_kernel
from netmon.clock import Clock
from netmon.decode import Decoder
from netmon.errors import BpfError, NetmonError
from netmon.filters import compile_filters
from netmon.probes import Losses, Probes
from netmon.processes import ProcessTable
from netmon.reports import MIN_PERIOD, FlowReporter, LossReporter, Report, Reporter
from netmon.ring import Batch, RingBuffer

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.events import Event, NetworkEvent

DEFAULT_RING_SIZE = 4 << 20  # bytes: about 75,000 events

MAX_RING_SIZE = 1 << 30
MAX_TIMEOUT = 1_000_000  # seconds: poll(2) counts milliseconds in an int

# How long (seconds) a first event waits for others to be read with it, unless the ring buffer fills too fast for that.
BATCH_DELAY = 0.05
MAX_BATCH_DELAY = 10.0
MAX_PERIOD = 86400.0  # of aggregate mode, in seconds
# How long (seconds) a record that a program has begun may take, when the probes are detached, and how often to look.
FINISH_LIMIT, FINISH_STEP = 1.0, 0.001
# Bytes of the ring buffer for a connection that was open, and its part of its process's record.
ROOM_FOR_EXISTING = 256
# Bytes read at once: a bound on memory whatever the kernel's pace.
BATCH_LIMIT = 256 << 10


class Monitor:
    """Watches TCP connections from entering to leaving its context.

        with Monitor(Config.everything()) as monitor:
            for event in monitor:
                print(event.process.binary_path, event.network_event.daddr)

    Iterate in one thread; stop() may be called from any, and from signal handlers. Monitors are independent of each
    other. Entering raises a NetmonError: KernelError when this kernel is too old (any_kernel=True tries
    anyway), BpfError when the kernel refuses, LibbpfError when libbpf is missing.
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
    ) -> None:
        """config: what to watch; everything when None. ring_size: bytes, a power of two from a page to 1 GiB.

        batch_delay: seconds that a first event waits for others to be read with it. aggregate: sum up connections in
        the kernel and report the sums each so many seconds, instead of events. lost_events: tell of losses among the
        events (of all_events() and json_lines()), too. Raises ValueError for other sizes and times.
        """
        if not (mmap.PAGESIZE <= ring_size <= MAX_RING_SIZE and ring_size.bit_count() == 1):
            raise ValueError(f"ring_size {ring_size}: not a power of two from {mmap.PAGESIZE} to {MAX_RING_SIZE}")
        if not 0 <= batch_delay <= MAX_BATCH_DELAY:
            raise ValueError(f"batch_delay {batch_delay}: not from 0 to {MAX_BATCH_DELAY} seconds")
        if aggregate is not None and not MIN_PERIOD <= aggregate <= MAX_PERIOD:
            raise ValueError(f"aggregate {aggregate}: not from {MIN_PERIOD} to {MAX_PERIOD} seconds")
        self._filters = compile_filters(config)
        watched = self._filters.watched
        if aggregate is not None and (watched.statistics or watched.outcome or watched.existing):
            raise ValueError("aggregate: sums go with none of statistics, outcome and existing; leave them out")
        self._any_kernel = any_kernel
        self._ring_size = ring_size
        self._batch_delay = batch_delay
        self._period = aggregate
        self._tells_losses = lost_events
        self._probes: Probes | None = None
        self._final_losses = Losses()
        self._more = False  # records wait for sure
        self._read_since_wait = 0  # bytes
        self._delay = batch_delay
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
        if self._probes is not None:
            raise NetmonError("this monitor has been started already")
        if not self._any_kernel:
            require_kernel(os.uname().release)
        try:
            with ExitStack() as resources:
                self._start(resources)
                self._resources = resources.pop_all()
        except BpfError as error:
            # The library says what was refused; what to do about it takes a look at the host.
            error.add_hint(explain_refusal(error))
            raise
        except OSError as error:
            raise NetmonError(f"cannot start: {error.strerror}") from error

    def _start(self, resources: ExitStack) -> None:
        self._pid = os.getpid()
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        resources.callback(os.close, self._stop_fd)
        probes = Probes(self._filters, self._ring_size, aggregate=self._period is not None)
        resources.callback(probes.close)
        self._clock = Clock()
        self._processes = ProcessTable(
            self._clock,
            procfs.read_last_cap(),
            waiting=lambda: probes.ring.waiting,
            set_oldest=probes.set_oldest_process_id,
            keep=self._period is not None,
        )
        self._decoder = Decoder(self._clock, self._processes)
        self._flows: FlowReporter | None = None
        self._reporters: list[Reporter] = []
        if self._period is not None:
            self._flows = FlowReporter(self._period, probes, self._processes, self._clock)
            self._reporters.append(self._flows)
        if self._tells_losses:  # the last, since the other may lose something
            self._reporters.append(LossReporter(probes, self._count_unknown, self._clock))
        self._reports: deque[Report] = deque()
        self._stop_poll = select.poll()
        self._stop_poll.register(self._stop_fd, select.POLLIN)
        self._poll = select.poll()
        for fd in (probes.ring.fileno(), self._stop_fd):
            self._poll.register(fd, select.POLLIN)
        probes.attach()
        # Now, as many as there is room for: what is closed before the walk has come to it is not told.
        self._more = self._filters.watched.existing
        self._walking = probes.report_existing(self._ring_size // ROOM_FOR_EXISTING)
        self._probes = probes

    def close(self) -> None:
        """Detach the probes and free everything; what has not been read is gone. Closing twice is fine."""
        if self._probes is None:
            return
        try:
            self._final_losses = self.losses
        finally:
            self._probes = None
            self._stopped = False
            self._resources.close()

    def stop(self) -> None:
        """End the iteration: it detaches the probes, yields what they have reported by then, and ends.

        From any thread or signal handler; before start(), too.
        """
        self._stopped = True
        # The descriptor is shared with forked children: one of them stops itself, not us.
        if self._probes is not None and os.getpid() == self._pid:
            os.eventfd_write(self._stop_fd, 1)

    def reload(self, config: Config | None) -> None:
        """Judge what opens from now on by another configuration, swapped in at once; what is open keeps its verdict.

        In the iterating thread. Raises NetmonError when more than filters differ, BpfError when the kernel has no room
        for it; then nothing has changed.
        """
        filters = compile_filters(config)
        self._running().swap_filters(filters)
        self._filters = filters

    @property
    def losses(self) -> Losses:
        """What has been lost so far, by reason; stays readable after close()."""
        if self._probes is None:
            return self._final_losses
        return self._probes.read_losses(unknown_process=self._count_unknown())

    def _count_unknown(self) -> int:
        return self._decoder.unknown_process + (self._flows.unknown_process if self._flows else 0)

    def __iter__(self) -> Iterator[NetworkEvent]:
        """Yield events until stop()."""
        return self.events()

    def events(self, timeout: float | None = None) -> Iterator[NetworkEvent]:
        """Yield connection events until stop(), or until nothing has happened for timeout seconds.

        An iteration that is broken off can be taken up again by another one: nothing is lost between them.
        Raises NetmonError in aggregate mode, in which there are none.
        """
        if self._period is not None:
            raise NetmonError("there are no connection events in aggregate mode: iterate over all_events()")
        for batch in self._batches(timeout):
            yield from self._decoder.events(batch)
            deque(self._due_reports(), maxlen=0)

    def all_events(self, timeout: float | None = None) -> Iterator[Event]:
        """Yield events of every type, LostEvents and (aggregate mode) NetworkSummary among them; else as events()."""
        from netmon.events import EVENT_MODELS  # pydantic: slow to import, and not needed for JSON lines

        for batch in self._batches(timeout):
            yield from self._decoder.events(batch)
            for report in self._due_reports():
                yield EVENT_MODELS[report["type"]].model_validate(report)

    def json_lines(self, timeout: float | None = None) -> Iterator[list[str]]:
        """Yield batches of all_events() as lines of JSON, for those who only pass them on."""
        for batch in self._batches(timeout):
            yield from self._decoder.json_lines(batch)
            if reports := list(self._due_reports()):
                import orjson  # slow to import

                yield [orjson.dumps(report).decode() + "\n" for report in reports]

    @property
    def stopped(self) -> bool:
        """Whether stop() was called."""
        return self._stopped

    def _running(self) -> Probes:
        if self._probes is None:
            raise NetmonError("this monitor is not running: use it in a with statement")
        return self._probes

    def _batches(self, timeout: float | None) -> Iterator[Batch]:
        """Yield what was read, to be decoded before going on, until stop() or nothing was read for timeout seconds.

        The first is what an iteration that was broken off has left of its batch.
        """
        deadline = None
        while True:
            batch = self._running().ring.batch
            yield batch
            if timeout is not None and (deadline is None or batch.size):
                deadline = time.monotonic() + min(max(timeout, 0), MAX_TIMEOUT)
            if not self._read_batch(deadline):
                return

    def _due_reports(self) -> Iterator[Report]:
        """Yield what the reporters have to say after a batch is decoded, and what an earlier iteration has left."""
        if self._probes is not None:
            for reporter in self._reporters:
                self._reports.extend(reporter.collect(not self._more, self._stopped))
        while self._reports:
            yield self._reports.popleft()

    def _read_batch(self, deadline: float | None) -> bool:
        """Read the next records. False when there are none: timed out, or stopped and all read."""
        probes = self._probes
        if probes is None or (self._stopped and not probes.attached and not self._more):
            return False
        if not self._more and not self._stopped and not self._wait(deadline):
            return False
        if self._stopped and probes.attached:
            probes.detach()
            self._finish_by = time.monotonic() + FINISH_LIMIT
        for reporter in self._reporters:
            reporter.prepare(self._stopped)
        if self._walking and not probes.ring.waiting:
            self._walking = probes.report_existing(self._ring_size // ROOM_FOR_EXISTING) and not self._stopped
        self._more = probes.ring.fill(BATCH_LIMIT) or self._walking
        if self._stopped and not self._more:
            self._more = self._wait_for_unfinished(probes.ring)
        size = probes.ring.batch.size
        self._clock.refresh()
        self._processes.note_consumed(size)
        self._adapt_delay(size)
        return True

    def _wait_for_unfinished(self, ring: RingBuffer) -> bool:
        """Give a program that was preempted while it writes a record time to finish. Whether there is one."""
        if not ring.waiting or time.monotonic() > self._finish_by:
            return False
        time.sleep(FINISH_STEP)
        return True

    def _wait(self, deadline: float | None) -> bool:
        """Wait for records, then for others to join them, or for a report to be due. False when the deadline passes."""
        now = time.monotonic()
        left = [left for reporter in self._reporters if (left := reporter.seconds_left()) is not None]
        if deadline is not None:
            left.append(max(0.0, deadline - now))
        if self._poll.poll(min(left) * 1000 if left else None):
            self._stop_poll.poll(self._delay * 1000)
            return True
        return deadline is None or time.monotonic() < deadline

    def _adapt_delay(self, size: int) -> None:
        """Wait less the next time when a wait has let much of the ring buffer fill, longer again when not."""
        self._read_since_wait += size
        if self._more:
            return
        if self._read_since_wait > self._ring_size // 4:
            self._delay = max(self._delay / 2, min(0.001, self._batch_delay))
        else:
            self._delay = min(self._batch_delay, self._delay * 2)
        self._read_since_wait = 0

"""The library's way in: a Monitor yields what happens to TCP connections on this host."""

from __future__ import annotations

import mmap
import os
import select
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

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.events import NetworkEvent

DEFAULT_RING_SIZE = 4 << 20  # bytes: about 75,000 events

MAX_RING_SIZE = 1 << 30
MAX_TIMEOUT = 1_000_000  # seconds: poll(2) counts milliseconds in an int

# How long a first event waits for others to be read with it, unless the ring buffer fills too fast for that.
BATCH_DELAY = 0.05
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
    ) -> None:
        """config: what to watch; everything when None. ring_size: bytes, a power of two from a page to 1 GiB.

        Raises ValueError for another ring_size.
        """
        if not (mmap.PAGESIZE <= ring_size <= MAX_RING_SIZE and ring_size.bit_count() == 1):
            raise ValueError(f"ring_size {ring_size}: not a power of two from {mmap.PAGESIZE} to {MAX_RING_SIZE}")
        self._filters = compile_filters(config)
        self._any_kernel = any_kernel
        self._ring_size = ring_size
        self._probes: Probes | None = None
        self._final_losses = Losses()
        self._more = False  # records wait for sure
        self._read_since_wait = 0  # bytes
        self._delay = BATCH_DELAY
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

    def _start(self, resources: ExitStack) -> None:
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        resources.callback(os.close, self._stop_fd)
        probes = Probes(self._filters, self._ring_size)
        resources.callback(probes.close)
        self._clock = Clock()
        self._processes = ProcessTable(
            self._clock,
            procfs.read_last_cap(),
            ring_size=self._ring_size,
            set_oldest=probes.set_oldest_process_id,
        )
        self._decoder = Decoder(self._clock, self._processes)
        self._stop_poll = select.poll()
        self._stop_poll.register(self._stop_fd, select.POLLIN)
        self._poll = select.poll()
        for fd in (probes.ring.fileno(), self._stop_fd):
            self._poll.register(fd, select.POLLIN)
        probes.attach()
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
        if self._probes is not None:
            os.eventfd_write(self._stop_fd, 1)

    @property
    def losses(self) -> Losses:
        """What has been lost so far, by reason; stays readable after close()."""
        if self._probes is None:
            return self._final_losses
        return self._probes.read_losses(unknown_process=self._decoder.unknown_process)

    def __iter__(self) -> Iterator[NetworkEvent]:
        """Yield events until stop()."""
        return self.events()

    def events(self, timeout: float | None = None) -> Iterator[NetworkEvent]:
        """Yield events until stop(), or until nothing has happened for timeout seconds.

        An iteration that is broken off can be taken up again by another one: nothing is lost between them.
        """
        while True:
            batch = self._running().ring.batch
            yield from self._decoder.events(batch)
            if not self._read_batch(timeout):
                return

    def json_lines(self, timeout: float | None = None) -> Iterator[list[str]]:
        """Yield batches of events as lines of JSON: events(), for those who only pass them on."""
        while True:
            batch = self._running().ring.batch
            yield from self._decoder.json_lines(batch)
            if not self._read_batch(timeout):
                return

    @property
    def stopped(self) -> bool:
        """Whether stop() was called."""
        return self._stopped

    def _running(self) -> Probes:
        if self._probes is None:
            raise NetmonError("this monitor is not running: use it in a with statement")
        return self._probes

    def _read_batch(self, timeout: float | None) -> bool:
        """Read the next records. False when there are none: timed out, or stopped and all read."""
        probes = self._probes
        if probes is None or (self._stopped and not probes.attached and not self._more):
            return False
        if not self._more and not self._stopped and not self._wait(timeout):
            return False
        if self._stopped:
            probes.detach()
        self._more = probes.ring.fill(BATCH_LIMIT)
        size = probes.ring.batch.size
        self._clock.refresh()
        self._processes.note_consumed(size)
        self._adapt_delay(size)
        return True

    def _wait(self, timeout: float | None) -> bool:
        """Wait for records, then for others to join them. False after timeout seconds without any."""
        if not self._poll.poll(None if timeout is None else min(max(timeout, 0), MAX_TIMEOUT) * 1000):
            return False
        self._stop_poll.poll(self._delay * 1000)
        return True

    def _adapt_delay(self, size: int) -> None:
        """Wait less the next time when a wait has let much of the ring buffer fill, longer again when not."""
        self._read_since_wait += size
        if self._more:
            return
        if self._read_since_wait > self._ring_size // 4:
            self._delay = max(self._delay / 2, 0.001)
        else:
            self._delay = min(BATCH_DELAY, self._delay * 2)
        self._read_since_wait = 0

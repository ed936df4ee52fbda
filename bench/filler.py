"""A Monitor that reads a ring buffer filled on request: a socket filter in the place of netmon's probes."""

from __future__ import annotations

import mmap
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.mixes import Mix
from netmon.kernel.bpf import BpfObject
from netmon.kernel.ring_buffer import RingBuffer
from netmon.losses import Losses
from netmon.monitor import Monitor
from tests.support.socket_filter import compile_bpf, run

SOURCE = Path(__file__).with_name("ring_fill.bpf.c")
OBJECT = SOURCE.parents[1] / "build/bench/ring_fill.bpf.o"

# Its struct template, and struct fill with the places of events and lost.
TEMPLATE = struct.Struct("=QI4x512s")
FILL = struct.Struct("=9Q")
EVENTS, LOST = slice(7 * 8, 8 * 8), slice(8 * 8, 9 * 8)

INTERVAL_NS = 10_000  # between events, as their times tell: 100 share a millisecond


@lru_cache(maxsize=1)
def object_file() -> bytes:
    """Return ring_fill.bpf.c, compiled."""
    return compile_bpf(SOURCE, OBJECT)


class Filler:
    """Looks to a Monitor like its Probes; sends a mix's records when told to, and counts what found no room."""

    def __init__(self, mix: Mix, ring_size: int) -> None:
        templates = [*mix.first, *mix.again]
        self._object = BpfObject(object_file(), "ring_fill")
        self._object.set_max_entries("events", ring_size)
        self._object.set_max_entries("templates", len(templates))
        self._object.load()
        packed = b"".join(TEMPLATE.pack(process_id, len(record), record) for process_id, record in templates)
        with mmap.mmap(self._object.map_fd("templates"), -(-len(packed) // mmap.PAGESIZE) * mmap.PAGESIZE) as memory:
            memory[: len(packed)] = packed
        self._state = self._object.data(".data.fill")
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._state[: FILL.size] = FILL.pack(
            0, len(templates), len(mix.first), mix.new_processes, 0, now, INTERVAL_NS, 0, 0
        )
        self._fd = self._object.program_fd("send_next")
        self.ring = RingBuffer(self._object.map_fd("events"), ring_size)

    def send(self, count: int) -> None:
        """Send so many records."""
        run(self._fd, count)

    @property
    def events(self) -> int:
        """How many events were sent so far: of connections, without the processes' descriptions."""
        return int.from_bytes(self._state[EVENTS], sys.byteorder)

    @property
    def lost(self) -> int:
        """How many records found no room."""
        return int.from_bytes(self._state[LOST], sys.byteorder)

    # What else a Monitor asks of its Probes.

    def attach(self) -> None:
        """There is nothing to attach to."""
        self.attached = True

    def detach(self) -> None:
        """There is nothing to detach from."""
        self.attached = False

    def report_existing(self) -> bool:
        """There are none."""
        return False

    def swap_filters(self, filters: object) -> None:
        """The mix is told whatever the filters."""

    def set_oldest_process_id(self, process_id: int) -> None:
        """Processes are described when the mix says so."""

    def read_losses(self, unknown_process: int) -> Losses:
        """Return what was lost."""
        return Losses(ring_full=self.lost, unknown_process=unknown_process)

    def count_lost(self, unknown_process: int) -> int:
        """Return how many events were lost."""
        return self.read_losses(unknown_process).events

    def close(self) -> None:
        """Free everything."""
        self._state.release()
        self.ring.close()
        self._object.close()


@contextmanager
def watching(mix: Mix, **options: Any) -> Iterator[tuple[Monitor, Filler]]:
    """Yield a Monitor with these options, and what fills its ring buffer."""
    fillers: list[Filler] = []

    def make(_filters: object, ring_size: int, *, aggregate: bool) -> Filler:
        fillers.append(Filler(mix, ring_size))
        return fillers[-1]

    with patch("netmon.monitor.Probes", make), Monitor(any_kernel=True, **options) as monitor:
        yield monitor, fillers[0]

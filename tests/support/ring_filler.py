"""A Monitor whose ring buffer is filled on request: a socket filter stands in for netmon's probes."""

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

from netmon.filters.compiled import CompiledFilters
from netmon.kernel.bpf import BpfObject, ProgramInfo
from netmon.kernel.marks import FollowedProcess
from netmon.kernel.ring_buffer import RingBuffer
from netmon.losses import Losses
from netmon.monitor import Monitor
from tests.support.record_mixes import Mix
from tests.support.socket_filter import compile_bpf, run

SOURCE = Path(__file__).with_name("ring_fill.bpf.c")
OBJECT = SOURCE.parents[2] / "build/tests/ring_fill.bpf.o"

PROGRAM = "send_next"

# Its struct template, and struct fill with the offsets of its fields events and lost.
TEMPLATE = struct.Struct("=QI4x512s")
FILL = struct.Struct("=9Q")
EVENTS, LOST = slice(7 * 8, 8 * 8), slice(8 * 8, 9 * 8)

INTERVAL_NS = 10_000  # between the times of two events: 100 events share a millisecond


@lru_cache(maxsize=1)
def object_file() -> bytes:
    """Return ring_fill.bpf.c, compiled."""
    return compile_bpf(SOURCE, OBJECT)


class Filler:
    """A source of records for a Monitor: sends a mix's records on request, and counts those that did not fit."""

    def __init__(self, mix: Mix, ring_size: int) -> None:
        self.attached = False
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
        self._fd = self._object.program_fd(PROGRAM)
        self.ring = RingBuffer(self._object.map_fd("events"), ring_size)

    def send(self, count: int) -> None:
        """Send so many records."""
        run(self._fd, count)

    @property
    def events(self) -> int:
        """How many connection events were sent so far; descriptions of processes are not counted."""
        return int.from_bytes(self._state[EVENTS], sys.byteorder)

    @property
    def lost(self) -> int:
        """How many records did not fit into the ring buffer."""
        return int.from_bytes(self._state[LOST], sys.byteorder)

    # The rest of what a Monitor needs of its source (netmon.reader.source.Source).

    def attach(self) -> None:
        """Begin: records come by send() alone."""
        self.attached = True

    def detach(self) -> None:
        """End."""
        self.attached = False

    def close(self) -> None:
        """Free everything. Idempotent."""
        self._state.release()
        self.ring.close()
        self._object.close()

    def report_existing(self) -> bool:
        """Return that there are no open connections to report."""
        return False

    def report_open(self, *, anew: bool = False) -> bool:
        """Return that nothing is known of open connections."""
        return False

    def swap_filters(self, filters: CompiledFilters) -> None:
        """Keep sending the mix, whatever the filters."""

    def set_oldest_process_id(self, process_id: int) -> None:
        """Keep describing processes as the mix has it."""

    def read_losses(self) -> Losses:
        """Return how many records did not fit into the ring buffer."""
        return Losses(ring_full=self.lost)

    @property
    def inexact(self) -> str:
        return ""

    @property
    def blind(self) -> str:
        """Return that records are written."""
        return ""

    def follow(self, pid: int) -> None:
        """Follow nobody."""

    def followed(self) -> list[FollowedProcess]:
        """Return that no processes are followed."""
        return []

    @property
    def flows_are_many(self) -> bool:
        """Whether there are many flows: there are none."""
        return False

    def take_flows(self) -> list[tuple[bytes, bytes]]:
        """Return no flows."""
        return []

    def program_infos(self) -> list[ProgramInfo]:
        """Return what the kernel reports about the program that sends."""
        return [self._object.program_info(PROGRAM)]


@contextmanager
def watching(mix: Mix, **options: Any) -> Iterator[tuple[Monitor, Filler]]:
    """Yield a Monitor with these options, and the filler of its ring buffer."""
    fillers: list[Filler] = []

    def open_filler(filters: CompiledFilters, ring_size: int, *, aggregate: bool) -> Filler:
        fillers.append(Filler(mix, ring_size))
        return fillers[-1]

    with Monitor(any_kernel=True, open_source=open_filler, **options) as monitor:
        yield monitor, fillers[0]

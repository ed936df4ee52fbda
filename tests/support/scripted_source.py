"""A source whose batches a test has made: a Monitor without a kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netmon.batch import Batch
from netmon.filters.compiled import CompiledFilters
from netmon.kernel.bpf import ProgramInfo
from netmon.kernel.marks import FollowedProcess
from netmon.losses import Losses
from netmon.monitor import Monitor


class ScriptedSource:
    """Gives batches, and before each calls a function, if there is one."""

    def __init__(self, batches: Sequence[Batch], losses: Losses, before: Callable[[int], None]) -> None:
        self._left = list(batches)
        self._before = before
        self._taken = 0
        self.losses = losses
        self.batch = Batch(b"", (), 0, 0)
        self._fd = os.eventfd(1)

    @property
    def ring(self) -> ScriptedSource:
        """The source itself."""
        return self

    def fileno(self) -> int:
        return self._fd

    @property
    def waiting(self) -> int:
        return sum(batch.size for batch in self._left)

    def fill(self, limit: int) -> bool:
        data, offsets, size = b"", [], 0
        if self._left:
            self._before(self._taken)
            self._taken += 1
            one = self._left.pop(0)
            data, offsets, size = one.data, list(one.offsets), one.size
        self.batch = Batch(data, offsets, self.batch.end + size, self.batch.count + len(offsets))
        return bool(self._left)

    def attach(self) -> None: ...

    def detach(self) -> None: ...

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def follow(self, pid: int) -> None: ...

    def followed(self) -> list[FollowedProcess]:
        return []

    def report_existing(self) -> bool:
        return False

    def swap_filters(self, filters: CompiledFilters) -> None: ...

    def set_oldest_process_id(self, process_id: int) -> None: ...

    def read_losses(self) -> Losses:
        return self.losses

    @property
    def blind(self) -> str:
        return ""

    @property
    def flows_are_many(self) -> bool:
        return False

    def report_open(self, *, anew: bool = False) -> bool:
        return False

    @property
    def inexact(self) -> str:
        return ""

    def take_flows(self) -> list[tuple[bytes, bytes]]:
        return []

    def program_infos(self) -> list[ProgramInfo]:
        return []


@contextmanager
def scripted(
    *batches: Batch,
    losses: Losses = Losses(),  # noqa: B008
    before: Callable[[int], None] = lambda number: None,
    **options: Any,
) -> Iterator[Monitor]:
    """Yield a Monitor that ends after these batches. before: is called with the number of each."""

    def open_source(filters: CompiledFilters, ring_size: int, *, aggregate: bool) -> ScriptedSource:
        return ScriptedSource(batches, losses, before)

    with Monitor(any_kernel=True, batch_delay=0, open_source=open_source, **options) as monitor:
        monitor.stop()
        yield monitor

"""What a monitor needs of the source of its records: the kernel's probes, or what stands in for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from netmon.batch import Batch
    from netmon.decode.clock import Clock
    from netmon.decode.workloads import NameSource
    from netmon.filters.compiled import CompiledFilters
    from netmon.kernel.bpf import ProgramInfo
    from netmon.kernel.marks import FollowedProcess
    from netmon.losses import Losses


class Host(NamedTuple):
    """What the decoder needs to know of the host that the records come from.

    Attributes:
        clock: Converts its times.
        last_cap: The number of its kernel's last capability.
        read_cmdline: Returns a live process's argv, or None: see netmon.kernel.cmdline_reader.
        name_source: Knows the names of containers and users; None without the option workload.
        boot_id: Its boot id, 32 hexadecimal digits; "" without the option id.
    """

    clock: Clock
    last_cap: int
    read_cmdline: Callable[[int, int, str, bytes], bytes | None]
    name_source: NameSource | None = None
    boot_id: str = ""


class RecordBuffer(Protocol):
    """A buffer of records, read batch by batch by one thread at a time."""

    @property
    def batch(self) -> Batch:
        """The batch that the last fill() read."""

    @property
    def waiting(self) -> int:
        """How many bytes of records have not been read."""

    def fileno(self) -> int:
        """Return a file descriptor that is readable while records wait."""

    def fill(self, limit: int) -> bool:
        """Read what waits, some limit bytes at most, into a new batch; return whether the limit was reached."""


class Source(Protocol):
    """Writes records into a buffer, from attach() to detach(), and counts those that it lost."""

    @property
    def ring(self) -> RecordBuffer:
        """The buffer of its records."""

    def attach(self) -> None:
        """Begin to write records."""

    def detach(self) -> None:
        """Write no more records; those in the buffer can still be read. Idempotent."""

    def close(self) -> None:
        """Detach and free everything. Idempotent."""

    def follow(self, pid: int) -> None:
        """Follow a further process, with its descendants. Raises NetmonError."""

    def followed(self) -> list[FollowedProcess]:
        """Return the processes that are followed and have not ended. Any thread may call it."""

    def report_existing(self) -> bool:
        """Write records of connections that are open already, while there is room; return whether more may follow."""

    def report_open(self, *, anew: bool = False) -> bool:
        """Write records of what open connections have carried, or add it to the flows; some connections at a time.

        Args:
            anew: Begin with the first connection, even if an earlier call has left some.

        Returns:
            Whether there are more.
        """

    def swap_filters(self, filters: CompiledFilters) -> None:
        """Filter the connections that open from now on by other filters."""

    def set_oldest_process_id(self, process_id: int) -> None:
        """Describe the processes whose id is below this one again, when they next have an event."""

    def read_losses(self) -> Losses:
        """Return the losses so far."""

    @property
    def blind(self) -> str:
        """Why it writes no records although it is attached, and what to do; "" if it writes them."""

    @property
    def inexact(self) -> str:
        """Why the bytes of closes may be off; "" if they are exact, or not counted."""

    @property
    def flows_are_many(self) -> bool:
        """Whether the table of flows is nearly full."""

    def take_flows(self) -> list[tuple[bytes, bytes]]:
        """Return all flows since the last call, as struct flow_key and struct flow, and begin a new table."""

    def program_infos(self) -> list[ProgramInfo]:
        """Return what the kernel reports about each loaded program."""


class OpenSource(Protocol):
    """Opens a source."""

    def __call__(self, filters: CompiledFilters, ring_size: int, *, aggregate: bool) -> Source:
        """Return a source with its filters in place, not attached yet. ring_size: of its buffer, in bytes."""

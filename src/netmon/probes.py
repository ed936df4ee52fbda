"""The BPF object in the kernel: configured, loaded, attached; its ring buffer and its losses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from netmon import layout
from netmon.bpf import BpfObject, Link, ProgramInfo, RingBuffer, update_map
from netmon.errors import KernelError, NetmonError
from netmon.filters import CompiledFilters

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

EGRESS = ("tcp_v4_connect_exit", "tcp_v6_connect_exit")
INGRESS = "inet_csk_accept_exit"
INGRESS_UP_TO_6_9 = "inet_csk_accept_exit_v6_9"
CLOSE = "tcp_close_entry"

FILTER_MAPS = (
    "ipv4_cidrs",
    "ipv6_cidrs",
    "process_ids",
    "binary_names",
    "binary_paths",
    "binary_prefixes",
)


@dataclass(frozen=True)
class Losses:
    """What was lost, by reason. The first four are events."""

    ring_full: int = 0  # no room in the ring buffer
    no_storage: int = 0  # closes of connections that the kernel had no memory to keep
    missed: int = 0  # runs of a probe that the kernel skipped
    unknown_process: int = 0  # events whose process was not known
    path_incomplete: int = 0  # processes told with part of their path
    args_incomplete: int = 0  # processes whose arguments did not fit the record

    @property
    def events(self) -> int:
        """How many events were lost. A skipped run of a probe counts as one, though it may have had none."""
        return self.ring_full + self.no_storage + self.missed + self.unknown_process

    def reasons(self) -> list[tuple[str, int]]:
        """Return each reason, in words, with its count."""
        return [(field.name.replace("_", " "), getattr(self, field.name)) for field in fields(self)]


def read_object() -> bytes:
    """Return the BPF object file that netmon ships. Raises NetmonError when it was not built."""
    try:
        return Path(__file__).with_name("netmon.bpf.o").read_bytes()
    except FileNotFoundError:
        raise NetmonError("netmon.bpf.o is missing from the package: run build.py compile") from None


def accept_program() -> str:
    """Return the program for this kernel's inet_csk_accept, which lost two arguments in 6.10.

    Raises KernelError when the kernel has no BTF.
    """
    try:
        btf = KERNEL_BTF.read_bytes()
    except OSError as error:
        raise KernelError(f"{KERNEL_BTF} cannot be read ({error.strerror}): this kernel has no BTF") from None
    # The struct's name stands among the BTF's strings: quicker to find there than by parsing all types.
    return INGRESS if b"\0proto_accept_arg\0" in btf else INGRESS_UP_TO_6_9


class Probes:
    """netmon's programs in the kernel, from construction to close(). Nothing outlives the process."""

    def __init__(self, filters: CompiledFilters, ring_size: int) -> None:
        """Load the programs that the directions need, the filters in the kernel before any is attached.

        Raises BpfError when the kernel refuses, KernelError without BTF, LibbpfError without libbpf.
        """
        self._object = BpfObject(read_object(), "netmon")
        self._links: list[Link] = []
        self.programs = _programs(filters)
        try:
            self._load(filters, ring_size)
            self._losses = self._object.data(".data.losses")
            self._control = self._object.data(".data.control")
            self.ring = RingBuffer(self._object.map_fd("events"))
        except BaseException:
            self._object.close()
            raise

    def _load(self, filters: CompiledFilters, ring_size: int) -> None:
        bpf = self._object
        for program in (*EGRESS, INGRESS, INGRESS_UP_TO_6_9, CLOSE):
            bpf.set_autoload(program, program in self.programs)
        bpf.set_initial_value(".rodata.settings", filters.settings)
        bpf.set_max_entries("events", ring_size)
        for name in FILTER_MAPS:
            bpf.set_max_entries(name, max(1, len(getattr(filters, name))))
        bpf.load()
        for name in FILTER_MAPS:
            update_map(bpf.map_fd(name), getattr(filters, name), b"\1")

    def attach(self) -> None:
        """Attach the programs: the close first, so that no opening is reported without its close."""
        for program in reversed(self.programs):
            self._links.append(self._object.attach(program))

    @property
    def attached(self) -> bool:
        return bool(self._links)

    def detach(self) -> None:
        """Detach the programs; what they reported can still be read."""
        while self._links:
            self._links.pop().close()

    def close(self) -> None:
        """Detach and free everything. Twice is fine."""
        self.detach()
        if self._object.closed:
            return
        self._losses.release()
        self._control.release()
        self.ring.close()
        self._object.close()

    def program_infos(self) -> list[ProgramInfo]:
        """Return what the kernel says of each loaded program."""
        return [self._object.program_info(program) for program in self.programs]

    def read_losses(self, unknown_process: int = 0) -> Losses:
        """Return the losses so far; unknown_process is what the reader counted."""
        kernel = layout.Losses._make(layout.LOSSES.unpack(self._losses))
        missed = sum(info.recursion_misses for info in self.program_infos())
        return Losses(**kernel._asdict(), missed=missed, unknown_process=unknown_process)

    def set_oldest_process_id(self, process_id: int) -> None:
        """Make the kernel describe again, when next seen, the processes whose id is below this one."""
        self._control[:] = layout.CONTROL.pack(process_id)


def _programs(filters: CompiledFilters) -> tuple[str, ...]:
    programs: tuple[str, ...] = ()
    if filters.egress:
        programs += EGRESS
    if filters.ingress:
        programs += (accept_program(),)
    return (*programs, CLOSE)

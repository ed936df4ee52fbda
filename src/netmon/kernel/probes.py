"""The BPF object in the kernel: configured, loaded, attached; its ring buffer and its losses."""

from __future__ import annotations

import errno
import os
import struct
from contextlib import closing
from typing import Any, NamedTuple

from netmon import layout
from netmon.errors import BpfError, KernelError, NetmonError
from netmon.filters.compiled import CompiledFilters, Watched
from netmon.kernel import FULL_OBJECT, MINIMAL_OBJECT
from netmon.kernel.bpf import BpfObject, Link, Map, ProgramInfo, put_map
from netmon.kernel.filter_maps import FilterMaps
from netmon.kernel.ring_buffer import RingBuffer
from netmon.losses import Losses

KERNEL_BTF = "/sys/kernel/btf/vmlinux"

# struct btf_header, after magic, version and flags: its size; the offset and size of the types, and of the strings.
BTF_HEADER = struct.Struct("4x5I")

PREEMPTION = "/sys/kernel/debug/sched/preempt"

Hook = tuple[str, ...]  # a program, and its backup

V4_CONNECT = ("tcp_v4_connect_exit", "tcp_v4_connect_backup")
V6_CONNECT = ("tcp_v6_connect_exit", "tcp_v6_connect_backup")
ACCEPT = ("inet_csk_accept_exit", "inet_csk_accept_backup")
CLOSE = ("tcp_close_entry", "tcp_close_backup")
MPTCP_CONNECT = ("mptcp_connect_exit",)
MPTCP_ACCEPT = ("mptcp_stream_accept_exit",)
MPTCP_CLOSE = ("mptcp_close_entry",)
SET_STATE = ("inet_sock_set_state_enter", "inet_sock_set_state_backup")
# In place of ACCEPT: reached after the wait in it, by threads, too, that waited there before the probes were attached.
GRAFT = ("security_sock_graft_entry", "security_sock_graft_backup")
WALK = "task_file_walk"
MPTCP = (*MPTCP_CONNECT, *MPTCP_ACCEPT, *MPTCP_CLOSE)  # seldom reached: without backups
OPTIONAL_PROGRAMS = (*SET_STATE, *GRAFT, WALK)  # not in the minimal object
MINIMAL_PROGRAMS = (*V4_CONNECT, *V6_CONNECT, *ACCEPT, *CLOSE, *MPTCP)

BACKED_UP_SLOTS = {V4_CONNECT: 0, V6_CONNECT: 1, ACCEPT: 2, GRAFT: 2, CLOSE: 3}  # maps.h: enum slot
SCRATCHES = 7  # maps.h: SLOT_BACKUPS
SCRATCHES_WITH_BACKUPS = 11  # SLOT_WALK
SCRATCHES_WITH_WALK = 12  # SLOT_COUNT

MAX_FLOWS = 1 << 16  # of a period
# Above it user space ends the period early.
MANY_FLOWS = MAX_FLOWS // 4 * 3

OLDEST_PROCESS_ID = layout.Control._fields.index("oldest_process_id")
WALKER = layout.Control._fields.index("walker")
FLOWS_NOTICE = layout.Control._fields.index("flows_notice")


def read_object(*, minimal: bool) -> bytes:
    """Return a BPF object file of the package; the minimal one has no report options.

    Raises NetmonError when it is missing.
    """
    name = MINIMAL_OBJECT if minimal else FULL_OBJECT
    try:
        # Read by the importer: netmon may be a directory, or inside a single-file executable.
        loader: Any = __spec__.loader
        return bytes(loader.get_data(os.path.join(os.path.dirname(__file__), name)))
    except OSError:
        raise NetmonError(f"{name} is missing from the package: run build.py compile") from None


def may_preempt() -> bool:
    """Say whether this kernel may preempt a task inside a program. Where it does not tell, it may."""
    try:
        with open(PREEMPTION) as file:
            mode = file.read()
    except OSError:
        return True
    return "(none)" not in mode and "(voluntary)" not in mode


class KernelTraits(NamedTuple):
    """What differs from kernel to kernel and CO-RE does not settle, by the names in its BTF."""

    has_ipv6: bool
    accept_arguments: int  # of inet_csk_accept, which lost two in 6.10
    has_graft: bool  # security modules are told of accepted sockets
    has_mptcp: bool


def read_traits() -> KernelTraits:
    """Look at this kernel. Raises KernelError when it has no BTF."""
    names = _read_btf_names()
    return KernelTraits(
        has_ipv6=b"\0tcp_v6_connect\0" in names,
        accept_arguments=2 if b"\0proto_accept_arg\0" in names else 4,
        has_graft=b"\0security_sock_graft\0" in names,
        has_mptcp=b"\0mptcp_connect\0" in names,
    )


def _read_btf_names() -> bytes:
    """Return the string section of the kernel's BTF: names are found there without parsing types.

    Only that section, since the kernel hands out the file a page at a time.
    """
    try:
        with open(KERNEL_BTF, "rb") as file:
            header_size, _, _, offset, size = BTF_HEADER.unpack(file.read(BTF_HEADER.size))
            file.seek(header_size + offset)
            return file.read(size)
    except (OSError, struct.error) as error:
        raise KernelError(f"{KERNEL_BTF} cannot be read ({error}): this kernel has no BTF") from None


class Probes:
    """netmon's programs in the kernel, from construction to close(). Nothing outlives the process."""

    def __init__(self, filters: CompiledFilters, ring_size: int, *, aggregate: bool = False) -> None:
        """Load the programs that the directions need, the filters in the kernel before any is attached.

        aggregate: sum up in flows, for take_flows(), instead of sending events. Raises BpfError when the kernel
        refuses, KernelError without BTF, LibbpfError without libbpf.
        """
        self._report_options = _report_options(filters.watched, aggregate)
        self._object = BpfObject(read_object(minimal=self._report_options is None), "netmon")
        self._links: list[Link] = []
        self._pid = os.getpid()
        self._flows: Map | None = None
        self._watched = filters.watched
        self._configured = filters.configured
        self._backups = may_preempt()
        self._traits = read_traits()
        self.hooks = [hook if self._backups else hook[:1] for hook in _hooks(filters.watched, self._traits)]
        report = filters.watched.report
        if report.statistics or report.outcome or report.existing:
            self.hooks.append(SET_STATE)
        self.programs = [program for hook in self.hooks for program in hook]
        self._walk_fd: int | None = None
        try:
            self._filter_maps = FilterMaps(self._object)
            self._flow_kind = self._object.inner_map_kind("flows")
            self._load(filters, ring_size)
            self._losses = self._object.data(".data.losses")
            self._settings = self._object.data(".data.settings")
            self._control = self._object.data(".data.control").cast("Q")
            self._flows_made = self._object.data(".data.flows").cast("Q")
            self._backup_only = self._object.data(".data.backup_only").cast("Q")
            self.ring = RingBuffer(self._object.map_fd("events"), ring_size)
            self._filter_maps.fill(filters)
            if aggregate:
                self._replace_flows()
        except BaseException:
            self._object.close()
            raise

    def _load(self, filters: CompiledFilters, ring_size: int) -> None:
        bpf = self._object
        report = filters.watched.report
        wanted = {*self.programs, WALK} if report.existing else {*self.programs}
        for program in MINIMAL_PROGRAMS if self._report_options is None else (*MINIMAL_PROGRAMS, *OPTIONAL_PROGRAMS):
            bpf.set_autoload(program, program in wanted)
        load_config = layout.LoadConfig(
            backups=self._backups,
            accept_arguments=self._traits.accept_arguments,
            mptcp=self._traits.has_mptcp,
            filters=filters.configured,
        )
        bpf.set_initial_value(".rodata.load_config", layout.LOAD_CONFIG.pack(*load_config))
        if self._report_options is not None:
            bpf.set_initial_value(".rodata.report_options", layout.REPORT_OPTIONS.pack(*self._report_options))
        bpf.set_initial_value(".data.settings", self._filter_maps.initial_settings(filters))
        bpf.set_max_entries("events", ring_size)
        scratches = SCRATCHES_WITH_BACKUPS if self._backups else SCRATCHES
        if report.existing:
            scratches = SCRATCHES_WITH_WALK
        bpf.set_max_entries("scratches", scratches)
        bpf.load()

    def attach(self) -> None:
        """Attach the programs: the close first, so that no opening is reported without its close."""
        for program in reversed(self.programs):
            self._links.append(self._object.attach(program))
        if self._watched.report.existing:
            with self._object.attach(WALK) as walk:
                self._walk_fd = walk.iterate()

    def report_existing(self) -> bool:
        """Have the kernel report connections that were open, while it has room. Whether there may be further ones."""
        if self._walk_fd is None:
            return False
        try:
            os.read(self._walk_fd, 1)  # nothing: the end
        except BlockingIOError:  # the ring buffer is half full, or the kernel takes a break after a million files
            return True
        except OSError as error:
            raise BpfError(error.errno or errno.EIO, "look for open connections") from error
        self._end_walk()
        return False

    def _end_walk(self) -> None:
        if self._walk_fd is not None:
            os.close(self._walk_fd)
            self._walk_fd = None
            if os.getpid() == self._pid:  # not from a forked child: it shares the memory
                self._control[WALKER] = 0

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
        self._end_walk()
        for memory in (self._losses, self._settings, self._control, self._flows_made, self._backup_only):
            memory.release()
        if self._flows is not None:
            self._flows.close()
        self.ring.close()
        self._object.close()

    def swap_filters(self, filters: CompiledFilters) -> None:
        """Judge by other filters from now on. Raises NetmonError when it is not only these that change, BpfError."""
        if changed := self._watched.differences(filters.watched):
            raise NetmonError(f"{', '.join(changed)} cannot change while netmon runs: start it again")
        if filters.configured and not self._configured:
            raise NetmonError(
                "started without a configuration, nothing can be filtered: start with Config.everything()"
            )
        self._filter_maps.swap(filters, self._settings, self._control)

    @property
    def flows_are_many(self) -> bool:
        """Whether the flows may soon have no more room."""
        return self._flows_made[0] > self._control[FLOWS_NOTICE]

    def take_flows(self) -> list[tuple[bytes, bytes]]:
        """Return the flows since the last time, struct flow_key and struct flow, complete; and begin anew."""
        taken = self._replace_flows()
        assert taken is not None, "not in aggregate mode"
        with closing(taken):
            return list(taken.items())

    def _replace_flows(self) -> Map | None:
        flows = Map(self._flow_kind, "flows", MAX_FLOWS)
        try:
            put_map(self._object.map_fd("flows"), 0, flows)
        except BaseException:
            flows.close()
            raise
        taken, self._flows = self._flows, flows
        self._control[FLOWS_NOTICE] = self._flows_made[0] + MANY_FLOWS
        return taken

    def program_infos(self) -> list[ProgramInfo]:
        """Return what the kernel says of each loaded program."""
        return [self._object.program_info(program) for program in self.programs]

    def read_losses(self, *, missed: bool = True) -> Losses:
        """Return the losses so far. missed: count the skipped programs, too, which takes system calls."""
        kernel = layout.Losses._make(layout.LOSSES.unpack(self._losses))
        return Losses(
            **kernel._asdict(),
            missed=sum(self._most_missed(hook) for hook in self.hooks) if missed else 0,
        )

    def _most_missed(self, hook: Hook) -> int:
        """An event is missed when neither program ran: at most as often as the less often skipped one was.

        Where the main program was skipped and the backup reported the event, none was. A connection whose opening is
        missed is not known at its close.
        """
        if hook == SET_STATE and not self._watched.report.outcome:  # no event, only what ended a connection
            return 0
        # Read before the skips, so that each event counted here has its skip counted, too.
        backup_only = self._backup_only[BACKED_UP_SLOTS[hook]] if hook in BACKED_UP_SLOTS else 0
        skips = [self._object.program_info(program).recursion_misses for program in hook]
        if backup_only <= skips[0]:  # it is, unless a kernel runs the backup first
            skips[0] -= backup_only
        skipped = min(skips)
        return skipped if hook[0] in (CLOSE[0], MPTCP_CLOSE[0]) else 2 * skipped

    def set_oldest_process_id(self, process_id: int) -> None:
        """Make the kernel describe again, when next seen, the processes whose id is below this one."""
        self._control[OLDEST_PROCESS_ID] = process_id


def _report_options(watched: Watched, aggregate: bool) -> layout.ReportOptions | None:
    """Return what is asked for beyond the plain events; None when nothing is."""
    report = watched.report
    asked = layout.ReportOptions(
        **report._asdict(),
        aggregate=aggregate,
        existing_ingress=report.existing and watched.ingress,
        existing_egress=report.existing and watched.egress,
        with_context=report.opener or report.context,
        other_tasks=report.existing or report.parent,
    )
    return asked if any(asked) else None


def _hooks(watched: Watched, traits: KernelTraits) -> list[Hook]:
    hooks: list[Hook] = []
    if watched.egress:
        hooks += [V4_CONNECT, *[V6_CONNECT] * traits.has_ipv6, *[MPTCP_CONNECT] * traits.has_mptcp]
    if watched.ingress and watched.report.existing and traits.has_graft:
        hooks.append(GRAFT)
    elif watched.ingress:
        hooks += [ACCEPT, *[MPTCP_ACCEPT] * traits.has_mptcp]
    return [*hooks, CLOSE, *[MPTCP_CLOSE] * traits.has_mptcp]

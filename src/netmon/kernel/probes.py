"""netmon's BPF programs in the kernel: loaded for a configuration, attached, read, and freed."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from typing import TYPE_CHECKING

from netmon import layout
from netmon.errors import BpfError, KernelError, NetmonError
from netmon.filters.compiled import CompiledFilters, Watched
from netmon.kernel.bpf import BpfObject, Link, Map, ProgramInfo, put_map
from netmon.kernel.features import (
    Features,
    read_features,
    read_legacy_cgroups,
    read_tick_ns,
    why_bytes_are_inexact,
    why_programs_do_not_run,
)
from netmon.kernel.filter_maps import FilterMaps
from netmon.kernel.offenders import Offenders
from netmon.kernel.programs import (
    CLOSE,
    CONNECT_BACKUPS,
    LOCKED_CLOSE,
    MPTCP_CLOSE,
    MPTCP_CONNECT,
    MPTCP_LOCKED_CLOSE,
    OPEN_WALK,
    PROGRAMS,
    PULSE,
    WALK,
    count_scratch_slots,
    hook_programs,
    process_programs,
    programs_in_object,
    read_object,
)
from netmon.kernel.pulse import Pulse
from netmon.kernel.ring_buffer import RingBuffer
from netmon.losses import NO_COUNTS, Losses
from netmon.report import EVENTS, OPTIONS

if TYPE_CHECKING:
    from netmon.kernel.marks import FollowedProcess, Marks
    from netmon.kernel.open_walk import OpenWalk

MAX_FLOWS = 1 << 16  # in a period
MANY_FLOWS = MAX_FLOWS // 4 * 3  # with more flows than these, the period ends early

# Indexes of words in the section .data.control.
OLDEST_PROCESS_ID = layout.Control._fields.index("oldest_process_id")
WALKER = layout.Control._fields.index("walker")
FLOWS_NOTICE = layout.Control._fields.index("flows_notice")
HAS_WALKED = layout.Control._fields.index("has_walked")
WALK_BUDGET = layout.Control._fields.index("walk_budget")


class Probes:
    """netmon's programs and maps in the kernel. The kernel frees them at close(), or when the process ends."""

    def __init__(self, filters: CompiledFilters, ring_size: int, *, aggregate: bool = False) -> None:
        """Load the programs that are needed, and put the filters in force. Nothing is attached yet.

        Args:
            filters: What to watch, and the filters.
            ring_size: Size of the ring buffer in bytes: a power of two, at least a page.
            aggregate: Aggregate connections in flows, for take_flows(), in place of sending events.

        Raises:
            BpfError: The kernel refuses.
            KernelError: The kernel has no BTF.
            LibbpfError: libbpf is missing or too old.
        """
        self._watched = filters.watched
        self._configured = filters.configured
        self._pid = os.getpid()
        self._links: list[Link] = []
        self._counts_bytes = aggregate or filters.watched.report.statistics
        self._flows: Map | None = None
        self._walk_fd: int | None = None
        self._follows_progress = aggregate or filters.watched.report.sends_progress
        self._open_walk: OpenWalk | None = None
        self._marks: Marks | None = None
        options = _report_options(filters.watched, aggregate)
        self._object = BpfObject(read_object(minimal=options is None, filtered=filters.configured), "netmon")
        try:
            features = read_features(program.hook for program in PROGRAMS if program.is_optional)
            self.programs = hook_programs(filters.watched, features, aggregate=aggregate)
            self._process_programs = process_programs(filters.watched, features.functions)
            self._filter_maps = FilterMaps(self._object, rules=bool(filters.rules))
            self._flow_kind = self._object.inner_map_kind("flows")
            self._load(filters, options, features, ring_size)
            self._losses = self._object.data(".data.losses")
            self._settings = self._object.data(".data.settings")
            self._control = self._object.data(".data.control").cast("Q")
            self._flows_made = self._object.data(".data.flows").cast("Q")
            self._coverage = self._object.data(".data.coverage")
            self._overflowed = self._object.data(".data.overflowed").cast("Q")
            self._pulses = self._object.data(".data.pulses").cast("Q")
            self._pulse = Pulse(self._runs)
            self._offenders = Offenders(self._object.data("payers", layout.TableSize.PAYER_TABLE_SIZE))
            self.ring = RingBuffer(self._object.map_fd("events"), ring_size)
            self._filter_maps.fill(filters)
            if aggregate:
                self._replace_flows()
        except BaseException:
            self._object.close()
            raise

    def _load(
        self, filters: CompiledFilters, options: layout.ReportOptions | None, features: Features, ring_size: int
    ) -> None:
        """Configure the object and load it. options: None for the minimal object."""
        bpf = self._object
        watched = filters.watched
        programs = [
            *self.programs,
            *[WALK] * watched.report.existing,
            *[OPEN_WALK] * self._follows_progress,
            *self._process_programs,
        ]
        for program in programs_in_object(minimal=options is None):
            bpf.set_autoload(program.name, program in programs)
        load_config = layout.LoadConfig(
            backups=any(program in programs for program in CONNECT_BACKUPS),
            ipv6_is_module=features.ipv6_is_module,
            accept_arguments=features.accept_arguments,
            mptcp=MPTCP_CONNECT.hook in features.functions,
            filters=filters.configured,
            rules=bool(filters.rules),
            ring_size=ring_size,
            follows=watched.follows,
            tick_ns=read_tick_ns(),
            legacy_cgroups=read_legacy_cgroups(),
        )
        bpf.set_initial_value(".rodata.load_config", layout.LOAD_CONFIG.pack(*load_config))
        if options is not None:
            bpf.set_initial_value(".rodata.report_options", layout.REPORT_OPTIONS.pack(*options))
        bpf.set_initial_value(".data.settings", self._filter_maps.initial_settings(filters))
        bpf.set_max_entries("events", ring_size)
        bpf.set_max_entries("scratches", count_scratch_slots(programs))
        bpf.load()

    def attach(self) -> None:
        """Attach the programs, those of closes first: so each connection that is reported has its close reported.

        Raises:
            BpfError: The kernel refuses.
            ConfigError: A process that is to be followed does not run.
            KernelError: The programs are attached, but the kernel does not run them.
        """
        for program in self._process_programs:
            self._links.append(self._object.attach(program.name))
        if self._watched.follows:
            self._follow()
        for program in reversed(self.programs):
            self._links.append(self._object.attach(program.name))
        if not self._runs():
            raise KernelError(why_programs_do_not_run())
        self._pulse.begin()
        if self._follows_progress:
            self._open_walk = self._attach_open_walk()
        if self._watched.report.existing:
            with self._object.attach(WALK.name) as walk:
                self._walk_fd = walk.iterate()

    def _attach_open_walk(self) -> OpenWalk:
        from netmon.kernel.open_walk import OpenWalk  # seldom needed

        def attach(map_name: str) -> Link:
            return self._object.attach_to_map(OPEN_WALK.name, map_name)

        # The overflow takes a while even if it is empty. With existing, connections are there until the walk has ended.
        iterators = {
            attach("connection_overflow"): lambda: bool(self._overflowed[0]),
            attach("connection_table"): lambda: True,
        }
        return OpenWalk(iterators, self._allow_walk)

    def _follow(self) -> None:
        """Mark the processes that are followed: before anything is reported, so that no verdict is without the mark."""
        from netmon.kernel.marks import Marks  # seldom needed

        self._marks = Marks(self._object.map_fd("marks"))
        self._marks.follow(self._watched.pids, self._watched.trees)

    def follow(self, pid: int) -> None:
        """Follow a further process, with its descendants.

        Raises:
            NetmonError: The configuration follows no descendants.
            ConfigError: The process does not run, or is a thread.
            BpfError: The kernel refuses.
        """
        if self._marks is None or not self._watched.trees:
            raise NetmonError(
                "this monitor follows no descendants: start it with a configuration that has process_filter.descendants"
            )
        self._marks.follow((), (pid,))
        self._filter_maps.forget_verdicts(self._control)  # they may have been seen, and rejected, before

    def followed(self) -> list[FollowedProcess]:
        """Return the processes that are followed and have not ended. Any thread may call it. Raises BpfError."""
        return list(self._marks.running()) if self._marks is not None else []

    def report_existing(self) -> bool:
        """Report connections that are open already, while there is room; return whether more may follow."""
        if self._walk_fd is None:
            return False
        try:
            os.read(self._walk_fd, 1)  # returns nothing: the end
        except BlockingIOError:  # the ring buffer is half full, or the kernel pauses after a million files
            return True
        except OSError as error:
            raise BpfError(error.errno or errno.EIO, "look for open connections") from error
        self._end_walk()
        return False

    def report_open(self, *, anew: bool = False) -> bool:
        """Report what open connections have carried since the last time, as of OpenWalk.go_on()."""
        return self._open_walk is not None and self._open_walk.go_on(anew=anew)

    def _allow_walk(self, connections: int) -> None:
        self._control[WALK_BUDGET] = connections

    def _end_walk(self) -> None:
        if self._walk_fd is not None:
            os.close(self._walk_fd)
            self._walk_fd = None
            if os.getpid() == self._pid:  # a forked child shares the memory
                self._control[WALKER] = 0
                self._control[HAS_WALKED] = 1

    def _runs(self) -> bool:
        """Return whether the kernel runs the attached programs; True where it has no function to test that."""
        if PULSE not in self.programs:
            return True
        before = self._pulses[0]
        self._object.test_run(PULSE.name)
        return bool(self._pulses[0] != before)

    @property
    def blind(self) -> str:
        """Why the kernel runs no programs, and what to do; "" if it runs them. It looks once a second, at most."""
        self._look()
        return why_programs_do_not_run() if self._pulse.failed else ""

    def _look(self) -> None:
        if self._links:
            self._pulse.look()

    def _read_coverage(self) -> layout.Coverage:
        return layout.Coverage._make(layout.COVERAGE.unpack(self._coverage))

    @property
    def inexact(self) -> str:
        """Why the bytes of closes may be off by what was sent or received meanwhile; "" if they are exact."""
        if not self._counts_bytes:
            return ""
        if LOCKED_CLOSE not in self.programs:
            return why_bytes_are_inexact(f"does not have {LOCKED_CLOSE.hook}()")
        coverage = self._read_coverage()
        if coverage.tcp_unlocked_closes and not coverage.tcp_close_is_locked:
            return why_bytes_are_inexact(f"has {LOCKED_CLOSE.hook}() inside of {CLOSE.hook}()")
        if coverage.mptcp_unlocked_closes and not coverage.mptcp_close_is_locked:
            return why_bytes_are_inexact(f"has {MPTCP_LOCKED_CLOSE.hook}() inside of {MPTCP_CLOSE.hook}()")
        return ""

    def detach(self) -> None:
        """Detach the programs; the records in the ring buffer can still be read. Idempotent."""
        while self._links:
            self._links.pop().close()

    def close(self) -> None:
        """Detach and free everything. Idempotent."""
        self.detach()
        if self._object.closed:
            return
        self._end_walk()
        if self._open_walk is not None:
            self._open_walk.close()
        for memory in (
            self._losses,
            self._settings,
            self._control,
            self._flows_made,
            self._coverage,
            self._overflowed,
            self._pulses,
        ):
            memory.release()
        self._offenders.close()
        if self._flows is not None:
            self._flows.close()
        self.ring.close()
        self._object.close()

    def swap_filters(self, filters: CompiledFilters) -> None:
        """Filter the connections that open from now on by other filters.

        Raises:
            NetmonError: More than the filters differs, or the programs were loaded without code that filters.
            BpfError: The kernel refuses; the old filters stay in force.
        """
        if changed := self._watched.differences(filters.watched):
            raise NetmonError(f"{', '.join(changed)} cannot change while netmon runs: start it again")
        if filters.configured and not self._configured:
            raise NetmonError(
                "started without a configuration, nothing can be filtered: start with Config.everything()"
            )
        self._filter_maps.swap(filters, self._settings, self._control)

    @property
    def flows_are_many(self) -> bool:
        """Whether the table of flows is nearly full."""
        return self._flows_made[0] > self._control[FLOWS_NOTICE]

    def take_flows(self) -> list[tuple[bytes, bytes]]:
        """Return all flows since the last call, as struct flow_key and struct flow, and begin a new table."""
        taken = self._replace_flows()
        assert taken is not None, "not in aggregate mode"
        with closing(taken):
            return list(taken.items())

    def _replace_flows(self) -> Map | None:
        """Replace the table of flows by an empty one; return the previous one, which no program uses any more."""
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
        """Return what the kernel reports about each program that is attached, once or for all the time."""
        programs = [*self.programs, *[OPEN_WALK] * self._follows_progress, *self._process_programs]
        return [self._object.program_info(program.name) for program in programs]

    def read_losses(self) -> Losses:
        """Return the losses so far, and look once a second whether the kernel runs the programs."""
        self._look()
        kernel = layout.Losses._make(layout.LOSSES.unpack(self._losses))
        return Losses(
            **kernel._asdict(),
            missed=self._count_missed(),
            blind_ms=self._pulse.blind_ms,
            offenders=self._offenders.look() if kernel.over_budget else NO_COUNTS,
        )

    def _count_missed(self) -> int:
        """Return an upper bound of the events that the programs missed."""
        from netmon.kernel.missed import most_missed  # a start does not need it

        # Read before the skips, so that each event counted here has its skip counted, too.
        coverage = self._read_coverage()
        skips = {program: self._object.program_info(program.name).recursion_misses for program in self.programs}
        outcome = self._watched.report.outcome
        return most_missed(skips, coverage, outcome=outcome, failures=outcome or self._flows is not None)

    def set_oldest_process_id(self, process_id: int) -> None:
        """Make the kernel describe the processes whose id is below this one again, when they next have an event."""
        self._control[OLDEST_PROCESS_ID] = process_id


def _report_options(watched: Watched, aggregate: bool) -> layout.ReportOptions | None:
    """Return the options to load the full object with; None if all are off: then the minimal object will do."""
    report = watched.report
    options = layout.ReportOptions(
        **{name: getattr(report, name) for name in OPTIONS},
        aggregate=aggregate,
        existing_ingress=report.existing and watched.ingress,
        existing_egress=report.existing and watched.egress,
        ancestors=report.ancestors or 0,
        progress=report.sends_progress,
        unsent=sum(1 << layout.RecordType[event.upper()] for event in EVENTS if not report.sends(event)),
        with_context=report.opener or report.context,
        other_tasks=report.existing or report.parent or bool(report.ancestors),
        snapshot=watched.snapshot,
    )
    return options if any(options) else None

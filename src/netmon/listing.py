"""What is open now: every TCP connection of this host with the process that holds it, found by one walk.

The walk through the open files of all processes (bpf/existing.h) is the only program that is loaded, and nothing is
attached to the kernel's functions: no connection is slower for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from netmon.decode.clock import Clock
from netmon.decode.decoder import Decoder
from netmon.decode.processes import ProcessTable
from netmon.errors import NetmonError
from netmon.filters.compile import compile_filters
from netmon.kernel import procfs
from netmon.kernel.cmdline_reader import CmdlineReader
from netmon.kernel.probes import Probes
from netmon.kernel.refusals import explaining_refusals
from netmon.kernel.requirements import require_kernel
from netmon.limits import DEFAULT_LINE_LIMIT, DEFAULT_RING_SIZE
from netmon.reader.reader import BATCH_LIMIT
from netmon.report import Report

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.config.checked import CheckedConfig
    from netmon.decode.raw_event import RawEvent
    from netmon.decode.workloads import NameSource
    from netmon.events import NetworkEvent
    from netmon.reader.source import OpenSource, Source

PIDS_NAMED = 32  # of the other processes that hold a connection: a line is bounded (LINE_REST)


def connections(config: Config | None = None, *, any_kernel: bool = False) -> list[NetworkEvent]:
    """Return the TCP connections that are open now, with the processes that hold them.

    Args:
        config: Its directions and filters choose connections; its `report.parent`, `report.context` and
            `report.workload` add keys, and the rest of `report` changes nothing. None: all connections.
        any_kernel: Try on a kernel older than netmon supports.

    Returns:
        An event of type TcpConnectionExisting for each, by ascending process ids.

    Raises:
        KernelError: The kernel is too old for netmon, or has no BTF.
        LibbpfError: libbpf is missing or too old.
        BpfError: The kernel refuses, for lack of a capability, say; the message says what to do.
        ConfigError: config names a process that does not run, or a path that is not a network namespace.
        NetmonError: The system lacks a resource, or the list would not be complete.
    """
    report = config.report if config is not None else Report()
    found = list_open(
        config, parent=report.parent, context=report.context, workload=report.workload, any_kernel=any_kernel
    )
    return [event.model() for event in found.values()]


def list_open(
    config: Config | CheckedConfig | None,
    *,
    parent: bool = False,
    context: bool = False,
    workload: bool = False,
    any_kernel: bool = False,
    open_source: OpenSource = Probes,
) -> dict[int, RawEvent]:
    """Return the connections that are open now, by their cookies.

    Args:
        config: Which of them, as of connections(); its section `report` has no effect.
        parent: Whether processes have their parent.
        context: Whether connections have their context.
        workload: Whether processes have their workload.
        any_kernel: Try on a kernel older than netmon supports.
        open_source: Opens the source of the records, for tests.

    Raises:
        NetmonError: As of connections().
    """
    if not any_kernel:
        require_kernel(os.uname().release)
    report = Report(existing=True, statistics=True, parent=parent, context=context, workload=workload)
    filters = compile_filters(config)
    filters = filters._replace(watched=filters.watched._replace(report=report, snapshot=True))
    with explaining_refusals(), closing(open_source(filters, DEFAULT_RING_SIZE, aggregate=False)) as source:
        source.attach()
        return merge(_walk(source, report))


def _name_source() -> NameSource:
    from netmon.kernel.workload_reader import WorkloadReader  # seldom needed

    return WorkloadReader()


def _walk(source: Source, report: Report) -> Iterator[RawEvent]:
    """Yield an event for each process that holds a connection, and each of its descriptors."""
    boot_offset_ns = procfs.read_boot_offset()
    clock = Clock(boot_offset_ns)
    processes = ProcessTable(
        clock,
        procfs.read_last_cap(),
        read_cmdline=CmdlineReader(boot_offset_ns).read,
        bytes_waiting=lambda: source.ring.waiting,
        set_oldest=source.set_oldest_process_id,
        line_limit=DEFAULT_LINE_LIMIT,
        roles=1 + report.parent,
        with_cgroup=report.context,
        name_source=_name_source() if report.workload else None,
    )
    decoder = Decoder(clock, processes)
    more = True
    while more:
        more = source.report_existing()
        full = True
        while full:
            full = source.ring.fill(BATCH_LIMIT)
            processes.note_consumed(source.ring.batch.size)
            for events in decoder.raw_events(source.ring.batch):
                yield from events
    losses = source.read_losses()._replace(unknown_process=decoder.unknown_process)
    if losses.total:
        raise NetmonError(f"the list is not complete: {losses.describe()}; try again")


def merge(events: Iterable[RawEvent]) -> dict[int, RawEvent]:
    """Return one event for each connection, by its cookie: the first one, with how many processes hold it.

    Args:
        events: An event for each process that holds a connection and each descriptor of it, by process. Their details
            are changed.
    """
    found: dict[int, RawEvent] = {}
    others: dict[int, list[int]] = {}  # pids of further processes
    for event in events:
        first = found.setdefault(event.cookie, event)
        if event.process.pid != first.process.pid:
            pids = others.setdefault(event.cookie, [])
            if event.process.pid not in pids[-1:]:
                pids.append(event.process.pid)
    for cookie, event in found.items():
        pids = others.get(cookie, [])
        event.details["holders"] = 1 + len(pids)
        if pids:
            event.details["other_pids"] = pids[:PIDS_NAMED]
    return found

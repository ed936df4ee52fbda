"""The BPF programs, one table: where each is attached, what it needs, and which of them a configuration needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from netmon.errors import NetmonError
from netmon.kernel import FULL_OBJECT, MINIMAL_OBJECT
from netmon.layout import Slot

if TYPE_CHECKING:
    from netmon.filters.compiled import Watched
    from netmon.kernel.features import Features


class Program(NamedTuple):
    """A program of bpf/netmon.bpf.c, with its backup program if it has one."""

    name: str
    hook: str  # the kernel's function or tracepoint that it is attached to
    slot: Slot | None = None  # its scratch slot; None: it needs no scratch memory
    has_backup: bool = True
    backup_always: bool = False  # loaded even where the kernel does not preempt programs
    in_minimal: bool = True  # whether the minimal object has it, too
    lost_by_skip: int = 0  # events lost, at most, each time that the kernel skips the program and its backup

    @property
    def backup(self) -> str:
        """The name of its backup program."""
        return f"{self.hook}_backup"

    def names(self, preemptible: bool) -> list[str]:
        """Return the names of the programs to load. preemptible: whether the kernel may preempt them."""
        return [self.name, self.backup] if self.has_backup and (preemptible or self.backup_always) else [self.name]


# A connection whose opening was skipped is not kept, so its close is lost, too.
OPENING, CLOSING = 2, 1

V4_CONNECT = Program("tcp_v4_connect_exit", "tcp_v4_connect", Slot.TCP_V4_CONNECT, lost_by_skip=OPENING)
V6_CONNECT = Program("tcp_v6_connect_exit", "tcp_v6_connect", Slot.TCP_V6_CONNECT, lost_by_skip=OPENING)
# Loaded in place of V6_CONNECT where that is in a module.
SENT_SYN = Program("tcp_connect_exit", "tcp_connect", Slot.TCP_V6_CONNECT, lost_by_skip=OPENING)
# All accepted sockets go through this hook, those of threads that waited in accept() when the programs were attached
# among them.
GRAFT = Program("security_sock_graft_entry", "security_sock_graft", Slot.TCP_ACCEPT, lost_by_skip=OPENING)
# Loaded in place of GRAFT where the kernel lacks that, with MPTCP_ACCEPT.
ACCEPT = Program("inet_csk_accept_exit", "inet_csk_accept", Slot.TCP_ACCEPT, lost_by_skip=OPENING)
CLOSE = Program("tcp_close_entry", "tcp_close", Slot.TCP_CLOSE, lost_by_skip=CLOSING)
# The hooks of MPTCP are seldom reached: a skip is unlikely, so they have no backups.
MPTCP_CONNECT = Program(
    "mptcp_connect_exit", "mptcp_connect", Slot.MPTCP_CONNECT, has_backup=False, lost_by_skip=OPENING
)
MPTCP_ACCEPT = Program(
    "mptcp_stream_accept_exit", "mptcp_stream_accept", Slot.MPTCP_ACCEPT, has_backup=False, lost_by_skip=OPENING
)
MPTCP_CLOSE = Program("mptcp_close_entry", "mptcp_close", Slot.MPTCP_CLOSE, has_backup=False, lost_by_skip=CLOSING)
# An interrupt may change a connection's state while a task's program runs, on any kernel.
SET_STATE = Program("inet_sock_set_state_enter", "inet_sock_set_state", backup_always=True, in_minimal=False)
# With the option outcome it reports openings; otherwise it only notes what ended a connection.
SET_STATE_WITH_OUTCOME = SET_STATE._replace(lost_by_skip=OPENING)
# An iterator: it runs on request.
WALK = Program("task_file_walk", "task_file", Slot.WALK, has_backup=False, in_minimal=False)
# Counts its runs: see bpf/pulse.h.
PULSE = Program("bpf_fentry_test1_entry", "bpf_fentry_test1", has_backup=False)

PROGRAMS = (
    V4_CONNECT,
    V6_CONNECT,
    SENT_SYN,
    GRAFT,
    ACCEPT,
    CLOSE,
    MPTCP_CONNECT,
    MPTCP_ACCEPT,
    MPTCP_CLOSE,
    SET_STATE,
    WALK,
    PULSE,
)


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


def names_in_object(*, minimal: bool) -> list[str]:
    """Return the names of all programs in an object, backups included."""
    programs = [program for program in PROGRAMS if program.in_minimal or not minimal]
    return [name for program in programs for name in program.names(preemptible=True)]


def hook_programs(watched: Watched, features: Features) -> list[Program]:
    """Return the programs to attach, those of openings first: attach them in reverse, so that no close is missed."""
    report = watched.report
    programs = [PULSE] * features.test_function
    if watched.egress:
        programs += [V4_CONNECT, *[V6_CONNECT] * features.ipv6, *[SENT_SYN] * features.ipv6_module]
        programs += [MPTCP_CONNECT] * features.mptcp
    if watched.ingress and features.sock_graft:
        programs.append(GRAFT)
    elif watched.ingress:
        programs += [ACCEPT, *[MPTCP_ACCEPT] * features.mptcp]
    programs += [CLOSE, *[MPTCP_CLOSE] * features.mptcp]
    if report.outcome:
        programs.append(SET_STATE_WITH_OUTCOME)
    elif report.statistics or report.existing:
        programs.append(SET_STATE)
    return programs


def count_scratch_slots(programs: Sequence[Program], preemptible: bool) -> int:
    """Return how many scratch slots the programs need, on each CPU: slots are numbered, so all up to the last one."""
    last = 0
    for program in programs:
        if program.slot is not None:
            has_backup = program.has_backup and preemptible
            last = max(last, program.slot + Slot.BACKUPS * has_backup)
    return last + 1


def most_missed(program: Program, skips: Sequence[int], backup_only: int) -> int:
    """Return an upper bound of the events that a hook's programs missed.

    An event is missed when the kernel skipped all programs of its hook: at most as often as the one skipped least.

    Args:
        program: The hook's program.
        skips: How often the kernel skipped each of its loaded programs, the main program first.
        backup_only: How many of the main program's skips lost nothing, since the backup reported the event.
    """
    main, *backup = skips
    # Where a kernel runs the backup first, it is the one that reports: these events were no skips then.
    if backup_only <= main:
        main -= backup_only
    return min([main, *backup]) * program.lost_by_skip

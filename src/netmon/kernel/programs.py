"""The BPF programs, one table: where each is attached, what it needs, and which of them a configuration needs."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from netmon.errors import NetmonError
from netmon.kernel import OBJECTS
from netmon.layout import Slot

if TYPE_CHECKING:
    from netmon.filters.compiled import Watched
    from netmon.kernel.features import Features


class Program(NamedTuple):
    """A program of bpf/netmon.bpf.c."""

    name: str
    hook: str  # the kernel's function or tracepoint that it is attached to
    slot: Slot | None = None  # its scratch slot; None: it needs no scratch memory
    in_minimal: bool = True  # whether the minimal object has it, too
    is_optional: bool = False  # some kernels do not have the function
    is_opening: bool = False  # it reports openings
    is_closing: bool = False


V4_CONNECT = Program("tcp_v4_connect_exit", "tcp_v4_connect", Slot.TCP_V4_CONNECT, is_opening=True)
V6_CONNECT = Program("tcp_v6_connect_exit", "tcp_v6_connect", Slot.TCP_V6_CONNECT, is_optional=True, is_opening=True)
MPTCP_CONNECT = Program("mptcp_connect_exit", "mptcp_connect", Slot.MPTCP_CONNECT, is_optional=True, is_opening=True)
# The backups of connect(): see bpf/backup.h.
EHASH = Program("inet_ehash_nolisten_entry", "inet_ehash_nolisten", Slot.EHASH, is_optional=True, is_opening=True)
V4_CHECK = Program(
    "inet_check_established_exit", "__inet_check_established", Slot.V4_CHECK, is_optional=True, is_opening=True
)
V6_CHECK = Program(
    "inet6_check_established_exit", "__inet6_check_established", Slot.V6_CHECK, is_optional=True, is_opening=True
)
CONNECT_BACKUPS = (EHASH, V4_CHECK, V6_CHECK)
GRAFT = Program("security_sock_graft_entry", "security_sock_graft", Slot.ACCEPT, is_optional=True, is_opening=True)
# Loaded where the kernel has no security_sock_graft(), which takes CONFIG_SECURITY_NETWORK.
ACCEPT = Program("inet_csk_accept_exit", "inet_csk_accept", Slot.ACCEPT, is_opening=True)
MPTCP_ACCEPT = Program(
    "mptcp_stream_accept_exit", "mptcp_stream_accept", Slot.MPTCP_ACCEPT, is_optional=True, is_opening=True
)
CLOSE = Program("tcp_close_entry", "tcp_close", Slot.TCP_CLOSE, is_closing=True)
MPTCP_CLOSE = Program("mptcp_close_entry", "mptcp_close", Slot.MPTCP_CLOSE, is_optional=True, is_closing=True)
# These take over from CLOSE and MPTCP_CLOSE where bytes are counted: see bpf/close.h.
LOCKED_CLOSE = Program(
    "tcp_close_locked_entry",
    "__tcp_close",
    Slot.TCP_CLOSE_LOCKED,
    in_minimal=False,
    is_optional=True,
    is_closing=True,
)
MPTCP_LOCKED_CLOSE = Program(
    "mptcp_close_locked_entry",
    "__mptcp_close",
    Slot.MPTCP_CLOSE_LOCKED,
    in_minimal=False,
    is_optional=True,
    is_closing=True,
)
DESTROY = Program("inet_csk_destroy_sock_entry", "inet_csk_destroy_sock", is_closing=True)
MPTCP_DESTROY = Program("mptcp_destroy_entry", "mptcp_destroy", is_optional=True, is_closing=True)
# An interrupt may change a connection's state while a task's program runs, on any kernel: so there is a backup. See
# bpf/backup.h for which of the two.
SET_STATE = Program("inet_sock_set_state_enter", "inet_sock_set_state", in_minimal=False)
SET_STATE_BACKUP = Program("inet_sock_set_state_backup", "inet_sock_set_state", in_minimal=False)
FINISH_CONNECT = Program("tcp_finish_connect_exit", "tcp_finish_connect", in_minimal=False, is_optional=True)
DONE = Program("tcp_done_entry", "tcp_done", in_minimal=False, is_optional=True)
STATE_BACKUPS = (SET_STATE_BACKUP, FINISH_CONNECT, DONE)
# An iterator: it runs on request.
WALK = Program("task_file_walk", "task_file", Slot.WALK, in_minimal=False)
# Another one, of the maps that hold open connections.
OPEN_WALK = Program("connection_walk", "bpf_map_elem", in_minimal=False)
# Marks the descendants of processes: see bpf/follow.h.
FORK = Program("sched_process_fork_enter", "sched_process_fork")
# Keeps what each process exec'd: see bpf/exec.h.
EXEC = Program("sched_process_exec_enter", "sched_process_exec", Slot.EXEC, in_minimal=False)
# These two see the answers of name servers: see bpf/names.h.
UDP_RECEIVE = Program("udp_recvmsg_exit", "udp_recvmsg", Slot.UDP_RECEIVE, in_minimal=False, is_optional=True)
UDP6_RECEIVE = Program("udpv6_recvmsg_exit", "udpv6_recvmsg", Slot.UDP6_RECEIVE, in_minimal=False, is_optional=True)
# These two see what TLS clients send first: see bpf/sni.h.
TCP_SEND = Program("tcp_sendmsg_entry", "tcp_sendmsg", Slot.TCP_SEND, in_minimal=False, is_optional=True)
MPTCP_SEND = Program("mptcp_sendmsg_entry", "mptcp_sendmsg", Slot.MPTCP_SEND, in_minimal=False, is_optional=True)
# Counts its runs: see bpf/pulse.h.
PULSE = Program("bpf_fentry_test1_entry", "bpf_fentry_test1", is_optional=True)

PROGRAMS = (
    V4_CONNECT,
    V6_CONNECT,
    *CONNECT_BACKUPS,
    GRAFT,
    ACCEPT,
    CLOSE,
    DESTROY,
    MPTCP_CONNECT,
    MPTCP_ACCEPT,
    MPTCP_CLOSE,
    MPTCP_DESTROY,
    LOCKED_CLOSE,
    MPTCP_LOCKED_CLOSE,
    PULSE,
    FORK,
    EXEC,
    UDP_RECEIVE,
    UDP6_RECEIVE,
    TCP_SEND,
    MPTCP_SEND,
    SET_STATE,
    *STATE_BACKUPS,
    WALK,
    OPEN_WALK,
)


def read_object(*, minimal: bool, filtered: bool = True) -> bytes:
    """Return a BPF object file of the package.

    Args:
        minimal: The one without report options.
        filtered: The one with filters.

    Raises:
        NetmonError: The file is missing.
    """
    name = OBJECTS[frozenset(["options"] * minimal + ["filters"] * (not filtered))]
    try:
        # Read by the importer: netmon may be a directory, or inside a single-file executable.
        loader: Any = __spec__.loader
        return bytes(loader.get_data(os.path.join(os.path.dirname(__file__), name)))
    except OSError:
        raise NetmonError(f"{name} is missing from the package: run build.py compile") from None


def programs_in_object(*, minimal: bool) -> list[Program]:
    """Return all programs of an object."""
    return [program for program in PROGRAMS if program.in_minimal or not minimal]


def hook_programs(watched: "Watched", features: "Features", *, aggregate: bool = False) -> list[Program]:
    """Return the programs to attach, those of openings first: attach them in reverse, so that no close is missed."""
    if watched.snapshot:
        return []
    report = watched.report
    follows_states = report.statistics or report.outcome or report.existing
    programs = [PULSE]
    # With existing, all openings are followed: one must not be taken for an existing connection.
    if watched.egress and (report.existing or any(map(report.sends, ("establish", "fail", "close", "progress")))):
        programs += [V4_CONNECT, V6_CONNECT, MPTCP_CONNECT]
        # Where IPv6 is a module, they alone see its connections: what they are attached to is not in the module.
        programs += CONNECT_BACKUPS * (features.preemptible or features.ipv6_is_module)
    if watched.ingress and (report.existing or any(map(report.sends, ("accept", "close", "progress")))):
        programs += [GRAFT] if GRAFT.hook in features.functions else [ACCEPT, MPTCP_ACCEPT]
    programs += [CLOSE, MPTCP_CLOSE]
    programs += (LOCKED_CLOSE, MPTCP_LOCKED_CLOSE) * (report.statistics or aggregate)
    if follows_states or features.preemptible:
        programs += [DESTROY, MPTCP_DESTROY]
    if follows_states:
        programs += [SET_STATE]
        # Whether a task can stay inside of SET_STATE for long: see bpf/backup.h.
        if features.preemptible or not features.functions.issuperset((FINISH_CONNECT.hook, DONE.hook)):
            programs += [SET_STATE_BACKUP]
        else:
            programs += [DONE] + [FINISH_CONNECT] * (report.outcome or report.existing)
    return [program for program in programs if not program.is_optional or program.hook in features.functions]


def missing_hooks(features: "Features") -> list[str]:
    """Return the functions that this kernel lacks for its connections to be seen in every case.

    It may have inlined or renamed them (link-time optimisation). What it lacks since it has no IPv6 or no MPTCP is not
    among them.
    """
    has = features.functions
    wanted = [GRAFT]
    if features.preemptible:
        wanted += [EHASH, V4_CHECK]
        wanted += [V6_CHECK] * (V6_CONNECT.hook in has)
        wanted += [MPTCP_DESTROY] * (MPTCP_CLOSE.hook in has)
    if MPTCP_CONNECT.hook in has or MPTCP_CLOSE.hook in has:
        wanted += [MPTCP_CONNECT, MPTCP_CLOSE]
    return [program.hook for program in wanted if program.hook not in has]


def process_programs(watched: "Watched", functions: Collection[str]) -> list[Program]:
    """Return the programs that follow processes, not connections: attach them before those of hook_programs().

    Args:
        watched: What is watched.
        functions: Those that this kernel has of the functions that programs are attached to.
    """
    programs = [FORK] * (watched.follows_forks or watched.report.exec) + [EXEC] * watched.report.exec
    reading = (UDP_RECEIVE, UDP6_RECEIVE) * watched.report.names + (TCP_SEND, MPTCP_SEND) * watched.report.sni
    return programs + [program for program in reading if program.hook in functions]


def count_scratch_slots(programs: Sequence[Program]) -> int:
    """Return how many scratch slots the programs need, on each CPU: slots are numbered, so all up to the last one."""
    return max((program.slot for program in programs if program.slot is not None), default=0) + 1

"""The table of programs: it is that of the compiled objects, and what is derived from it."""

from __future__ import annotations

import io

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from netmon.filters.compiled import Watched
from netmon.kernel.features import Features
from netmon.kernel.programs import (
    ACCEPT,
    CLOSE,
    CONNECT_BACKUPS,
    DONE,
    EHASH,
    EXEC,
    FINISH_CONNECT,
    FORK,
    GRAFT,
    LOCKED_CLOSE,
    MPTCP_CLOSE,
    MPTCP_DESTROY,
    MPTCP_LOCKED_CLOSE,
    PROGRAMS,
    SET_STATE,
    SET_STATE_BACKUP,
    STATE_BACKUPS,
    UDP6_RECEIVE,
    UDP_RECEIVE,
    V4_CONNECT,
    V6_CHECK,
    V6_CONNECT,
    WALK,
    Program,
    count_scratch_slots,
    hook_programs,
    missing_hooks,
    process_programs,
    programs_in_object,
    read_object,
)
from netmon.layout import Slot
from netmon.report import Report

EVERYTHING = Features(
    functions=frozenset(program.hook for program in PROGRAMS if program.is_optional),
    accept_arguments=2,
    preemptible=True,
)
NOTHING = Features(functions=frozenset(), accept_arguments=4, preemptible=False)
KINDS = ("fentry/", "fexit/", "tp_btf/", "iter/")


def hooks_in_object(*, minimal: bool, filtered: bool) -> dict[str, str]:
    """Return the hook of each program in a compiled object, by its name."""
    elf = ELFFile(io.BytesIO(read_object(minimal=minimal, filtered=filtered)))
    sections = {index: section.name for index, section in enumerate(elf.iter_sections())}
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    functions = [symbol for symbol in symbols.iter_symbols() if symbol["st_info"]["type"] == "STT_FUNC"]
    named = ((function.name, sections[function["st_shndx"]]) for function in functions)
    return {name: section.partition("/")[2] for name, section in named if section.startswith(KINDS)}


@pytest.mark.parametrize("minimal", [False, True])
@pytest.mark.parametrize("filtered", [False, True])
def test_the_table_has_the_programs_of_the_objects(minimal: bool, filtered: bool) -> None:
    table = {program.name: program.hook for program in programs_in_object(minimal=minimal)}
    assert hooks_in_object(minimal=minimal, filtered=filtered) == table


def names(watched: Watched, features: Features) -> list[str]:
    return [program.name for program in hook_programs(watched, features)]


def test_a_kernel_with_everything() -> None:
    assert names(Watched(), EVERYTHING) == [
        "bpf_fentry_test1_entry",
        "tcp_v4_connect_exit",
        "tcp_v6_connect_exit",
        "mptcp_connect_exit",
        "inet_ehash_nolisten_entry",
        "inet_check_established_exit",
        "inet6_check_established_exit",
        "security_sock_graft_entry",
        "tcp_close_entry",
        "mptcp_close_entry",
        "inet_csk_destroy_sock_entry",
        "mptcp_destroy_entry",
    ]


def test_a_snapshot_attaches_nothing() -> None:
    watched = Watched(report=Report(existing=True, statistics=True), trees=(1,), snapshot=True)
    assert names(watched, EVERYTHING) == []
    assert watched.follows
    assert not watched.follows_forks


def test_fork_has_no_program_among_those_of_connections() -> None:
    """It is loaded and attached apart from them, and only where descendants are followed."""
    assert FORK not in hook_programs(Watched(trees=(1,)), EVERYTHING)
    assert FORK in programs_in_object(minimal=True)


@pytest.mark.parametrize(
    ("watched", "programs"),
    [
        (Watched(), []),
        (Watched(pids=(1,)), []),
        (Watched(trees=(1,)), [FORK]),
        (Watched(report=Report(exec=True)), [FORK, EXEC]),
        (Watched(trees=(1,), report=Report(exec=True)), [FORK, EXEC]),
        (Watched(report=Report(names=True)), [UDP_RECEIVE, UDP6_RECEIVE]),
    ],
)
def test_programs_that_follow_processes(watched: Watched, programs: list[Program]) -> None:
    assert process_programs(watched, EVERYTHING.functions) == programs


def test_without_ipv6_or_with_it_as_a_module_answers_are_seen_at_ipv4_alone() -> None:
    watched = Watched(report=Report(names=True))
    assert process_programs(watched, {UDP_RECEIVE.hook}) == [UDP_RECEIVE]


def test_the_minimal_object_knows_no_names() -> None:
    assert not {UDP_RECEIVE, UDP6_RECEIVE} & {*programs_in_object(minimal=True)}


def test_events_that_are_not_sent_have_no_programs() -> None:
    def openings(report: Report) -> set[str]:
        return {program.hook for program in hook_programs(Watched(report=report), NOTHING) if program.is_opening}

    accepts, connects = {"inet_csk_accept"}, {"tcp_v4_connect"}
    assert openings(Report(events=("close",))) == accepts | connects
    assert openings(Report(events=("accept",))) == accepts
    assert openings(Report(events=("establish",))) == connects
    assert openings(Report(events=("existing",), existing=True)) == accepts | connects


def test_a_kernel_with_nothing_special() -> None:
    assert names(Watched(), NOTHING) == ["tcp_v4_connect_exit", "inet_csk_accept_exit", "tcp_close_entry"]


FOLLOWED = ["tcp_close_entry", "inet_csk_destroy_sock_entry", "inet_sock_set_state_enter", "inet_sock_set_state_backup"]


@pytest.mark.parametrize(
    ("watched", "expected"),
    [
        (Watched(ingress=False), ["tcp_v4_connect_exit", "tcp_close_entry"]),
        (Watched(egress=False), ["inet_csk_accept_exit", "tcp_close_entry"]),
        (Watched(egress=False, report=Report(existing=True)), ["inet_csk_accept_exit", *FOLLOWED]),
        (Watched(ingress=False, report=Report(statistics=True)), ["tcp_v4_connect_exit", *FOLLOWED]),
        (Watched(ingress=False, report=Report(context=True)), ["tcp_v4_connect_exit", "tcp_close_entry"]),
    ],
)
def test_only_what_is_needed_is_attached(watched: Watched, expected: list[str]) -> None:
    assert names(watched, NOTHING) == expected


def test_hooks_that_a_kernel_lacks_are_named() -> None:
    """Not those of what it does not have at all: IPv6, MPTCP."""

    def missing(*programs: Program, preemptible: bool = True) -> list[str]:
        functions = EVERYTHING.functions - {program.hook for program in programs}
        return missing_hooks(EVERYTHING._replace(functions=functions, preemptible=preemptible))

    assert missing() == missing(V6_CONNECT, V6_CHECK) == []
    assert missing(*(program for program in PROGRAMS if program.name.startswith("mptcp_"))) == []
    assert missing(GRAFT, EHASH, V6_CHECK, MPTCP_DESTROY) == [
        "security_sock_graft",
        "inet_ehash_nolisten",
        "__inet6_check_established",
        "mptcp_destroy",
    ]
    assert missing(EHASH, MPTCP_CLOSE, preemptible=False) == ["mptcp_close"]


def test_backups_are_loaded_where_the_kernel_preempts_programs() -> None:
    unpreempted = hook_programs(Watched(), EVERYTHING._replace(preemptible=False))
    assert not {*CONNECT_BACKUPS} & {*unpreempted}
    assert {*CONNECT_BACKUPS} < {*hook_programs(Watched(), EVERYTHING)}


def test_backups_see_the_connections_of_ipv6_where_it_is_a_module() -> None:
    module = EVERYTHING._replace(preemptible=False, functions=EVERYTHING.functions - {V6_CONNECT.hook})
    programs = hook_programs(Watched(), module)
    assert V6_CHECK in programs
    assert V6_CONNECT not in programs
    without_ipv6 = module._replace(functions=module.functions - {V6_CHECK.hook})
    assert not {*CONNECT_BACKUPS} & {*hook_programs(Watched(), without_ipv6)}


def test_the_backup_of_state_changes_is_the_one_that_runs_least() -> None:
    """Not where a task may be preempted inside of the main program, nor where the kernel lacks its functions."""

    def backups(report: Report, features: Features) -> set[Program]:
        return {*hook_programs(Watched(report=report), features)} & {*STATE_BACKUPS}

    unpreempted = EVERYTHING._replace(preemptible=False)
    assert backups(Report(outcome=True), unpreempted) == {FINISH_CONNECT, DONE}
    assert backups(Report(existing=True), unpreempted) == {FINISH_CONNECT, DONE}
    assert backups(Report(statistics=True), unpreempted) == {DONE}
    assert backups(Report(outcome=True), EVERYTHING) == {SET_STATE_BACKUP}
    without = unpreempted._replace(functions=unpreempted.functions - {DONE.hook})
    assert backups(Report(outcome=True), without) == {SET_STATE_BACKUP}
    assert not backups(Report(), unpreempted)


def test_closes_are_reported_under_the_lock_where_bytes_are_counted() -> None:
    locked = {LOCKED_CLOSE, MPTCP_LOCKED_CLOSE}
    assert not locked & {*hook_programs(Watched(), EVERYTHING)}
    assert locked < {*hook_programs(Watched(report=Report(statistics=True)), EVERYTHING)}
    assert locked < {*hook_programs(Watched(), EVERYTHING, aggregate=True)}
    assert not locked & {*hook_programs(Watched(), NOTHING, aggregate=True)}


@pytest.mark.parametrize(
    ("programs", "count"),
    [
        ([V4_CONNECT, ACCEPT, CLOSE], Slot.TCP_CLOSE + 1),
        ([V4_CONNECT, CLOSE, MPTCP_CLOSE], Slot.MPTCP_CLOSE + 1),
        ([V4_CONNECT, CLOSE, *CONNECT_BACKUPS], Slot.V6_CHECK + 1),
        ([GRAFT, CLOSE, SET_STATE], Slot.TCP_CLOSE + 1),
        ([CLOSE, SET_STATE, WALK], Slot.WALK + 1),
        ([*PROGRAMS], Slot.COUNT),
    ],
)
def test_scratch_slots_reach_to_the_last_one_needed(programs: list[Program], count: int) -> None:
    assert count_scratch_slots(programs) == count

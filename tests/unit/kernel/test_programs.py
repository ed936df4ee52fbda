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
    GRAFT,
    MPTCP_CLOSE,
    PROGRAMS,
    SET_STATE,
    SET_STATE_WITH_OUTCOME,
    V4_CONNECT,
    WALK,
    Program,
    count_scratch_slots,
    hook_programs,
    most_missed,
    names_in_object,
    read_object,
)
from netmon.layout import Slot
from netmon.report import Report

EVERYTHING = Features(
    ipv6=True,
    ipv6_module=False,
    mptcp=True,
    sock_graft=True,
    accept_arguments=2,
    preemptible=True,
    test_function=True,
)
NOTHING = Features(
    ipv6=False,
    ipv6_module=False,
    mptcp=False,
    sock_graft=False,
    accept_arguments=4,
    preemptible=False,
    test_function=False,
)
KINDS = ("fentry/", "fexit/", "tp_btf/", "iter/")


def hooks_in_object(*, minimal: bool) -> dict[str, str]:
    """Return the hook of each program in a compiled object, by its name."""
    elf = ELFFile(io.BytesIO(read_object(minimal=minimal)))
    sections = {index: section.name for index, section in enumerate(elf.iter_sections())}
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    functions = [symbol for symbol in symbols.iter_symbols() if symbol["st_info"]["type"] == "STT_FUNC"]
    named = ((function.name, sections[function["st_shndx"]]) for function in functions)
    return {name: section.partition("/")[2] for name, section in named if section.startswith(KINDS)}


@pytest.mark.parametrize("minimal", [False, True])
def test_the_table_has_the_programs_of_the_objects(minimal: bool) -> None:
    table = {
        name: program.hook
        for program in PROGRAMS
        if program.in_minimal or not minimal
        for name in program.names(preemptible=True)
    }
    assert hooks_in_object(minimal=minimal) == table
    assert list(table) == names_in_object(minimal=minimal)


def test_a_backup_is_loaded_where_the_kernel_preempts_programs() -> None:
    assert CLOSE.names(preemptible=True) == ["tcp_close_entry", "tcp_close_backup"]
    assert CLOSE.names(preemptible=False) == ["tcp_close_entry"]
    assert MPTCP_CLOSE.names(preemptible=True) == ["mptcp_close_entry"]
    assert len(SET_STATE.names(preemptible=False)) == 2


def names(watched: Watched, features: Features) -> list[str]:
    return [program.name for program in hook_programs(watched, features)]


def test_a_kernel_with_everything() -> None:
    assert names(Watched(), EVERYTHING) == [
        "bpf_fentry_test1_entry",
        "tcp_v4_connect_exit",
        "tcp_v6_connect_exit",
        "mptcp_connect_exit",
        "security_sock_graft_entry",
        "tcp_close_entry",
        "mptcp_close_entry",
    ]


def test_a_kernel_with_nothing_special() -> None:
    assert names(Watched(), NOTHING) == ["tcp_v4_connect_exit", "inet_csk_accept_exit", "tcp_close_entry"]


@pytest.mark.parametrize(
    ("watched", "expected"),
    [
        (Watched(ingress=False), ["tcp_v4_connect_exit", "tcp_close_entry"]),
        (Watched(egress=False), ["inet_csk_accept_exit", "tcp_close_entry"]),
        (
            Watched(egress=False, report=Report(existing=True)),
            ["inet_csk_accept_exit", "tcp_close_entry", "inet_sock_set_state_enter"],
        ),
        (
            Watched(ingress=False, report=Report(statistics=True)),
            ["tcp_v4_connect_exit", "tcp_close_entry", "inet_sock_set_state_enter"],
        ),
    ],
)
def test_only_what_is_needed_is_attached(watched: Watched, expected: list[str]) -> None:
    assert names(watched, NOTHING) == expected


def test_ipv6_in_a_module_is_seen_by_a_function_that_is_not() -> None:
    """The module may be loaded later."""
    assert names(Watched(ingress=False), NOTHING._replace(ipv6_module=True)) == [
        "tcp_v4_connect_exit",
        "tcp_connect_exit",
        "tcp_close_entry",
    ]


def test_a_kernel_without_the_hook_of_accepted_sockets() -> None:
    assert names(Watched(egress=False), NOTHING._replace(mptcp=True)) == [
        "inet_csk_accept_exit",
        "mptcp_stream_accept_exit",
        "tcp_close_entry",
        "mptcp_close_entry",
    ]


@pytest.mark.parametrize(
    ("programs", "preemptible", "count"),
    [
        ([V4_CONNECT, ACCEPT, CLOSE], False, Slot.TCP_CLOSE + 1),
        ([V4_CONNECT, CLOSE, MPTCP_CLOSE], False, Slot.BACKUPS),
        ([V4_CONNECT, CLOSE, MPTCP_CLOSE], True, Slot.WALK),
        ([GRAFT, CLOSE, SET_STATE], True, Slot.WALK),
        ([CLOSE, SET_STATE, WALK], False, Slot.COUNT),
        ([*PROGRAMS], True, Slot.COUNT),
    ],
)
def test_scratch_slots_reach_to_the_last_one_needed(programs: list[Program], preemptible: bool, count: int) -> None:
    assert count_scratch_slots(programs, preemptible) == count


@pytest.mark.parametrize(
    ("program", "skips", "backup_only", "missed"),
    [
        (CLOSE, (0, 0), 0, 0),
        (CLOSE, (7, 3), 0, 3),
        (CLOSE, (7, 3), 5, 2),
        (CLOSE, (7, 3), 7, 0),
        (V4_CONNECT, (7, 3), 5, 4),  # and their closes
        (ACCEPT, (7, 3), 6, 2),
        (GRAFT, (7, 3), 6, 2),
        (CLOSE, (3, 4), 1000, 3),  # the backup runs first: no main program was skipped
        (CLOSE, (3,), 0, 3),  # without a backup
        (MPTCP_CLOSE, (3,), 0, 3),
        (SET_STATE, (3, 2), 0, 0),
        (SET_STATE_WITH_OUTCOME, (3, 2), 0, 4),
    ],
)
def test_an_upper_bound_of_the_missed_events(
    program: Program, skips: tuple[int, ...], backup_only: int, missed: int
) -> None:
    assert most_missed(program, skips, backup_only) == missed

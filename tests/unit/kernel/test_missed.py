"""The bound of what programs may have missed, from the kernel's counts of skips."""

from __future__ import annotations

import pytest

from netmon.kernel.missed import IN_FLIGHT, most_missed
from netmon.kernel.programs import (
    ACCEPT,
    CLOSE,
    DESTROY,
    DONE,
    EHASH,
    FINISH_CONNECT,
    LOCKED_CLOSE,
    MPTCP_CLOSE,
    MPTCP_CONNECT,
    MPTCP_DESTROY,
    MPTCP_LOCKED_CLOSE,
    SET_STATE,
    SET_STATE_BACKUP,
    V4_CHECK,
    V4_CONNECT,
    V6_CHECK,
    V6_CONNECT,
    Program,
)
from netmon.layout import Coverage

NONE = Coverage._make([0] * len(Coverage._fields))
CONNECTS = {V4_CONNECT: 300, V6_CONNECT: 0, EHASH: 0, V4_CHECK: 0}


def missed(skips: dict[Program, int], coverage: Coverage = NONE, *, outcome: bool = False) -> int:
    return most_missed(skips, coverage, outcome=outcome, failures=outcome)


@pytest.mark.parametrize(
    ("skips", "expected"),
    [
        ({V4_CONNECT: 0, CLOSE: 0}, 0),
        ({V4_CONNECT: 3, CLOSE: 0}, 6),  # and their closes
        ({V4_CONNECT: 3, V6_CONNECT: 1, CLOSE: 2}, 10),
        ({ACCEPT: 3}, 6),
        ({MPTCP_CONNECT: 1, MPTCP_CLOSE: 1}, 3),
        ({**CONNECTS, V4_CONNECT: 0, MPTCP_CONNECT: 5, EHASH: 2}, 4),
        ({MPTCP_CLOSE: 3, MPTCP_DESTROY: 1}, 1),
        (CONNECTS, 0),
        ({**CONNECTS, EHASH: 2, V4_CHECK: 1}, 6),
        ({**CONNECTS, V4_CONNECT: 1, EHASH: 2, V4_CHECK: 1}, 2),
        ({CLOSE: 300, DESTROY: 0}, 0),
        ({CLOSE: 300, DESTROY: 4}, 4),
        ({CLOSE: 300, DESTROY: 4, MPTCP_CLOSE: 2}, 6),
    ],
)
def test_an_event_is_missed_when_all_that_see_it_are_skipped(skips: dict[Program, int], expected: int) -> None:
    assert missed(skips) == expected


def test_backups_whose_functions_the_kernel_does_not_call_cover_nothing() -> None:
    assert missed(CONNECTS, NONE._replace(connects_by_main=IN_FLIGHT)) == 0
    assert missed(CONNECTS, NONE._replace(connects_by_main=IN_FLIGHT + 1)) == 600


def test_backups_that_had_no_room_left_openings_to_the_main_program() -> None:
    assert missed(CONNECTS, NONE._replace(unkept_by_backup=2)) == 4


def test_backups_are_alone_where_ipv6_is_a_module() -> None:
    assert missed({V4_CONNECT: 0, EHASH: 0, V6_CHECK: 3}) == 6


def test_attempts_that_fail_at_once_have_no_backup() -> None:
    """A skip that was no such attempt has left the backup's mark."""
    assert missed(CONNECTS, outcome=True) == 300
    assert missed(CONNECTS, NONE._replace(marks_left=500, marks_taken=210), outcome=True) == 10
    assert missed(CONNECTS, NONE._replace(marks_left=500, marks_taken=190), outcome=True) == 0


def test_a_close_that_the_backup_reported_was_not_missed() -> None:
    assert missed({CLOSE: 7, DESTROY: 5}, NONE._replace(closes_by_backup=5)) == 2
    assert missed({CLOSE: 7, DESTROY: 5}, NONE._replace(closes_by_backup=9)) == 0


def test_openings_at_changes_of_state() -> None:
    skips: dict[Program, int] = {SET_STATE: 3, SET_STATE_BACKUP: 2}
    assert missed(skips) == 0
    assert missed(skips, outcome=True) == 4
    assert missed({SET_STATE: 3, FINISH_CONNECT: 1, DONE: 1}, outcome=True) == 4


def test_a_close_is_missed_when_the_program_that_reports_it_is_skipped() -> None:
    """Before the program with the lock has run, the other one may be the only one that runs."""
    skips: dict[Program, int] = {CLOSE: 7, LOCKED_CLOSE: 2}
    assert missed(skips) == 9
    assert missed(skips, NONE._replace(tcp_close_is_locked=1)) == 2
    assert missed({MPTCP_CLOSE: 7, MPTCP_LOCKED_CLOSE: 2}, NONE._replace(mptcp_close_is_locked=1)) == 2
    assert missed({**skips, DESTROY: 2}, NONE._replace(tcp_close_is_locked=1, closes_by_backup=2)) == 0

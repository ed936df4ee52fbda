"""The bound of what programs may have missed, from the kernel's counts of skips."""

from __future__ import annotations

import pytest

from netmon.kernel.missed import IN_FLIGHT, most_missed
from netmon.kernel.programs import (
    ACCEPT,
    CLOSE,
    DESTROY,
    EHASH,
    MPTCP_CLOSE,
    MPTCP_CONNECT,
    SET_STATE,
    SET_STATE_BACKUP,
    V4_CHECK,
    V4_CONNECT,
    V6_CONNECT,
    Program,
)
from netmon.layout import Coverage


def missed(
    skips: dict[Program, int], *, connects_by_main: int = 0, closes_by_backup: int = 0, outcome: bool = False
) -> int:
    return most_missed(skips, Coverage(connects_by_main, closes_by_backup), outcome=outcome)


@pytest.mark.parametrize(
    ("skips", "expected"),
    [
        ({V4_CONNECT: 0, CLOSE: 0}, 0),
        ({V4_CONNECT: 3, CLOSE: 0}, 6),  # and their closes
        ({V4_CONNECT: 3, V6_CONNECT: 1, CLOSE: 2}, 10),
        ({ACCEPT: 3}, 6),
        ({MPTCP_CONNECT: 1, MPTCP_CLOSE: 1}, 3),
        ({V4_CONNECT: 300, EHASH: 0, V4_CHECK: 0}, 0),
        ({V4_CONNECT: 300, EHASH: 2, V4_CHECK: 1}, 6),
        ({V4_CONNECT: 1, EHASH: 2, V4_CHECK: 1}, 2),
        ({CLOSE: 300, DESTROY: 0}, 0),
        ({CLOSE: 300, DESTROY: 4}, 4),
    ],
)
def test_an_event_is_missed_when_all_that_see_it_are_skipped(skips: dict[Program, int], expected: int) -> None:
    assert missed(skips) == expected


def test_backups_whose_functions_the_kernel_does_not_call_cover_nothing() -> None:
    skips = {V4_CONNECT: 300, EHASH: 0}
    assert missed(skips, connects_by_main=IN_FLIGHT) == 0
    assert missed(skips, connects_by_main=IN_FLIGHT + 1) == 600


def test_a_close_that_the_backup_reported_was_not_missed() -> None:
    assert missed({CLOSE: 7, DESTROY: 5}, closes_by_backup=5) == 2
    assert missed({CLOSE: 7, DESTROY: 5}, closes_by_backup=9) == 0


def test_openings_at_changes_of_state() -> None:
    skips = {SET_STATE: 3, SET_STATE_BACKUP: 2}
    assert missed(skips) == 0
    assert missed(skips, outcome=True) == 4

"""What is made of what the kernel counts."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import cast

import pytest

from netmon.errors import BpfError
from netmon.filters.compiled import Watched
from netmon.kernel.probes import ACCEPT, CLOSE, GRAFT, MPTCP_CLOSE, SET_STATE, V4_CONNECT, Hook, Probes
from netmon.report import Report


def most_missed(hook: Hook, skips: tuple[int, ...], backup_only: int = 0, *, outcome: bool = False) -> int:
    """Return it, each of the hook's programs having been skipped so often, and so much reported by the backup alone."""
    by_program = dict(zip(hook, skips, strict=True))
    probes = SimpleNamespace(
        _watched=Watched(report=Report(outcome=outcome)),
        _object=SimpleNamespace(
            program_info=lambda program: SimpleNamespace(recursion_misses=by_program[program]),
        ),
        _backup_only=[backup_only] * 4,
    )
    return Probes._most_missed(cast(Probes, probes), hook)


@pytest.mark.parametrize(
    ("hook", "skips", "backup_only", "missed"),
    [
        (CLOSE, (0, 0), 0, 0),
        (CLOSE, (7, 3), 0, 3),
        (CLOSE, (7, 3), 5, 2),
        (CLOSE, (7, 3), 7, 0),
        (V4_CONNECT, (7, 3), 5, 4),  # the closes, too
        (ACCEPT, (7, 3), 6, 2),
        (GRAFT, (7, 3), 6, 2),
        (CLOSE, (3, 4), 1000, 3),  # the backup runs first: no main program was skipped
        (CLOSE[:1], (3,), 0, 3),  # without a backup
        (MPTCP_CLOSE, (3,), 0, 3),
        (SET_STATE, (3, 2), 0, 0),
    ],
)
def test_what_may_have_been_missed(hook: Hook, skips: tuple[int, ...], backup_only: int, missed: int) -> None:
    assert most_missed(hook, skips, backup_only) == missed


def test_outcomes_may_be_missed() -> None:
    assert most_missed(SET_STATE, (3, 2), outcome=True) == 4


def test_a_walk_that_fails_is_named() -> None:
    walk = os.open("/", os.O_RDONLY)  # cannot be read
    try:
        with pytest.raises(BpfError, match=r"^look for open connections: Is a directory \(EISDIR\)"):
            Probes.report_existing(cast(Probes, SimpleNamespace(_walk_fd=walk)))
    finally:
        os.close(walk)

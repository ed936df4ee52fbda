"""How many events netmon's programs may have missed: those for which the kernel skipped all programs that see them.

The kernel counts how often it skipped each program, but not whether there was anything to report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netmon.kernel.programs import (
    CLOSE,
    CONNECT_BACKUPS,
    DESTROY,
    SET_STATE,
    SET_STATE_BACKUP,
    V4_CONNECT,
    V6_CONNECT,
    Program,
)
from netmon.layout import Coverage

# A connection whose opening was missed is not kept, so its close is missed, too.
OPENING, CLOSING = 2, 1

# So many connect() calls may have passed the backup programs before these were attached, and returned afterwards.
IN_FLIGHT = 64

# Those for which there is a second program, and closes.
PAIRED = frozenset({V4_CONNECT, V6_CONNECT, *CONNECT_BACKUPS, CLOSE, DESTROY, SET_STATE, SET_STATE_BACKUP})


def most_missed(skips: Mapping[Program, int], coverage: Coverage, *, outcome: bool) -> int:
    """Return an upper bound of the events that were missed.

    Args:
        skips: How often the kernel skipped each program that is attached.
        coverage: What one of two programs reported alone.
        outcome: Whether openings are reported at changes of state.
    """
    openings = _missed_connects(skips, coverage.connects_by_main)
    if outcome and SET_STATE in skips:
        openings += min(skips[SET_STATE], skips[SET_STATE_BACKUP])
    alone = {program: count for program, count in skips.items() if program not in PAIRED}
    openings += sum(count for program, count in alone.items() if program.is_opening)
    closings = _missed_closes(skips, coverage.closes_by_backup)
    closings += sum(count for program, count in alone.items() if program.is_closing)
    return OPENING * openings + CLOSING * closings


def _missed_connects(skips: Mapping[Program, int], by_main: int) -> int:
    main = _sum(skips, (V4_CONNECT, V6_CONNECT))
    if not any(program in skips for program in CONNECT_BACKUPS):
        return main
    backup = _sum(skips, CONNECT_BACKUPS)
    # More than was skipped: this kernel does not call the functions that the backups are attached to.
    return main if by_main > backup + IN_FLIGHT else min(main, backup)


def _missed_closes(skips: Mapping[Program, int], by_backup: int) -> int:
    main = max(0, skips.get(CLOSE, 0) - by_backup)
    return min(main, skips[DESTROY]) if DESTROY in skips else main


def _sum(skips: Mapping[Program, int], programs: Iterable[Program]) -> int:
    return sum(skips.get(program, 0) for program in programs)

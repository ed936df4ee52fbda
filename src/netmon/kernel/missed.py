"""How many events netmon's programs may have missed: those for which the kernel skipped all programs that see them.

The kernel counts how often it skipped each program, but not whether there was anything to report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netmon.kernel.programs import (
    CLOSE,
    CONNECT_BACKUPS,
    DESTROY,
    LOCKED_CLOSE,
    MPTCP_CLOSE,
    MPTCP_CONNECT,
    MPTCP_DESTROY,
    MPTCP_LOCKED_CLOSE,
    SET_STATE,
    STATE_BACKUPS,
    V4_CONNECT,
    V6_CONNECT,
    Program,
)
from netmon.layout import Coverage

# A connection whose opening was missed is not kept, so its close is missed, too.
OPENING, CLOSING = 2, 1

# So many connect() calls may have passed the backup programs before these were attached, and returned afterwards.
IN_FLIGHT = 64

CONNECTS = (V4_CONNECT, V6_CONNECT, MPTCP_CONNECT)
CLOSES = (CLOSE, LOCKED_CLOSE, MPTCP_CLOSE, MPTCP_LOCKED_CLOSE)

# Those that are counted together with others; each of the rest sees events that no other program sees.
PAIRED = frozenset({*CONNECTS, *CONNECT_BACKUPS, *CLOSES, DESTROY, MPTCP_DESTROY, SET_STATE, *STATE_BACKUPS})


def most_missed(skips: Mapping[Program, int], coverage: Coverage, *, outcome: bool, failures: bool) -> int:
    """Return an upper bound of the events that were missed.

    Args:
        skips: How often the kernel skipped each program that is attached.
        coverage: What one of two programs reported alone, or left to the other.
        outcome: Whether openings are reported at changes of state.
        failures: Whether attempts that fail at once are reported, or added up.
    """
    openings = _missed_connects(skips, coverage)
    if outcome and SET_STATE in skips:
        openings += min(skips[SET_STATE], _sum(skips, STATE_BACKUPS))
    alone = {program: count for program, count in skips.items() if program not in PAIRED}
    openings += sum(count for program, count in alone.items() if program.is_opening)
    closings = _missed_closes(skips, coverage)
    closings += sum(count for program, count in alone.items() if program.is_closing)
    return OPENING * openings + CLOSING * closings + (_missed_failures(skips, coverage) if failures else 0)


def _missed_connects(skips: Mapping[Program, int], coverage: Coverage) -> int:
    main = _sum(skips, CONNECTS)
    if not any(program in skips for program in CONNECT_BACKUPS):
        return main
    backup = _sum(skips, CONNECT_BACKUPS)
    if V6_CONNECT not in skips:  # IPv6 is a module: there the backups are alone
        return max(main, backup)
    # More than was skipped: this kernel does not call the functions that the backups are attached to.
    if coverage.connects_by_main > backup + IN_FLIGHT:
        return main
    return min(main, backup + coverage.unkept_by_backup)


def _missed_failures(skips: Mapping[Program, int], coverage: Coverage) -> int:
    """Return how many attempts that failed at once were missed, at most: the backups do not see them.

    Each other skip of a main program has left a mark of the backup's behind.
    """
    if not any(program in skips for program in CONNECT_BACKUPS):
        return 0  # counted as openings
    return max(0, _sum(skips, CONNECTS) - max(0, coverage.marks_left - coverage.marks_taken))


def _skipped_closes(skips: Mapping[Program, int], unlocked: Program, locked: Program, is_locked: int) -> int:
    """Return how many closes no main program saw: once the one with the lock runs, the other one leaves them to it."""
    return skips.get(locked, 0) + (0 if is_locked else skips.get(unlocked, 0))


def _missed_closes(skips: Mapping[Program, int], coverage: Coverage) -> int:
    tcp = _skipped_closes(skips, CLOSE, LOCKED_CLOSE, coverage.tcp_close_is_locked)
    mptcp = _skipped_closes(skips, MPTCP_CLOSE, MPTCP_LOCKED_CLOSE, coverage.mptcp_close_is_locked)
    main = max(0, tcp + mptcp - coverage.closes_by_backup)
    # Where there is no backup, the skips of the main programs count.
    return min(main, skips.get(DESTROY, tcp) + skips.get(MPTCP_DESTROY, mptcp))


def _sum(skips: Mapping[Program, int], programs: Iterable[Program]) -> int:
    return sum(skips.get(program, 0) for program in programs)

"""Patterns of `like`: `*` stands for any characters but the separator, `**` for any at all.

A pattern is compared by one pass over the text, whatever a process calls itself: a bit for each number of characters
of the pattern that can have been matched so far (Baeza-Yates and Gonnet's shift-and, with loops for the wildcards).
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from functools import lru_cache
from typing import NamedTuple


class _Pattern(NamedTuple):
    """A pattern without its wildcards: bit n of a mask is for the state in which n characters of it are matched.

    Attributes:
        size: How many characters it has.
        moves: For each of these, the states from which it leads to the next one.
        within: The states that a `*` keeps.
        across: The states that a `**` keeps.
    """

    size: int
    moves: dict[str, int]
    within: int
    across: int


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> _Pattern:
    moves: dict[str, int] = {}
    size = within = across = at = 0
    while at < len(pattern):
        if pattern.startswith("**", at):
            across |= 1 << size
            at += 2
            continue
        if pattern[at] == "*":
            within |= 1 << size
        else:
            moves[pattern[at]] = moves.get(pattern[at], 0) | 1 << size
            size += 1
        at += 1
    return _Pattern(size, moves, within, across)


def matches_glob(pattern: str, text: str, separator: str) -> bool:
    """Return whether a text is like a pattern.

    Args:
        pattern: Of `like`.
        text: Of any length.
        separator: What `*` does not match; empty: nothing.
    """
    size, moves, within, across = _compiled(pattern)
    loops = within | across
    states = 1
    for char in text:
        kept = across if char == separator else loops
        states = (states & moves.get(char, 0)) << 1 | states & kept
        if not states:
            return False
    return bool(states >> size & 1)

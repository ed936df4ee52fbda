"""What was meant by a word that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

from netmon.errors import MAX_SHOWN


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known word that is most like another one; "" if none is.

    Args:
        word: The word.
        known: The words that there are.
        cutoff: How alike they have to be, from 0 to 1.
    """
    import difflib  # slow to import, and seldom needed

    # The time of comparing grows with the square of the length.
    return next(iter(difflib.get_close_matches(word, list(known), 1, cutoff)), "") if len(word) <= MAX_SHOWN else ""


def remedy(word: str, known: Iterable[str], otherwise: str, cutoff: float = 0.6) -> str:
    """Return the question whether the nearest word was meant; otherwise, another remedy."""
    near = nearest(word, known, cutoff)
    return f"did you mean {near}?" if near else otherwise

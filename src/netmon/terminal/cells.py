"""Text in cells, the places of a terminal's line: wide characters take two, combining marks none."""

from __future__ import annotations

from functools import lru_cache

ELLIPSIS = ".."


def cells(text: str) -> int:
    """Return how many cells a text takes. It has no character that escape_for_terminal() escapes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


@lru_cache(maxsize=4096)
def _cells_of(char: str) -> int:
    from unicodedata import category, east_asian_width  # slow to import

    if category(char)[0] == "M" or "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7ff":  # Hangul's later parts
        return 0
    return 2 if east_asian_width(char) in "WF" else 1


def pad(text: str, width: int) -> str:
    """Return a text with spaces behind it, so that it takes at least so many cells."""
    return text + " " * (width - cells(text))


def pad_left(text: str, width: int) -> str:
    """Return a text with spaces before it, so that it takes at least so many cells."""
    return " " * (width - cells(text)) + text


def shorten(text: str, width: int) -> str:
    """Return a text in at most so many cells: its beginning and its end, since both tell texts apart.

    Args:
        text: Harmless, as of escape_for_terminal().
        width: At least 4.
    """
    if cells(text) <= width:
        return text
    room = width - len(ELLIPSIS)
    return _first(text, room - room // 2) + ELLIPSIS + _last(text, room // 2)


def _first(text: str, width: int) -> str:
    """Return as much of a text's beginning as fits."""
    for end, char in enumerate(text):
        width -= cells(char)
        if width < 0:
            return text[:end]
    return text


def _last(text: str, width: int) -> str:
    """Return as much of a text's end as fits. It does not begin with a mark, which needs its letter."""
    begin = len(text)
    for at in range(len(text) - 1, -1, -1):
        taken = cells(text[at])
        width -= taken
        if width < 0:
            break
        if taken:
            begin = at
    return text[begin:]

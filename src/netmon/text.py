"""Makes text of other processes harmless where it is shown: in a terminal, a pager, a log, a browser.

Harmful is what str.isprintable() says is not printable: it may control a terminal, reorder or hide the text around it,
or end a line for some readers. These are control characters (C0, DEL, C1), format characters, bidirectional ones among
them, line and paragraph separators, all spaces but U+0020, and what is not assigned.

On a line for people more is harmful: see escape_for_terminal().
"""

from __future__ import annotations

import re
from functools import lru_cache


def is_harmless(json: str) -> bool:
    """Return whether compact JSON has no harmful character raw. JSON itself escapes those below U+0020."""
    return "\x7f" not in json if json.isascii() else json.isprintable()


def escape(text: str) -> str:
    """Return text with its harmful characters written as in JSON (\\u0085). Line ends stay: messages have several."""
    return _suspects().sub(_escape_some, text)


@lru_cache(maxsize=1)
def _suspects() -> re.Pattern[str]:
    """Return what matches runs of characters that may be harmful. It is compiled late: start-up does not need it."""
    return re.compile(r"[^ -~\n]+")


def _escape_some(match: re.Match[str]) -> str:
    run = match[0]
    return run if run.isprintable() else "".join(char if char.isprintable() else _escaped(char) for char in run)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()  # a character beyond U+FFFF takes two units of 16 bits
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


MARKS_IN_A_ROW = 3  # as many as any language puts on one letter


def escape_for_terminal(text: str, ascii_only: bool = False) -> str:
    """Return text that takes a place of its own in one line of a terminal, with all that is harmful there escaped.

    Beyond the characters that escape() escapes, these are: line ends; printable characters that nobody sees, such as
    variation selectors and fillers; letters that are written from right to left, since a terminal may reorder the
    numbers beside them; combining marks that have no letter, and heaps of them.

    Args:
        text: Of any process.
        ascii_only: Escape all characters beyond ASCII, for a terminal that does not expect UTF-8.
    """
    if text.isascii() and text.isprintable():  # as nearly all are
        return text
    if ascii_only:
        return "".join(char if " " <= char <= "~" else _escaped(char) for char in text)
    from unicodedata import category  # slow to import

    parts: list[str] = []
    marks = MARKS_IN_A_ROW  # the first character has no letter before it
    for char in text:
        is_mark = category(char)[0] == "M"
        marks = marks + 1 if is_mark else 0
        harmless = marks <= MARKS_IN_A_ROW and char.isprintable() and not _is_deceptive(char)
        parts.append(char if harmless else _escaped(char))
        if not harmless:
            marks = MARKS_IN_A_ROW  # a mark would combine with the end of the escape
    return "".join(parts)


@lru_cache(maxsize=1)
def _unseen() -> frozenset[str]:
    """Return the printable characters that nobody sees: blank ones, and those that Unicode calls default ignorable."""
    ranges = (
        *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164)),
        *((0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0x16FE4, 0x16FE4), (0x1D159, 0x1D159), (0xE0100, 0xE01EF)),
    )
    return frozenset(chr(code) for first, last in ranges for code in range(first, last + 1))


def _is_deceptive(char: str) -> bool:
    """Return whether nobody sees a printable character, or it may reorder what is beside it."""
    from unicodedata import bidirectional

    return char in _unseen() or bidirectional(char) in ("R", "AL", "AN")

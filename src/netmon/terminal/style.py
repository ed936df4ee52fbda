"""Colours. These are the only control sequences that netmon sends to a terminal; each is undone at once."""

from __future__ import annotations

DIM, BOLD = "2", "1"
RED, GREEN, YELLOW, MAGENTA, CYAN = "31", "32", "33", "35", "36"
LOUD = "1;31"


def paint(text: str, style: str) -> str:
    """Return a text in a style, a parameter of SGR (ECMA-48); an empty style changes nothing."""
    return f"\x1b[{style}m{text}\x1b[0m" if style else text

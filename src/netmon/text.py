"""Makes text of other processes harmless where it is shown: in a terminal, a pager, a log, a browser.

Harmful is what str.isprintable() says is not printable: it may control a terminal, reorder or hide the text around it,
or end a line for some readers. These are control characters (C0, DEL, C1), format characters, bidirectional ones among
them, line and paragraph separators, all spaces but U+0020, and what is not assigned.
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

"""Where in a YAML file a character of a text is: texts may be folded, in quotes, or both."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from typing import NamedTuple


class Scalar(NamedTuple):
    """Where a text begins. line, column: from 0; style: of PyYAML, `|` and `>` for blocks, else the quote if any."""

    line: int
    column: int
    style: str | None


def place_in(content: bytes, scalar: Scalar, text: str, at: int) -> tuple[int | None, int | None]:
    """Return the line and the column, from 1, of a character in the text of a scalar; None if they are unknown.

    YAML changes nothing but the spaces between words, and escapes in quotes. So the character is the one before which
    there are as many others that are no spaces.

    Args:
        content: Of the file, UTF-8.
        scalar: Where the text begins.
        text: The text, as YAML reads it.
        at: Of the character, in the text.
    """
    left = sum(not char.isspace() for char in text[:at])
    lines = content.decode(errors="replace").split("\n")
    line, column = scalar.line, scalar.column + len(scalar.style or "")
    if scalar.style in ("|", ">"):
        line, column = line + 1, 0
    while line < len(lines):
        row = lines[line]
        while column < len(row):
            if not row[column].isspace():
                if not left:
                    return line + 1, column + 1
                left -= 1
                column += _is_escape(row, column, scalar.style)
            column += 1
        line, column = line + 1, 0
    return None, None


def _is_escape(row: str, column: int, style: str | None) -> bool:
    """Return whether two characters stand for one."""
    return (style == '"' and row[column] == "\\") or (style == "'" and row.startswith("''", column))

"""Parts of the kernel's structs: where a field is, and structs of some fields alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from struct import calcsize


def offset_of(name: str, layout: tuple[str, Sequence[str]]) -> int:
    """Return where in a struct a field begins. layout: its format, and the names of its fields."""
    at = 0
    for field, part in _parts(*layout):
        if field == name:
            return at
        at += calcsize(f"={part}")
    raise KeyError(name)


def format_of(needed: Collection[str], layout: tuple[str, Sequence[str]]) -> tuple[str, list[str]]:
    """Return the format of a struct that unpacks nothing but the needed fields, and their names in its order."""
    parts, found = [], []
    for name, part in _parts(*layout):
        if name in needed:
            found.append(name)
            parts.append(part)
        else:
            parts.append(f"{calcsize(f'={part}')}x")
    return "".join(parts), found


def format_without(left_out: Collection[str], layout: tuple[str, Sequence[str]]) -> str:
    """Return the format of a struct that unpacks all bytes but those of some fields, in as few pieces as there are."""
    parts = []
    for is_left_out, group in groupby(_parts(*layout), lambda part: part[0] in left_out):
        size = sum(calcsize(f"={part}") for _, part in group)
        parts.append(f"{size}{'x' if is_left_out else 's'}")
    return "".join(parts)


def _parts(format_: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each part of a format, and the name of its field; an empty one of bytes that are left out."""
    left = iter(names)
    count = ""
    for character in format_.replace("=", ""):
        if character.isdigit():
            count += character
        else:
            yield ("" if character == "x" else next(left)), count + character
            count = ""

"""A configuration's data as it was read, its lines, and the problems that were found in it."""

from __future__ import annotations

import sys
from array import array
from typing import Any, NamedTuple

from netmon.config.places import Scalar, place_in
from netmon.config.problems import Problems
from netmon.errors import Location, Problem


class Refused:
    """Replaces a value that was refused as YAML. Its problem has been added already."""


REFUSED = Refused()
NO_ITEM = "is no item that can be used here; write an address or CIDR, like 10.0.0.0/8, without host bits"


class Place(NamedTuple):
    """Where something is.

    Attributes:
        source: The file; "" if that is the document's.
        line: The line in it; None if it is unknown.
        of_list: Whether that is a file of addresses, which may be any file: nothing of it is repeated.
    """

    source: str
    line: int | None
    of_list: bool = False


class Lines:
    """The lines, from 1, of a file's keys and of its lists' items. For a repeated key, the last line.

    Attributes:
        keys: The line of each key, by its location.
        items: The lines of each list's items, by the list's location.
        conditions: Where the texts of conditions are, by their locations.
    """

    def __init__(self, content: bytes = b"") -> None:
        """Begin without any. content: of the file."""
        self._content = content
        self.conditions: dict[Location, Scalar] = {}
        self.keys: dict[Location, int] = {}
        self.items: dict[Location, array[int]] = {}

    def find(self, location: Location) -> int | None:
        """Return the line of a location, or of the nearest location around it."""
        for end in range(len(location), 0, -1):
            *outer, part = location[:end]
            lines = self.items.get(tuple(outer))
            if isinstance(part, int) and lines is not None and part < len(lines):
                return lines[part]
            if line := self.keys.get(location[:end]):
                return line
        return None

    def place(self, location: Location) -> Place:
        """Return the file and the line of a location, or of the nearest location around it."""
        return Place("", self.find(location))

    def find_in(self, location: Location, text: str, at: int) -> tuple[int | None, int | None]:
        """Return the line and the column of a character in the text of a condition; None if they are unknown."""
        scalar = self.conditions.get(location)
        return place_in(self._content, scalar, text, at) if scalar is not None else (None, None)


class Document(NamedTuple):
    """A configuration's data and its origin.

    Attributes:
        source: The file, or the name that the caller gave.
        data: Plain data, with REFUSED in place of values that were refused as YAML.
        found: The problems so far.
        lines: The lines of the file; empty without a file.
    """

    source: str
    data: Any
    found: Problems
    lines: Lines

    @property
    def problems(self) -> list[Problem]:
        """The problems that were found, in the file's order; those of the whole configuration come last."""
        problems = []
        for finding in self.found.listed():
            source, line, of_list = self.lines.place(finding.location)
            value, message = (None, NO_ITEM) if of_list else (finding.value, finding.message)
            problems.append(
                Problem(source or self.source, finding.line or line, finding.location, value, message, finding.column)
            )
        order = {source: at for at, source in enumerate(dict.fromkeys(problem.source for problem in problems))}
        return sorted(problems, key=lambda problem: (order[problem.source], problem.line or sys.maxsize))


def document_of(data: Any, source: str) -> Document:
    """Return plain data that comes from no file as a document. source: what messages call it."""
    return Document(source, data, Problems(), Lines())

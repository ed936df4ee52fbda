"""What is wrong with a configuration: collected as it is found, and not more of it than anyone would read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

Location = tuple[int | str, ...]  # keys, and indexes in lists

MAX_TOLD = 100  # of what is wrong in one list or mapping
MAX_FOUND = 1000  # what is wrong elsewhere counts as one list's from then on


class Problem(NamedTuple):
    """What is wrong at a place in a document."""

    location: Location
    text: str
    line: int | None = None  # from 1; None: the location's own


class Problems:
    """What is wrong with one document."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._counts: Counter[Location] = Counter()  # by what the problems are in
        self._rest: dict[Location, Problem] = {}  # the first that is not told of each

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, location: Location, explain: Callable[[], str], line: int | None = None, count: int = 1) -> None:
        """explain: called for what is told. count: of problems, when it stands for the rest of a list."""
        around = location[:-1] if len(self._found) < MAX_FOUND else ()
        self._counts[around] += count
        if self._counts[around] <= MAX_TOLD:
            self._found.append(Problem(location, explain(), line))
        else:
            self._rest.setdefault(around, Problem(location, "", line))

    def told(self) -> list[Problem]:
        """Return the first MAX_TOLD in each list and mapping, and how many more there are."""
        more = [
            first._replace(text=f"and {self._counts[around] - MAX_TOLD:,} more, of which this is the first")
            for around, first in self._rest.items()
        ]
        return [*dict.fromkeys(self._found), *more]

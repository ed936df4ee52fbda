"""The problems of a configuration, collected while it is read. Long lists of similar problems are cut short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from netmon.errors import Location

MAX_LISTED = 100  # problems in one list or mapping
MAX_FOUND = 1000  # from then on, all further problems count as those of one list


def omitted(count: int) -> str:
    """Return the message that replaces problems that are left out."""
    return f"{count:,} more problems are not listed; this is the first of them"


class Finding(NamedTuple):
    """A problem without the configuration's name."""

    location: Location
    value: str | None  # as in errors.Problem
    message: str
    line: int | None = None  # None: the line of the location
    column: int | None = None


class Problems:
    """Collects the problems of one configuration."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._counts: Counter[Location] = Counter()  # by the list or mapping that the problems are in
        self._omitted: dict[Location, Finding] = {}  # the first that is left out of each list or mapping

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(
        self,
        location: Location,
        message: str | Callable[[], tuple[str | None, str]],
        *,
        line: int | None = None,
        column: int | None = None,
        count: int = 1,
    ) -> None:
        """Add a problem.

        Args:
            location: Where it is.
            message: What is wrong with it; or a function that returns the value and the message, which is not called
                for problems that are left out.
            line: Its line, if that is not the location's.
            column: Its column in that line, from 1, if a part of a text is wrong.
            count: How many problems this one represents.
        """
        around = location[:-1] if len(self._found) < MAX_FOUND else ()
        self._counts[around] += count
        if self._counts[around] <= MAX_LISTED:
            value, text = (None, message) if isinstance(message, str) else message()
            self._found.append(Finding(location, value, text, line, column))
        else:
            self._omitted.setdefault(around, Finding(location, None, "", line))

    def listed(self) -> list[Finding]:
        """Return the first MAX_LISTED problems of each list and mapping, and how many more there are."""
        more = [
            first._replace(message=omitted(self._counts[around] - MAX_LISTED))
            for around, first in self._omitted.items()
        ]
        return [*dict.fromkeys(self._found), *more]

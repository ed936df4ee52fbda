"""What follows from rules before there is an event: one can never match, one always does, one is hidden by another.

A condition is written out as alternatives of sets, one set for each value that it compares. Where that takes too many,
nothing is said: what is said is always true.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from netmon.report import DIRECTION_OF
from netmon.rules.attributes import ATTRIBUTES, EVENT_TYPES, SUMMARY
from netmon.rules.resolve import AllOf, Passes, Positive
from netmon.rules.sets import Ranges, Test, Texts, TextSet, intersect, is_subset, ranges_of

MAX_ALTERNATIVES = 256
MAX_WORK = 5_000_000  # ranges that are looked at

Values = Ranges | TextSet
Alternative = Mapping[str, Values]

# What each event has, aggregates aside, which have no port and no address of some ends.
_ALWAYS_THERE = ("uid", "euid", "gid", "egid", "auid", "pid", "ppid", "event_type")
_IN_CONNECTIONS = ("ip_src", "ip_dst", "port_src", "port_dst")


class TooManyError(Exception):
    """A condition has too many alternatives to be written out."""


class Alternatives(NamedTuple):
    """A condition, written out.

    Attributes:
        found: The alternatives that something can match.
        emptied: The value that nothing was left of, if that happened.
    """

    found: list[Alternative]
    emptied: str


class _Writer:
    """Writes one condition out."""

    def __init__(self) -> None:
        self.emptied = ""
        self._work = 0

    def alternatives(self, condition: Positive) -> list[Alternative]:
        if isinstance(condition, Passes):
            values = values_of(condition.test)
            if is_empty(values):
                self.emptied = condition.key
                return []
            return [{condition.key: values}]
        if isinstance(condition, AllOf):
            found: list[Alternative] = [{}]
            for part in condition.parts:
                others = self.alternatives(part)
                found = [merged for one in found for other in others if (merged := self._merge(one, other)) is not None]
                _check(len(found))
            return found
        joined: list[Alternative] = []
        for part in condition.parts:
            joined += self.alternatives(part)
            _check(len(joined))
        return joined

    def _merge(self, one: Alternative, other: Alternative) -> Alternative | None:
        """Return what passes both; None if that is nothing."""
        merged = dict(one)
        for key, values in other.items():
            if key in merged:
                values = self._both(merged[key], values)
                if is_empty(values):
                    self.emptied = key
                    return None
            merged[key] = values
        if not _events_of(merged):
            self.emptied = "event_type"
            return None
        return merged

    def _both(self, one: Values, other: Values) -> Values:
        if isinstance(one, TextSet):
            return one.and_also(cast("TextSet", other))
        self._work += len(one) + len(other)
        if self._work > MAX_WORK:
            raise TooManyError
        return intersect(one, cast("Ranges", other))


def _check(count: int) -> None:
    if count > MAX_ALTERNATIVES:
        raise TooManyError


def values_of(test: Test) -> Values:
    return TextSet.of(test) if isinstance(test, Texts) else test


def is_empty(values: Values) -> bool:
    return values.is_empty if isinstance(values, TextSet) else not values


def _events_of(alternative: Alternative) -> list[str]:
    """Return the events that can have all of an alternative's values."""
    possible = [kind for kind in EVENT_TYPES if all(kind in ATTRIBUTES[key].events for key in alternative)]
    kinds, directions = (_finite(alternative.get(key)) for key in ("event_type", "direction"))
    return [
        kind
        for kind in possible
        if (kinds is None or kind in kinds) and (directions is None or DIRECTION_OF.get(kind) in {None, *directions})
    ]


def _finite(values: Values | None) -> frozenset[str] | None:
    return values.values if isinstance(values, TextSet) else None


def write_out(condition: Positive) -> Alternatives:
    """Return a condition's alternatives. Raises TooManyError."""
    writer = _Writer()
    return Alternatives([one for one in writer.alternatives(condition) if _events_of(one)], writer.emptied)


def always_matches(alternatives: Iterable[Alternative]) -> bool:
    """Return whether a condition accepts each connection event, for sure."""
    accepted: dict[str, list[Values]] = {}
    for alternative in alternatives:
        if len(alternative) == 1:
            ((key, values),) = alternative.items()
            accepted.setdefault(key, []).append(values)
    return any(_is_everything(key, values) for key, values in accepted.items())


def _is_everything(key: str, accepted: list[Values]) -> bool:
    if key not in (*_ALWAYS_THERE, *_IN_CONNECTIONS):
        return False
    kind = ATTRIBUTES[key].kind
    if kind.is_number:
        pairs = [pair for values in accepted if not isinstance(values, TextSet) for pair in values]
        return ranges_of(pairs) == kind.universe
    texts = [values.values or frozenset() for values in accepted if isinstance(values, TextSet)]
    return frozenset().union(*texts) >= {*kind.choices} - {SUMMARY}


def is_within(one: Iterable[Alternative], other: Iterable[Alternative]) -> bool:
    """Return whether all that matches one condition matches another, for sure."""
    wider = list(other)
    return all(any(_is_narrower(mine, theirs) for theirs in wider) for mine in one)


def _is_narrower(mine: Alternative, theirs: Alternative) -> bool:
    return all(key in mine and _is_part(mine[key], values) for key, values in theirs.items())


def _is_part(one: Values, other: Values) -> bool:
    if isinstance(one, TextSet):
        return one.is_subset(cast("TextSet", other))
    return is_subset(one, cast("Ranges", other))

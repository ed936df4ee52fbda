"""Finds the rules that match an event's values.

A condition becomes a function of the values. The rules that match are a number, a bit for each: rules are many, events
more, and most match nothing.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from netmon.rules.attributes import ATTRIBUTES, Facts, Json
from netmon.rules.plain import SMALL_END, Stored, StoredPasses, StoredRanges, StoredRules
from netmon.rules.sets import Texts

Values = tuple[Any, ...]
Matcher = Callable[[Values], bool]

PROCESSES_KEPT = 512  # whose values are kept
VERDICTS_KEPT = 2048  # of connections that look alike to the rules
FEW = 16  # numbers that are compared as a set


def keys_in(condition: Stored | None) -> Iterator[str]:
    """Yield the attributes that a condition compares."""
    if isinstance(condition, StoredPasses):
        yield condition.key
    elif condition is not None:
        for part in condition.parts:
            yield from keys_in(part)


def matcher_of(condition: Stored | None, places: Mapping[str, int]) -> Matcher:
    """Return a function that says whether values match. places: where in the values each attribute's is."""
    if condition is None:
        return lambda _values: True
    if isinstance(condition, StoredPasses):
        return _passing(condition.test, places[condition.key])
    parts = [matcher_of(part, places) for part in condition.parts]
    return _every(parts) if condition.is_every else _some(parts)


def _every(parts: Sequence[Matcher]) -> Matcher:
    if len(parts) == 2:
        first, second = parts
        return lambda values: first(values) and second(values)

    def every(values: Values) -> bool:
        for part in parts:  # noqa: SIM110 - a generator takes twice the time
            if not part(values):
                return False
        return True

    return every


def _some(parts: Sequence[Matcher]) -> Matcher:
    if len(parts) == 2:
        first, second = parts
        return lambda values: first(values) or second(values)

    def some(values: Values) -> bool:
        for part in parts:  # noqa: SIM110
            if part(values):
                return True
        return False

    return some


def _passing(test: StoredRanges | Texts, place: int) -> Matcher:
    if isinstance(test, StoredRanges):
        return _in_ranges(test, place)
    items, negated = test.items, test.negated
    if test.kind == "values":
        if negated:
            return lambda values: (value := values[place]) is not None and value not in items
        return lambda values: values[place] in items  # None is not in it
    if test.kind == "flags":
        return lambda values: (value := values[place]) is not None and value.isdisjoint(items) == negated
    accepts = lru_cache(maxsize=VERDICTS_KEPT)(test.accepts) if test.kind == "like" else test.accepts
    return lambda values: (value := values[place]) is not None and accepts(value)


def _in_ranges(test: StoredRanges, place: int) -> Matcher:
    starts, ends, large_starts, large_ends = test
    pairs = list(zip(starts[:FEW], ends[:FEW], strict=True))
    if not large_starts and len(starts) <= FEW and all(low == high for low, high in pairs):
        numbers = frozenset(starts)
        return lambda values: values[place] in numbers
    if not large_starts and len(starts) == 1:
        low, high = pairs[0]
        return lambda values: (value := values[place]) is not None and low <= value <= high

    def is_in(values: Values) -> bool:
        value = values[place]
        if value is None:
            return False
        if value < SMALL_END:
            at = bisect_right(starts, value)
            return at > 0 and bool(value <= ends[at - 1])
        at = bisect_right(large_starts, value)
        return at > 0 and value <= large_ends[at - 1]

    return is_in


class Matching:
    """Matches the rules of one rule set.

    Rules whose values do not change while a connection is open are matched when it opens; events that look alike to
    them are matched once. The others are matched with each event.

    Attributes:
        varying: The rules whose values change, a bit for each.
    """

    def __init__(self, rules: StoredRules) -> None:
        """Prepare it."""
        keys = [{*keys_in(rule.condition)} for rule in rules.rules]
        changing = [any(ATTRIBUTES[key].varies for key in used) for used in keys]
        steady = {key for used, varies in zip(keys, changing, strict=True) if not varies for key in used}
        used = {key for part in keys for key in part}
        of_process = sorted(key for key in used if ATTRIBUTES[key].of_process)
        of_event = sorted(key for key in used if ATTRIBUTES[key].of_event and key in steady)
        others = sorted(used - {*of_process, *of_event})
        places = {key: at for at, key in enumerate([*of_process, *of_event, *others])}
        self.varying = sum(1 << i for i, varies in enumerate(changing) if varies)
        self._of_process = [get for key in of_process if (get := ATTRIBUTES[key].of_process)]
        self._of_event = [read for key in of_event if (read := ATTRIBUTES[key].of_event)]
        self._others = [read for key in others if (read := ATTRIBUTES[key].of_event)]
        matchers = [(1 << i, matcher_of(rule.condition, places)) for i, rule in enumerate(rules.rules)]
        self._steady_matchers = [pair for pair, varies in zip(matchers, changing, strict=True) if not varies]
        self._varying_matchers = [pair for pair, varies in zip(matchers, changing, strict=True) if varies]
        self._match_steady = lru_cache(maxsize=VERDICTS_KEPT)(self._find_steady)

    def process_values(self, process: Json, parent: Json | None) -> Values:
        """Return the values that rules compare of a process. process, parent: as an event has them."""
        return tuple([get(process, parent) for get in self._of_process])

    def match(self, process_values: Values, facts: Facts) -> int:
        """Return the rules that match an event."""
        values = process_values + tuple([get(facts) for get in self._of_event])
        matched = self._match_steady(values)
        return matched | self._find_varying(values, facts) if self._varying_matchers else matched

    def match_varying(self, process_values: Values, facts: Facts) -> int:
        """Return those of the rules with values that change which match an event."""
        if not self._varying_matchers:
            return 0
        return self._find_varying(process_values + tuple([get(facts) for get in self._of_event]), facts)

    def _find_steady(self, values: Values) -> int:
        matched = 0
        for bit, matches in self._steady_matchers:
            if matches(values):
                matched |= bit
        return matched

    def _find_varying(self, values: Values, facts: Facts) -> int:
        values += tuple([get(facts) for get in self._others])
        matched = 0
        for bit, matches in self._varying_matchers:
            if matches(values):
                matched |= bit
        return matched

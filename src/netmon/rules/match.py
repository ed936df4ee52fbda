"""Finds the rules that match an event's values.

A condition becomes a function of the values. The rules that match are a number, a bit for each: rules are many, events
more, and most match nothing.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from netmon.rules.attributes import ATTRIBUTES, Facts, Json
from netmon.rules.plain import SMALL_END, Branch, Stored, StoredPasses, StoredRanges, StoredRules
from netmon.rules.sets import Texts

Values = tuple[Any, ...]
Matcher = Callable[[Values], bool]
Candidates = list[tuple[int, Matcher]]

PROCESSES_KEPT = 512  # whose values are kept
VERDICTS_KEPT = 2048  # of connections that look alike to the rules
MAX_BOUNDS = 4096  # of an attribute: beyond, each of its values looks different
LIKES_KEPT = 64  # texts that were compared with a pattern
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
    accepts = lru_cache(maxsize=LIKES_KEPT)(test.accepts) if test.kind == "like" else test.accepts
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


class OfProcess(NamedTuple):
    """What rules see of a process.

    Attributes:
        values: The values that they compare.
        looks: What tells processes apart as far as rules can: as of looks_of().
    """

    values: Values
    looks: Values


class Matching:
    """Matches the rules of one rule set.

    Rules whose values do not change while a connection is open are matched when it opens; events that look alike to
    them are matched once. The others are matched with each event, unless what does not change of them fails already.
    """

    def __init__(self, rules: StoredRules) -> None:
        """Prepare it."""
        keys = [{*keys_in(rule.condition)} for rule in rules.rules]
        changing = [any(ATTRIBUTES[key].varies for key in used) for used in keys]
        used = sorted({key for part in keys for key in part})
        of_process = [key for key in used if ATTRIBUTES[key].of_process]
        of_event = [key for key in used if ATTRIBUTES[key].of_event and not ATTRIBUTES[key].varies]
        others = [key for key in used if ATTRIBUTES[key].varies]
        places = {key: at for at, key in enumerate([*of_process, *of_event, *others])}
        self._of_process = [get for key in of_process if (get := ATTRIBUTES[key].of_process)]
        self._of_event = [read for key in of_event if (read := ATTRIBUTES[key].of_event)]
        self._others = [read for key in others if (read := ATTRIBUTES[key].of_event)]
        bounds = _bounds_in(rules)
        self._process_looks = [looks_of(bounds.get(key)) for key in of_process]
        self._event_looks = [looks_of(bounds.get(key)) for key in of_event]
        matchers = [(1 << i, matcher_of(rule.condition, places)) for i, rule in enumerate(rules.rules)]
        self._steady_matchers = [pair for pair, varies in zip(matchers, changing, strict=True) if not varies]
        self._varying_matchers = [
            (*pair, matcher_of(_steady_part(rule.condition), places))
            for pair, varies, rule in zip(matchers, changing, rules.rules, strict=True)
            if varies
        ]
        self._found: dict[tuple[Values, Values], tuple[int, Candidates]] = {}

    def process_values(self, process: Json, parent: Json | None) -> OfProcess:
        """Return what rules see of a process. process, parent: as an event has them."""
        values = tuple([get(process, parent) for get in self._of_process])
        return OfProcess(values, tuple([look(value) for look, value in zip(self._process_looks, values, strict=True)]))

    def match(self, process: OfProcess, facts: Facts) -> int:
        """Return the rules that match an event."""
        values = [get(facts) for get in self._of_event]
        matched, candidates = self._match_steady(process, values)
        return matched | self._find_varying(candidates, (*process.values, *values), facts) if candidates else matched

    def match_varying(self, process: OfProcess, facts: Facts) -> int:
        """Return those of the rules with values that change which match an event."""
        if not self._varying_matchers:
            return 0
        values = [get(facts) for get in self._of_event]
        _, candidates = self._match_steady(process, values)
        return self._find_varying(candidates, (*process.values, *values), facts) if candidates else 0

    def _match_steady(self, process: OfProcess, values: list[Any]) -> tuple[int, Candidates]:
        """Return what _find_steady() does: of an event that looks like an earlier one, what that had."""
        looks = tuple([look(value) for look, value in zip(self._event_looks, values, strict=True)])
        key = process.looks, looks
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= VERDICTS_KEPT:
                self._found.clear()
            found = self._found[key] = self._find_steady((*process.values, *values))
        return found

    def _find_steady(self, values: Values) -> tuple[int, Candidates]:
        """Return the rules that match, and those that other values decide."""
        matched = 0
        for bit, matches in self._steady_matchers:
            if matches(values):
                matched |= bit
        return matched, [(bit, matches) for bit, matches, may_match in self._varying_matchers if may_match(values)]

    def _find_varying(self, candidates: Candidates, values: Values, facts: Facts) -> int:
        values += tuple([get(facts) for get in self._others])
        matched = 0
        for bit, matches in candidates:
            if matches(values):
                matched |= bit
        return matched


def _bounds_in(rules: StoredRules) -> dict[str, list[int]]:
    """Return, for each attribute whose values are numbers, where what rules say of a number may change."""
    found: dict[str, set[int]] = {}
    many: set[str] = set()
    waiting = [rule.condition for rule in rules.rules]
    while waiting:
        condition = waiting.pop()
        if isinstance(condition, Branch):
            waiting += condition.parts
        elif condition is not None and isinstance(condition.test, StoredRanges):
            starts, ends, large_starts, large_ends = condition.test
            if len(starts) + len(large_starts) > MAX_BOUNDS:
                many.add(condition.key)
                continue
            bounds = found.setdefault(condition.key, set())
            bounds.update(starts, large_starts, (end + 1 for end in ends), (end + 1 for end in large_ends))
    return {key: sorted(bounds) for key, bounds in found.items() if key not in many and len(bounds) <= MAX_BOUNDS}


def looks_of(bounds: Sequence[int] | None) -> Callable[[Any], Any]:
    """Return a function that gives the same for values which no rule tells apart: for numbers, where they are.

    Args:
        bounds: Where what rules say of a number may change; None: the value itself tells.
    """
    if bounds is None:
        return lambda value: value
    return lambda value: None if value is None else bisect_right(bounds, value)


def _steady_part(condition: Stored | None) -> Stored | None:
    """Return what must pass of a condition by values that do not change; None if that is nothing."""
    if isinstance(condition, StoredPasses):
        return None if ATTRIBUTES[condition.key].varies else condition
    if condition is None:
        return None
    parts = [_steady_part(part) for part in condition.parts]
    kept = tuple(part for part in parts if part is not None)
    if not kept or (len(kept) < len(parts) and not condition.is_every):
        return None
    return Branch(condition.is_every, kept)

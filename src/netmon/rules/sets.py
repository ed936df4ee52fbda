"""Sets of values: what a comparison accepts. Numbers and addresses are ranges on a line, the rest are texts.

An address is a number, too: IPv4 from 0, IPv6 from 2^32 on. So a CIDR is a range, and nested CIDRs are no special case.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Iterable
from typing import NamedTuple

from netmon.rules.globs import matches_glob

IPV6_BEGIN = 1 << 32
ADDRESS_END = IPV6_BEGIN + (1 << 128)

Range = tuple[int, int]  # both ends belong to it
Ranges = tuple[Range, ...]  # in order, with gaps between them


def ranges_of(pairs: Iterable[Range]) -> Ranges:
    """Return ranges in order, those that touch joined."""
    joined: list[Range] = []
    for low, high in sorted(pairs):
        if joined and low <= joined[-1][1] + 1:
            if high > joined[-1][1]:
                joined[-1] = joined[-1][0], high
        else:
            joined.append((low, high))
    return tuple(joined)


def intersect(one: Ranges, other: Ranges) -> Ranges:
    """Return what is in both."""
    common: list[Range] = []
    i = j = 0
    while i < len(one) and j < len(other):
        low, high = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if low <= high:
            common.append((low, high))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(common)


def complement(ranges: Ranges, universe: Ranges) -> Ranges:
    """Return what is in the universe and not in the ranges."""
    gaps: list[Range] = []
    begin = 0
    for low, high in ranges:
        if begin < low:
            gaps.append((begin, low - 1))
        begin = high + 1
    gaps.append((begin, max([begin, *(high for _, high in universe)])))
    return intersect(tuple(gaps), universe)


def is_subset(one: Ranges, other: Ranges) -> bool:
    """Return whether all of one is in the other."""
    return intersect(one, other) == one


class Texts(NamedTuple):
    """A test of text. kind: `values`, `prefix`, `like`; or `flags`, of which a value has several."""

    kind: str
    items: frozenset[str]
    negated: bool
    separator: str = ""  # of `like`: between the parts that `*` does not cross

    def accepts(self, text: str) -> bool:
        """Return whether a text passes."""
        if self.kind == "prefix":
            found = text.startswith(tuple(self.items))
        elif self.kind == "like":
            found = any(matches_glob(item, text, self.separator) for item in self.items)
        else:
            found = text in self.items
        return found != self.negated


Test = Ranges | Texts


class TextSet(NamedTuple):
    """The texts that pass some tests at once.

    Attributes:
        values: The only ones that can; None: any that the tests accept.
        tests: All tests.
    """

    values: frozenset[str] | None
    tests: frozenset[Texts]

    @staticmethod
    def of(test: Texts) -> "TextSet":
        """Return the texts that pass one test."""
        finite = test.kind == "values" and not test.negated
        return TextSet(test.items if finite else None, frozenset([test]))

    def and_also(self, other: "TextSet") -> "TextSet":
        """Return the texts that are in both."""
        tests = self.tests | other.tests
        values = self.values if other.values is None else other.values
        if values is not None and not any(test.kind == "flags" for test in tests):
            values = frozenset(value for value in values if all(test.accepts(value) for test in tests))
        return TextSet(values, tests)

    @property
    def is_empty(self) -> bool:
        """Whether no text is in it, for sure."""
        if self.values is not None:
            return not self.values
        prefixes = [test.items for test in self.tests if test.kind == "prefix" and not test.negated]
        return any(not _agree(one, other) for i, one in enumerate(prefixes) for other in prefixes[:i]) or any(
            test._replace(negated=not test.negated) in self.tests for test in self.tests
        )

    def is_subset(self, other: "TextSet") -> bool:
        """Return whether all of it is in the other one, for sure."""
        if self.values is not None and not any(test.kind == "flags" for test in other.tests):
            return all(test.accepts(value) for test in other.tests for value in self.values)
        return all(self._implies(test) for test in other.tests)

    def _implies(self, test: Texts) -> bool:
        if test in self.tests:
            return True
        for mine in self.tests:
            if mine.kind != test.kind or mine.negated != test.negated or mine.separator != test.separator:
                continue
            if mine.items >= test.items if test.negated else mine.items <= test.items:
                return True
            if mine.kind == "prefix" and not mine.negated and all(i.startswith(tuple(test.items)) for i in mine.items):
                return True
        return False


def _agree(one: frozenset[str], other: frozenset[str]) -> bool:
    """Return whether a text can begin with one of each."""
    return any(a.startswith(b) or b.startswith(a) for a in one for b in other)

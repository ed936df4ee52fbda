"""Rule sets as bytes: how they travel from the process that reads a configuration to netmon, which believes nothing.

    SIZE | JSON | ranges of 8 bytes a number | ranges of 17 bytes a number

The JSON has the rules; where it names ranges, it has their numbers in the two parts that follow. A list with a million
networks takes 16 MB there, and as many in netmon.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import json
from array import array
from collections.abc import Iterator
from struct import Struct
from typing import Any, NamedTuple

from netmon.config.rule_checks import ACTIONS, MAX_NAME, MAX_TAGS, SEVERITIES
from netmon.rules.attributes import ATTRIBUTES, key_of
from netmon.rules.load import RuleSet
from netmon.rules.message import parse_template
from netmon.rules.resolve import MAX_COMPARISONS, MAX_LEVEL, AllOf, Passes, Positive
from netmon.rules.sets import Range, Ranges, Texts

SIZE = Struct("=QQ")  # of the JSON, and of the ranges of 8 bytes
SMALL_END = 1 << 64
LARGE_SIZE = 17  # bytes of a number up to ADDRESS_END
MAX_JSON = 64 << 20
MAX_RULES = 3000
MAX_DEPTH = MAX_LEVEL + 2  # a rule joins its parts
TEXT_KINDS = ("values", "prefix", "like", "flags")


class StoredRanges(NamedTuple):
    """Ranges of numbers: where they begin and end, in order. Those below SMALL_END, and the others."""

    starts: "array[int]"
    ends: "array[int]"
    large_starts: tuple[int, ...]
    large_ends: tuple[int, ...]


class StoredPasses(NamedTuple):
    """As Passes, with ranges as they are stored."""

    key: str
    test: StoredRanges | Texts


class Branch(NamedTuple):
    """As AllOf, or AnyOf."""

    is_every: bool
    parts: "tuple[Stored, ...]"


Stored = StoredPasses | Branch


class StoredRule(NamedTuple):
    """As Rule."""

    name: str
    condition: Stored | None
    severity: int
    action: str
    tags: tuple[str, ...]
    message: str
    direction: str


class StoredRules(NamedTuple):
    """As RuleSet."""

    rules: tuple[StoredRule, ...]
    reports_unmatched: bool


class _Writer:
    """Collects the ranges of a rule set. The same ones are kept once."""

    def __init__(self) -> None:
        self.small = array("Q")
        self.large = bytearray()
        self._places: dict[int, tuple[Ranges, list[int]]] = {}  # by the identity of ranges, which are kept so long

    def place(self, ranges: Ranges) -> list[int]:
        """Return where ranges are: begin and count of the small ones and of the large ones."""
        if id(ranges) not in self._places:
            begin, large_begin = len(self.small) // 2, len(self.large) // (2 * LARGE_SIZE)
            for low, high in _split(ranges):
                if high < SMALL_END:
                    self.small.append(low)
                    self.small.append(high)
                else:
                    self.large += low.to_bytes(LARGE_SIZE, "big") + high.to_bytes(LARGE_SIZE, "big")
            counts = len(self.small) // 2 - begin, len(self.large) // (2 * LARGE_SIZE) - large_begin
            self._places[id(ranges)] = ranges, [begin, counts[0], large_begin, counts[1]]
        return self._places[id(ranges)][1]

    def plain(self, condition: Positive | None) -> Any:
        """Return a condition as plain data."""
        if condition is None:
            return None
        if isinstance(condition, Passes):
            test = condition.test
            if isinstance(test, Texts):
                return [condition.key, test.kind, sorted(test.items), test.negated, test.separator]
            return [condition.key, *self.place(test)]
        return [isinstance(condition, AllOf), [self.plain(part) for part in condition.parts]]


def _split(ranges: Ranges) -> Iterator[Range]:
    """Yield ranges, none of which begins below SMALL_END and ends beyond."""
    for low, high in ranges:
        if low < SMALL_END <= high:
            yield low, SMALL_END - 1
            yield SMALL_END, high
        else:
            yield low, high


def pack_rules(rules: RuleSet) -> bytes:
    """Return a rule set as bytes; without rules there are none."""
    if not rules.rules:
        return b""
    writer = _Writer()
    plain = [[*rule._replace(condition=None)[2:], rule.name, writer.plain(rule.condition)] for rule in rules.rules]
    text = json.dumps([rules.reports_unmatched, plain], separators=(",", ":")).encode()
    small = writer.small.tobytes()
    return SIZE.pack(len(text), len(small)) + text + small + bytes(writer.large)


def unpack_rules(data: bytes) -> StoredRules:
    """Return what pack_rules() has packed. Raises ValueError if it is anything else."""
    if not data:
        return StoredRules((), reports_unmatched=True)
    if len(data) < SIZE.size:
        raise ValueError("rules are cut short")
    json_size, small_size = SIZE.unpack_from(data)
    begin = SIZE.size + json_size
    if json_size > MAX_JSON or begin + small_size > len(data):
        raise ValueError("rules are cut short")
    try:
        found = json.loads(data[SIZE.size : begin])
    except (ValueError, RecursionError):
        raise ValueError("rules are no JSON") from None
    reader = _Reader(data[begin : begin + small_size], data[begin + small_size :])
    unmatched, rules = _items(found, 2)
    if len(_list(rules)) > MAX_RULES:
        raise ValueError("there are too many rules")
    return StoredRules(tuple(reader.rule(rule) for rule in rules), _typed(unmatched, bool))


class _Reader:
    """Reads rules, and checks all that they say."""

    def __init__(self, small: bytes, large: bytes) -> None:
        if len(small) % 16 or len(large) % (2 * LARGE_SIZE):
            raise ValueError("ranges are cut short")
        self._small = array("Q")
        self._small.frombytes(small)
        self._large = [int.from_bytes(large[at : at + LARGE_SIZE], "big") for at in range(0, len(large), LARGE_SIZE)]
        self._ranges: dict[tuple[int, ...], StoredRanges] = {}
        self._left = MAX_COMPARISONS * 2  # of comparisons and what joins them

    def rule(self, plain: Any) -> StoredRule:
        severity, action, tags, message, direction, name, condition = _items(plain, 7)
        if _typed(severity, int) not in range(len(SEVERITIES)) or _typed(action, str) not in ACTIONS:
            raise ValueError("a rule has no severity or no action")
        if _typed(direction, str) not in ("", "ingress", "egress") or len(_list(tags)) > MAX_TAGS:
            raise ValueError("a rule has too many tags, or another direction")
        parse_template(_typed(message, str))
        return StoredRule(
            _name(name),
            None if condition is None else self._condition(condition, 0),
            severity,
            action,
            tuple(_name(tag) for tag in tags),
            message,
            direction,
        )

    def _condition(self, plain: Any, depth: int) -> Stored:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise ValueError("a condition is too large")
        if len(_list(plain)) == 2:
            every, parts = plain
            inner = tuple(self._condition(part, depth + 1) for part in _list(parts))
            if not inner:
                raise ValueError("a condition is empty")
            return Branch(_typed(every, bool), inner)
        key = plain[0] if plain else None
        if not isinstance(key, str) or key not in ATTRIBUTES or key_of(key) != key:
            raise ValueError("an attribute is none")
        is_number = ATTRIBUTES[key].kind.is_number
        items = _items(plain, 5)[1:]
        return StoredPasses(key, self._stored_ranges(items) if is_number else _texts(items))

    def _stored_ranges(self, place: list[Any]) -> StoredRanges:
        begin, count, large_begin, large_count = (_typed(number, int) for number in place)
        limits = ((begin, count, len(self._small)), (large_begin, large_count, len(self._large)))
        if any(first < 0 or size < 0 or 2 * (first + size) > limit for first, size, limit in limits):
            raise ValueError("ranges are not there")
        known = begin, count, large_begin, large_count
        if known not in self._ranges:
            small = self._small[2 * begin : 2 * (begin + count)]
            large = self._large[2 * large_begin : 2 * (large_begin + large_count)]
            self._ranges[known] = StoredRanges(small[::2], small[1::2], tuple(large[::2]), tuple(large[1::2]))
        return self._ranges[known]


def _texts(items: list[Any]) -> Texts:
    kind, texts, negated, separator = items
    if _typed(kind, str) not in TEXT_KINDS or len(_typed(separator, str)) > 1:
        raise ValueError("a test is none")
    return Texts(kind, frozenset(_typed(text, str) for text in _list(texts)), _typed(negated, bool), separator)


def _typed(value: Any, kind: type[Any]) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{type(value).__name__} in place of {kind.__name__}")
    return value


def _list(value: Any) -> list[Any]:
    found: list[Any] = _typed(value, list)
    return found


def _items(value: Any, count: int) -> list[Any]:
    if len(_list(value)) != count:
        raise ValueError(f"{len(value)} items in place of {count}")
    found: list[Any] = value
    return found


def _name(value: Any) -> str:
    text: str = _typed(value, str)
    if not 0 < len(text) <= MAX_NAME:
        raise ValueError("a name is too long")
    return text

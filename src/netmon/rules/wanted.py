"""What a rule set wants, as far as the kernel half can know it: a superset, so that no event is left out that matters.

Rules are written out as alternatives: an event is wanted if one of them accepts it, whichever rule it comes from. What
the kernel half does not know of an event counts as true. The kernel half compares as many alternatives as a word has
bits; where rules have more, alternatives are joined, which makes them wider.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from netmon.errors import shown
from netmon.layout import Limit
from netmon.report import DIRECTION_OF
from netmon.rules.analysis import Values, is_empty, values_of
from netmon.rules.attributes import ATTRIBUTES
from netmon.rules.load import Rule, RuleSet
from netmon.rules.resolve import AllOf, AnyOf, Passes, Positive, superset
from netmon.rules.sets import IPV6_BEGIN, Ranges, Texts, TextSet, complement, intersect, is_subset, ranges_of

Alternative = Mapping[str, Values]

MAX_ALTERNATIVES = int(Limit.RULE_ALTERNATIVES)
MAX_OF_RULE = 32  # alternatives that a rule is written out as
MAX_PRODUCT = 4 * MAX_OF_RULE  # before they are joined; so is the next
MAX_POOL = 4 * MAX_ALTERNATIVES
MANY = 4096  # ranges: sets that are larger are compared only by what they are, not by what is in them
MAX_NAMED = 3  # rules, in a message
MAX_WORK = 20_000_000  # ranges that are looked at

# What the kernel half knows of a connection when it opens, and of the process that opens it.
OF_CONNECTION = ("direction", "ip_src", "ip_dst", "port_src", "port_dst", "netns")
OF_PROCESS = ("uid", "euid", "gid", "egid", "auid", "binary_path", "binary_name")
# What it knows for sure as events have it, so that it can tell what a rule drops.
_CERTAIN = ("direction", "ip_dst", "port_src", "port_dst", "uid", "euid", "gid", "egid", "auid")
# The direction in which an aggregate lacks the port.
_PORTLESS = {"port_src": "egress", "port_dst": "ingress"}

EVERYTHING: Alternative = {}


class Wanted(NamedTuple):
    """What a rule set wants.

    Attributes:
        alternatives: An event that a rule reports or counts is accepted by one of these.
        open_rules: The rules that want any connection, as far as the kernel half knows: each is reported to user space.
        is_joined: Whether alternatives were joined that rules keep apart.
    """

    alternatives: tuple[Alternative, ...]
    open_rules: tuple[str, ...] = ()
    is_joined: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return EVERYTHING in self.alternatives


def what_is_wanted(rules: RuleSet) -> Wanted:
    """Return what a rule set wants.

    Rules that report and rules that count want events; one that drops wants none, and takes from those below it what
    it is sure to match.
    """
    writer = _Writer()
    pool: list[Alternative] = []
    open_rules = []
    kept = [EVERYTHING]  # what the rules above do not drop
    for rule in rules.rules:
        if rule.action == "drop":
            if rule.condition is None:
                break
            kept = writer.narrow(kept, _not_dropped(rule.condition))
            continue
        found = writer.alternatives(_known_part(rule), kept)
        if EVERYTHING in found:
            open_rules.append(rule.name)
        pool += found
        if len(pool) > MAX_POOL:
            pool = writer.join(pool)
    else:
        if rules.reports_unmatched:
            pool += writer.alternatives(None, kept)
    return Wanted(tuple(writer.join(pool)), tuple(open_rules), writer.is_joined)


def in_kernel(rules: RuleSet) -> str:
    """Return, as a clause, what the kernel half leaves out by these rules."""
    wanted = what_is_wanted(rules)
    if wanted.open_rules:
        names = ", ".join(map(shown, wanted.open_rules[:MAX_NAMED])) + ", ..." * (len(wanted.open_rules) > MAX_NAMED)
        return f"nothing is left out: it cannot tell what is of no interest to {names}"
    if wanted.is_everything:
        return "nothing is left out: all that no rule matches is reported"
    if wanted.is_joined:
        return "most of what no rule wants is left out: there is too much for it to compare all"
    return "what no rule wants is left out, as far as it knows what they compare"


def _known_part(rule: Rule) -> Positive | None:
    """Return what must pass of a rule's condition as far as the kernel half knows it; None if that is nothing.

    A rule that compares what changes is compared with each event, whose process may be another one than the opener.
    """
    if rule.condition is None:
        return None
    varies = any(ATTRIBUTES[passes.key].varies for passes in _comparisons(rule.condition))
    known = OF_CONNECTION if varies else (*OF_CONNECTION, *OF_PROCESS)
    return superset(_with_directions(rule.condition), known.__contains__)


def _comparisons(condition: Positive) -> Iterator[Passes]:
    if isinstance(condition, Passes):
        yield condition
    else:
        for part in condition.parts:
            yield from _comparisons(part)


def _with_directions(condition: Positive) -> Positive:
    """Return a condition in which the direction stands for types of events, where they are all of one."""
    if not isinstance(condition, Passes):
        return condition._replace(parts=tuple(map(_with_directions, condition.parts)))
    if condition.key != "event_type" or not isinstance(condition.test, Texts):
        return condition
    directions = {DIRECTION_OF.get(kind) for kind in condition.test.items}
    if None in directions:
        return condition
    return _direction(*cast("set[str]", directions))


def _direction(*names: str) -> Passes:
    return Passes("direction", Texts("values", frozenset(names), negated=False))


def _not_dropped(condition: Positive) -> Positive | None:
    """Return what is true of each event that a condition is not true of; None if nothing is known of them.

    A comparison that does not pass is false, or the event lacks the value. So only values count that events have.
    """
    if isinstance(condition, Passes):
        return _not_passing(condition)
    parts = [_not_dropped(part) for part in condition.parts]
    known = tuple(part for part in parts if part is not None)
    if isinstance(condition, AllOf):
        return AnyOf(known) if len(known) == len(parts) else None
    return AllOf(known) if known else None


def _not_passing(passes: Passes) -> Positive | None:
    key, test = passes
    if key not in _CERTAIN:
        return None
    if isinstance(test, Texts):  # the direction
        others = frozenset({"egress", "ingress"} - test.items)
        return Passes(key, test._replace(items=others))
    outside = Passes(key, complement(test, ATTRIBUTES[key].kind.universe))
    return AnyOf((outside, _direction(_PORTLESS[key]))) if key in _PORTLESS else outside


class _Writer:
    """Writes conditions out as alternatives, within bounds."""

    def __init__(self) -> None:
        self.is_joined = False
        self._work = 0

    def alternatives(self, condition: Positive | None, kept: list[Alternative]) -> list[Alternative]:
        """Return the alternatives of a condition, as far as they are kept, if there is room for that."""
        found = [EVERYTHING] if condition is None else self._write(condition)
        return self._narrow(found, kept)

    def narrow(self, kept: list[Alternative], condition: Positive | None) -> list[Alternative]:
        """Return what is left of what is kept where a condition must pass, too, if there is room for that."""
        return kept if condition is None else self._narrow(kept, self._write(condition))

    def _narrow(self, some: list[Alternative], others: list[Alternative]) -> list[Alternative]:
        both = self._product(some, others)
        if len(both) <= MAX_PRODUCT and len(both := self._join_alike(both)) <= MAX_OF_RULE:
            return both
        self.is_joined = True
        return some

    def _write(self, condition: Positive) -> list[Alternative]:
        if isinstance(condition, Passes):
            values = values_of(condition.test)
            return [] if is_empty(values) else [{condition.key: values}]
        if isinstance(condition, AnyOf):
            joined = [one for part in condition.parts for one in self._write(part)]
            return self.join(joined, MAX_OF_RULE) if len(joined) > MAX_OF_RULE else joined
        found: list[Alternative] = [EVERYTHING]
        for others in sorted(map(self._write, condition.parts), key=len):
            product = self._product(found, others)
            if len(product) > MAX_OF_RULE:
                product = self._product(found, self.join(others, 1))
            found = product
        return found

    def _product(self, some: list[Alternative], others: list[Alternative]) -> list[Alternative]:
        pairs = (self._merge(one, other) for one in some for other in others)
        return [merged for merged in pairs if merged is not None]

    def _merge(self, one: Alternative, other: Alternative) -> Alternative | None:
        """Return what both accept; None if that is nothing."""
        merged = dict(one)
        for key, values in other.items():
            both = values if key not in merged else self._both(merged[key], values)
            if is_empty(both):
                return None
            merged[key] = both
        return merged

    def _both(self, one: Values, other: Values) -> Values:
        if one is other:
            return one
        if isinstance(one, TextSet):
            return one.and_also(cast("TextSet", other))
        if not self._may_look_at(len(one) + len(other)):
            return one
        return intersect(one, cast("Ranges", other))

    def _may_look_at(self, ranges: int) -> bool:
        if self._work + ranges > MAX_WORK:
            self.is_joined = True
            return False
        self._work += ranges
        return True

    def join(self, alternatives: list[Alternative], limit: int = MAX_ALTERNATIVES) -> list[Alternative]:
        """Return at most so many alternatives that accept all that these do; exactly that, if it can be."""
        found = self._join_alike(alternatives)
        while len(found) > limit:
            self.is_joined = True
            found = self._join_alike(self._join_nearest(found, limit))
        return found

    def _join_alike(self, alternatives: list[Alternative]) -> list[Alternative]:
        """Return fewer alternatives that accept the same."""
        found = _without_covered(alternatives)
        while len(found) > 1 and (fewer := self._join_exactly(found)) is not None:
            found = _without_covered(fewer)
        return found

    def _join_exactly(self, alternatives: list[Alternative]) -> list[Alternative] | None:
        """Join alternatives that differ in one value alone. Returns None if there are none."""
        for key in sorted({key for one in alternatives for key in one}):
            alike: dict[object, list[Alternative]] = {}
            for i, one in enumerate(alternatives):
                others = frozenset((name, _identity(values)) for name, values in one.items() if name != key)
                alike.setdefault(others if key in one else i, []).append(one)
            joined = [one for group in alike.values() for one in self._join_one(key, group)]
            if len(joined) < len(alternatives):
                return joined
        return None

    def _join_one(self, key: str, group: list[Alternative]) -> list[Alternative]:
        if len(group) == 1:
            return group
        if isinstance(group[0][key], TextSet):
            values: Values | None = _any_text([cast("TextSet", one[key]) for one in group])
            return group if values is None else [{**group[0], key: values}]
        ranges = [cast("Ranges", one[key]) for one in group]
        if not self._may_look_at(sum(map(len, ranges))):
            return group
        return [_with_values(group[0], key, ranges_of(pair for one in ranges for pair in one))]

    def _join_nearest(self, alternatives: list[Alternative], limit: int) -> list[Alternative]:
        """Join pairs of alternatives: if there are any, of those that compare the same with sets of the same size."""
        surplus = len(alternatives) - limit
        for alike in (_shape, frozenset, lambda _: None):
            groups: dict[object, list[Alternative]] = {}
            for one in alternatives:
                groups.setdefault(alike(one), []).append(one)
            if len(groups) < len(alternatives):
                break
        joined: list[Alternative] = []
        for group in sorted(groups.values(), key=len, reverse=True):
            pairs = min(surplus, len(group) // 2)
            surplus -= pairs
            joined += [self._hull(*group[2 * i : 2 * i + 2]) for i in range(pairs)]
            joined += group[2 * pairs :]
        return joined

    def _hull(self, one: Alternative, other: Alternative) -> Alternative:
        """Return what accepts all that either does: each value by itself."""
        joined: Alternative = {}
        for key in one.keys() & other.keys():
            mine, theirs = one[key], other[key]
            if isinstance(mine, TextSet):
                texts = _any_text([mine, cast("TextSet", theirs)])
                if texts is not None:
                    joined = {**joined, key: texts}
            elif mine is theirs:
                joined = {**joined, key: mine}
            elif self._may_look_at(len(mine) + len(theirs)):
                joined = _with_values(joined, key, ranges_of((*mine, *cast("Ranges", theirs))))
        return joined


def _with_values(alternative: Alternative, key: str, ranges: Ranges) -> Alternative:
    """Return an alternative with other numbers of an attribute; without it, if that is all numbers."""
    if ranges != ATTRIBUTES[key].kind.universe:
        return {**alternative, key: ranges}
    return {name: values for name, values in alternative.items() if name != key}


def _shape(alternative: Alternative) -> object:
    """Return which values an alternative compares, and about how large the sets are that they must be in."""
    return frozenset((key, _size(values)) for key, values in alternative.items())


def _size(values: Values) -> object:
    if isinstance(values, TextSet):
        return values.values is None
    if len(values) > MANY:
        return len(values).bit_length()
    ipv4 = sum(min(high, IPV6_BEGIN - 1) + 1 - low for low, high in values if low < IPV6_BEGIN)
    ipv6 = sum(high + 1 - max(low, IPV6_BEGIN) for low, high in values if high >= IPV6_BEGIN)
    return ipv4.bit_length(), ipv6.bit_length()


def _identity(values: Values) -> object:
    """Return what tells sets apart: equal ones may be taken for different if they are large."""
    return values if isinstance(values, TextSet) or len(values) <= MANY else id(values)


def _any_text(sets: list[TextSet]) -> TextSet | None:
    """Return the texts that are in any of these sets; None if no single test says so."""
    if all(one.values is not None for one in sets):
        return TextSet.of(Texts("values", frozenset().union(*(one.values or () for one in sets)), negated=False))
    tests = [test for one in sets for test in one.tests]
    if any(len(one.tests) > 1 for one in sets) or len({(test.kind, test.separator) for test in tests}) > 1:
        return None
    if any(test.negated for test in tests):
        return None
    return TextSet.of(tests[0]._replace(items=frozenset().union(*(test.items for test in tests))))


def _without_covered(alternatives: list[Alternative]) -> list[Alternative]:
    """Return alternatives without those that another one covers."""
    if EVERYTHING in alternatives:
        return [EVERYTHING]
    found: list[Alternative] = []
    for one in sorted(alternatives, key=len):  # one that compares less may cover one that compares more
        if not any(_covers(other, one) for other in found):
            found.append(one)
    return found


def _covers(wider: Alternative, one: Alternative) -> bool:
    return all(key in one and _is_part(one[key], values) for key, values in wider.items())


def _is_part(one: Values, other: Values) -> bool:
    if one is other:
        return True
    if isinstance(one, TextSet):
        return one.is_subset(cast("TextSet", other))
    return len(one) + len(other) <= MANY and is_subset(one, cast("Ranges", other))

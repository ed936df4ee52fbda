"""Resolves a condition's tree: lists and macros are filled in, and each comparison becomes a test of its type.

Macros are filled in as trees, so what is around them cannot change what they mean.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import difflib
from _socket import AF_INET, AF_INET6  # socket itself takes long to import
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any, NamedTuple, NoReturn

from netmon.config.cidr import MAPPED_PREFIX, split_cidr
from netmon.errors import MAX_SHOWN, shown
from netmon.rules.attributes import ATTRIBUTES, Kind, key_of
from netmon.rules.sets import IPV6_BEGIN, Range, Ranges, Test, Texts, complement, intersect, ranges_of
from netmon.rules.syntax import Comparison, Group, Literal, Node, Not, Reference
from netmon.rules.tokens import RuleSyntaxError
from netmon.rules.values import number_of

MAX_COMPARISONS = 20_000  # of all rules together, with those of macros each time that they are named
MAX_LEVEL = 150  # of conditions in each other, macros filled in
IPV4_BITS, IPV6_BITS = 32, 128
MAPPED_LENGTH = 96  # of the prefix of IPv4 in IPv6


class Leaf(NamedTuple):
    """A comparison: true if the value passes the test, false if not, and neither if the event has no value.

    Attributes:
        attribute: What is compared, as it is written.
        test: What passes, without the negation of `!=`, `not in` and `not like`.
        negated: Whether it is negated.
        text: How it is written, for explanations.
    """

    attribute: str
    test: Test
    negated: bool
    text: str


class Inverse(NamedTuple):
    """A condition that must be false."""

    inner: "Tree"


class Every(NamedTuple):
    """Conditions that must all be true. name: of the macro that it is, if it is one."""

    parts: "tuple[Tree, ...]"
    name: str = ""


class Some(NamedTuple):
    """Conditions of which one must be true."""

    parts: "tuple[Tree, ...]"


Tree = Leaf | Inverse | Every | Some


class ListOfValues(NamedTuple):
    """A named list of values. tests: what it accepts, by the types of the attributes that were compared with it."""

    items: Sequence[str | int]
    tests: dict[Kind, Test]


class Names:
    """The lists and macros that conditions may name."""

    def __init__(self, lists: Mapping[str, Sequence[str | int]], macros: Mapping[str, Node]) -> None:
        """Take them. Each macro is resolved where it is named first."""
        self._lists = {name: ListOfValues(items, {}) for name, items in lists.items()}
        self._macros = macros
        self._resolved: dict[str, tuple[Tree, int, int]] = {}  # with the number of comparisons, and of levels
        self._open: list[str] = []  # the macros that are being resolved
        self._count = 0
        self._level = self._deepest = 0

    def resolve(self, node: Node) -> Tree:
        """Return a condition with all names filled in. Raises RuleSyntaxError."""
        self._level += 1
        self._descend(0, node.at)
        try:
            return self._resolve(node)
        finally:
            self._level -= 1

    def _descend(self, levels: int, at: int) -> None:
        """Note that there are so many levels below this one."""
        self._deepest = max(self._deepest, self._level + levels)
        if self._level + levels > MAX_LEVEL:
            raise RuleSyntaxError(f"is nested more than {MAX_LEVEL} deep, macros filled in; simplify it", at)

    def _resolve(self, node: Node) -> Tree:
        if isinstance(node, Group):
            parts = tuple(self.resolve(part) for part in node.parts)
            return Every(parts) if node.operator == "AND" else Some(parts)
        if isinstance(node, Not):
            return Inverse(self.resolve(node.inner))
        if isinstance(node, Reference):
            return self._macro(node)
        self._add(1, node.at)
        return self._leaf(node)

    def _add(self, count: int, at: int) -> None:
        self._count += count
        if self._count > MAX_COMPARISONS:
            raise RuleSyntaxError(
                f"makes more than {MAX_COMPARISONS:,} comparisons of all rules, macros filled in; use lists", at
            )

    def _macro(self, node: Reference) -> Tree:
        name = node.name
        if name in self._resolved:
            tree, count, levels = self._resolved[name]
            self._add(count, node.at)
            self._descend(levels, node.at)
            return tree
        if name not in self._macros:
            raise RuleSyntaxError(self._unknown(name), node.at)
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name) :], name])
            raise RuleSyntaxError(f"names macros in a circle: {shown(circle)}; take one of them out", node.at)
        self._open.append(name)
        before, deepest, self._deepest = self._count, self._deepest, self._level
        try:
            tree = Every((self.resolve(self._macros[name]),), name)
        except RuleSyntaxError as error:
            if "macro" in str(error):
                raise RuleSyntaxError(str(error), node.at) from None
            raise RuleSyntaxError(f"names the macro {name}, which {error}", node.at) from None
        finally:
            self._open.pop()
        self._resolved[name] = tree, self._count - before, self._deepest - self._level
        self._deepest = max(deepest, self._deepest)
        return tree

    def _unknown(self, name: str) -> str:
        if name in self._lists:
            return f"names the list {name} alone; write: ATTRIBUTE in {name}"
        if name in ATTRIBUTES:
            return f"names {name} without a comparison; write it like {name} == ..."
        if meant := _nearest(name, (*self._macros, *ATTRIBUTES)):
            return f"names {shown(name)}, which is no macro; did you mean {meant}?"
        return f"names {shown(name)}, which is no macro and no attribute"

    def _leaf(self, node: Comparison) -> Leaf:
        attribute = ATTRIBUTES.get(node.attribute)
        if attribute is None:
            raise RuleSyntaxError(_unknown_attribute(node.attribute), node.at)
        kind = attribute.kind
        test: Test
        if node.operator in ("<", "<=", ">", ">="):
            test = _order(node, kind)
        elif node.operator == "like":
            test = self._like(node, kind)
        else:
            test = self._values(node, kind)
        return Leaf(node.attribute, test, node.negated, _written(node))

    def _like(self, node: Comparison, kind: Kind) -> Test:
        if kind.form != "text":
            raise RuleSyntaxError(
                f"compares {node.attribute} by `like`, which is for text alone; use == or in", node.at
            )
        loose = kind._replace(check=None)
        texts = [_text_of(item, loose) for literal in node.values for item in self._items_of(literal, loose)]
        return Texts("like", frozenset(texts), negated=False, separator=kind.separator)

    def _items_of(self, literal: Literal, kind: Kind) -> list[Literal]:
        """Return the values of a list, or of a value by itself, as a condition would write them."""
        if literal.kind != "name":
            return [literal]
        found = []
        for item in self._list(literal).items:
            is_number = isinstance(item, int) or (kind.is_number and kind.form != "address" and item[:1].isdigit())
            if is_number and isinstance(item, str) and item[0] == "0" and item[1:2].isdigit():
                raise RuleSyntaxError(
                    f"has {shown(item)}, which YAML 1.1 reads as octal; write it without the 0", literal.at
                )
            found.append(Literal("number" if is_number else "text", str(item), literal.at))
        return found

    def _list(self, literal: Literal) -> ListOfValues:
        values = self._lists.get(literal.text)
        if values is None:
            meant = _nearest(literal.text, [*self._lists])
            remedy = f"did you mean {meant}?" if meant else "text needs double quotes"
            raise RuleSyntaxError(f"names {shown(literal.text)}, which is no list; {remedy}", literal.at)
        return values

    def _values(self, node: Comparison, kind: Kind) -> Test:
        if len(node.values) == 1 and node.values[0].kind == "name":  # it may have a million items: they are read once
            values = self._list(node.values[0])
            if kind not in values.tests:
                values.tests[kind] = self._in_list(node.values[0], kind)
            return values.tests[kind]
        return _test_of([item for literal in node.values for item in self._items_of(literal, kind)], kind)

    def _in_list(self, name: Literal, kind: Kind) -> Test:
        try:
            if kind.form == "address":  # of which there may be millions
                return ranges_of([_network(item, kind, name.at) for item in self._list(name).items])
            return _test_of(self._items_of(name, kind), kind)
        except RuleSyntaxError as error:
            raise RuleSyntaxError(f"uses the list {name.text}, which {error}", name.at) from None


def _test_of(values: list[Literal], kind: Kind) -> Test:
    """Return what accepts any of some values. Raises RuleSyntaxError."""
    if kind.is_number:
        read = _read_address if kind.form == "address" else _read_number
        return ranges_of([read(value, kind) for value in values])
    texts = frozenset(_text_of(value, kind) for value in values)
    if kind.form == "flags":
        return Texts("flags", texts, negated=False)
    return Texts("prefix" if kind.prefix else "values", texts, negated=False)


def _order(node: Comparison, kind: Kind) -> Ranges:
    if not kind.is_number or kind.form == "address":
        raise RuleSyntaxError(f"compares {node.attribute} by {node.operator}, which is for numbers alone", node.at)
    low, high = _read_number(node.values[0], kind)
    if low != high:
        raise RuleSyntaxError(f"compares with a range by {node.operator}; write == and the range", node.values[0].at)
    ((first, last),) = kind.universe
    wanted = {"<": (first, low - 1), "<=": (first, low), ">": (low + 1, last), ">=": (low, last)}[node.operator]
    return intersect((wanted,), kind.universe) if wanted[0] <= wanted[1] else ()


def _wrong(literal: Literal, kind: Kind) -> NoReturn:
    written = shown(literal.text) if literal.kind == "number" else f'"{shown(literal.text)}"'
    raise RuleSyntaxError(f"has {written}, but must be {kind.name}", literal.at)


def _read_number(literal: Literal, kind: Kind) -> Range:
    """Return a number, or a range of numbers, as a range."""
    if literal.kind == "text":
        hint = "; without quotes" if literal.text[:1].isdigit() else ""
        raise RuleSyntaxError(f'has "{shown(literal.text)}", but must be {kind.name}{hint}', literal.at)
    low_text, dash, high_text = literal.text.partition("-")
    try:
        low = number_of(low_text, kind.form)
        high = number_of(high_text, kind.form) if dash else low
    except ValueError as error:
        if "." in literal.text or ":" in literal.text:
            raise RuleSyntaxError(
                f"has {shown(literal.text)} without quotes, but must be {kind.name}", literal.at
            ) from None
        raise RuleSyntaxError(f"has {shown(literal.text)}, which {error}; it must be {kind.name}", literal.at) from None
    ((first, last),) = kind.universe
    if high < low:
        raise RuleSyntaxError(f"has the range {shown(literal.text)}, which ends before it begins", literal.at)
    if low < first or high > last:
        raise RuleSyntaxError(f"has {shown(literal.text)}, which is out of range; it must be {kind.name}", literal.at)
    return low, high


def _read_address(literal: Literal, kind: Kind) -> Range:
    if literal.kind != "text":
        raise RuleSyntaxError(f"has {shown(literal.text)} without quotes; put addresses in double quotes", literal.at)
    return _network(literal.text, kind, literal.at)


def _network(item: str | int, kind: Kind, at: int) -> Range:
    """Return an address, or a CIDR, as a range. Raises RuleSyntaxError."""
    text = str(item)
    ((first, last),) = kind.universe
    try:
        low, high = _cidr(text)
    except (ValueError, OSError):
        _explain_address(Literal("text", text, at), kind)
    if low < first or high > last:
        family = "IPv4" if low < IPV6_BEGIN else "IPv6"
        raise RuleSyntaxError(f'has "{shown(text)}", which is {family}; it must be {kind.name}', at)
    return low, high


def address_of(number: int) -> str:
    """Return an address as text, by its number in a set."""
    from ipaddress import IPv4Address, IPv6Address

    return str(IPv4Address(number) if number < IPV6_BEGIN else IPv6Address(number - IPV6_BEGIN))


def read_value(name: str, value: object) -> object:
    """Return the value of an attribute in an example, as events have it. Raises ValueError."""
    attribute = ATTRIBUTES.get(name)
    if attribute is None:
        raise ValueError(_unknown_attribute(name))
    kind = attribute.kind._replace(check=None, prefix=False)
    items = value if isinstance(value, list) else [value]
    read = [Literal("number" if _is_number(item, kind) else "text", str(item), 0) for item in items]
    test = _test_of(read, kind)
    if isinstance(test, Texts):
        return test.items if kind.form == "flags" else _only(sorted(test.items), name)
    return _only([low for low, high in test if low == high], name)


def _is_number(value: object, kind: Kind) -> bool:
    return isinstance(value, int) or (kind.form in ("duration", "size") and str(value)[:1].isdigit())


def _only(found: Sequence[object], name: str) -> object:
    if len(found) != 1:
        raise ValueError(f"has no single value of {name}; give one")
    return found[0]


def _cidr(text: str) -> Range:
    """Return an address, or a CIDR without host bits, as a range. Raises ValueError or OSError."""
    family, begin, bits = (AF_INET6, IPV6_BEGIN, IPV6_BITS) if ":" in text else (AF_INET, 0, IPV4_BITS)
    packed, length = split_cidr(text, family)
    number = int.from_bytes(packed, "big")
    size = 1 << (bits - length)
    if number & (size - 1) or (length >= MAPPED_LENGTH and packed.startswith(MAPPED_PREFIX)):
        raise ValueError("has host bits, or is IPv4 in IPv6")
    return begin + number, begin + number + size - 1


def _explain_address(literal: Literal, kind: Kind) -> NoReturn:
    text = literal.text
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        _wrong(literal, kind)
    if meant.version == 6 and meant.prefixlen >= 96 and meant.network_address.ipv4_mapped is not None:
        mapped = str(ip_network((int(meant.network_address.ipv4_mapped), meant.prefixlen - 96))).removesuffix("/32")
        raise RuleSyntaxError(f'has "{shown(text)}", which is IPv4 in IPv6; did you mean "{mapped}"?', literal.at)
    raise RuleSyntaxError(f'has "{shown(text)}", which has host bits set; did you mean "{meant}"?', literal.at)


def _text_of(literal: Literal, kind: Kind) -> str:
    if literal.kind != "text":
        raise RuleSyntaxError(
            f'has {shown(literal.text)} without quotes, but must be {kind.name}; did you mean "{shown(literal.text)}"?',
            literal.at,
        )
    text = literal.text
    if kind.choices and text not in kind.choices:
        close = _nearest(text, kind.choices)
        remedy = f"did you mean {close}?" if close else f"it must be {kind.name}"
        raise RuleSyntaxError(f'has "{shown(text)}", which it never is; {remedy}', literal.at)
    if not text:
        raise RuleSyntaxError('has an empty text (""), which no value is', literal.at)
    if kind.check is not None:
        try:
            kind.check(text)
        except ValueError as error:
            raise RuleSyntaxError(f'has "{shown(text)}", which {error}', literal.at) from None
    return text


def _nearest(text: str, names: Sequence[str]) -> str:
    if len(text) > MAX_SHOWN:
        return ""
    return next(iter(difflib.get_close_matches(text, names, 1)), "") or next(
        (name for name in names if name.lower() == text.lower()), ""
    )


def _unknown_attribute(name: str) -> str:
    meant = [known for known, attribute in ATTRIBUTES.items() if name in attribute.json]
    nearest = (meant or [_nearest(name, [*ATTRIBUTES])])[0]
    remedy = f"did you mean {nearest}?" if nearest else "docs/rules.md lists the attributes"
    return f"has {shown(name)}, which is no attribute; {remedy}"


def _written(node: Comparison) -> str:
    """Return a comparison as it is written, with at most a few values."""
    values = [literal.text if literal.kind != "text" else f'"{literal.text}"' for literal in node.values]
    operator = {"==": "!=", "in": "not in", "like": "not like"}[node.operator] if node.negated else node.operator
    if node.operator != "in":
        return f"{node.attribute} {operator} {', '.join(values)}"
    if len(node.values) == 1 and node.values[0].kind == "name":
        return f"{node.attribute} {operator} {values[0]}"
    more = ", ..." if len(values) > 4 else ""
    return f"{node.attribute} {operator} [{', '.join(values[:4])}{more}]"


# Comparisons that decide whether a condition is true: those that must pass, without any NOT.


class Passes(NamedTuple):
    """A comparison that must pass: the event has a value of the attribute, and the test accepts it.

    Attributes:
        key: The attribute whose value it is.
        test: What accepts it.
    """

    key: str
    test: Test


class AllOf(NamedTuple):
    """What must all pass."""

    parts: "tuple[Positive, ...]"


class AnyOf(NamedTuple):
    """Of what one must pass."""

    parts: "tuple[Positive, ...]"


Positive = Passes | AllOf | AnyOf


def positive(tree: Tree, negated: bool = False) -> Positive:
    """Return what must pass for a condition to be true; with negated, for it to be false.

    In the logic of three values, AND, OR and NOT follow De Morgan's laws, and a comparison is false only if the event
    has a value. So the two-valued truth of the result is the truth of the condition.
    """
    if isinstance(tree, Inverse):
        return positive(tree.inner, not negated)
    if isinstance(tree, Leaf):
        return _passing(tree, negated != tree.negated)
    parts = tuple(positive(part, negated) for part in tree.parts)
    if len(parts) == 1:
        return parts[0]
    return AllOf(parts) if isinstance(tree, Every) != negated else AnyOf(parts)


def _passing(leaf: Leaf, negated: bool) -> Passes:
    kind = ATTRIBUTES[leaf.attribute].kind
    test: Any = leaf.test
    if isinstance(test, Texts):
        if negated and kind.form == "choice":
            test = test._replace(items=frozenset(kind.choices) - test.items)
        elif negated:
            test = test._replace(negated=True)
    elif negated:
        test = complement(test, kind.universe)
    return Passes(key_of(leaf.attribute), test)


def superset(condition: Positive, known: Callable[[str], bool]) -> Positive | None:
    """Return what must pass of a condition, as far as it compares attributes that are known; None if that is nothing.

    Whatever makes the condition true makes this true, too: so one that knows less, as the kernel half does, can reject
    events that no rule can match.
    """
    if isinstance(condition, Passes):
        return condition if known(condition.key) else None
    parts = [superset(part, known) for part in condition.parts]
    if isinstance(condition, AnyOf):
        return None if None in parts else AnyOf(tuple(part for part in parts if part is not None))
    kept = tuple(part for part in parts if part is not None)
    return AllOf(kept) if kept else None

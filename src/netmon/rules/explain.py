"""Says why a rule matches an event or not: each comparison with its truth and the event's value."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Iterator, Mapping
from typing import Any

from netmon.errors import shown
from netmon.rules.attributes import ATTRIBUTES, Facts, Json, key_of
from netmon.rules.load import LoadedRule
from netmon.rules.resolve import Every, Inverse, Leaf, Some, Tree, address_of, read_value
from netmon.rules.sets import IPV6_BEGIN, Texts

Truth = bool | None  # None: neither, since the event lacks a value
Values = Mapping[str, Any]  # by the attributes whose values they are

_WORDS = {True: "true", False: "false", None: "unknown"}


def values_of(process: Json, parent: Json | None, facts: Facts) -> dict[str, Any]:
    """Return all values of an event; attributes that it does not have are left out."""
    values: dict[str, Any] = {}
    for name, attribute in ATTRIBUTES.items():
        if not attribute.key or attribute.key == name:
            get, of_event = attribute.of_process, attribute.of_event
            value = get(process, parent) if get is not None else of_event(facts) if of_event is not None else None
            if value is not None:
                values[name] = value
    return values


def values_of_example(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an example. Raises ValueError."""
    return {key_of(name): read_value(name, value) for name, value in given.items()}


def truth_of(tree: Tree, values: Values) -> Truth:
    """Return whether a condition is true, false, or neither."""
    if isinstance(tree, Leaf):
        return _compare(tree, values)
    if isinstance(tree, Inverse):
        inner = truth_of(tree.inner, values)
        return None if inner is None else not inner
    found = [truth_of(part, values) for part in tree.parts]
    decisive = isinstance(tree, Some)  # what decides alone
    return decisive if decisive in found else None if None in found else not decisive


def _compare(leaf: Leaf, values: Values) -> Truth:
    kind = ATTRIBUTES[leaf.attribute].kind
    value = values.get(key_of(leaf.attribute))
    if value is None:
        return None
    if isinstance(leaf.test, Texts):
        found = not value.isdisjoint(leaf.test.items) if leaf.test.kind == "flags" else leaf.test.accepts(value)
    elif not any(low <= value <= high for low, high in kind.universe):  # IPv6 for an attribute of IPv4
        return None
    else:
        found = any(low <= value <= high for low, high in leaf.test)
    return found != leaf.negated


def matches(rule: LoadedRule, values: Values) -> Truth:
    """Return whether values match a rule."""
    found = [truth_of(tree, values) for tree in rule.trees.values()]
    if rule.rule.direction:
        direction = values.get("direction")
        found.append(None if direction is None else direction == rule.rule.direction)
    return False if False in found else None if None in found else True


def explain(rule: LoadedRule, values: Values) -> Iterator[str]:
    """Yield lines: whether an event matches a rule, and each part of its conditions."""
    truth = matches(rule, values)
    verdict = {True: "matches", False: "does not match", None: "does not match: the event does not say enough"}[truth]
    yield f"{shown(rule.rule.name)}: {verdict}"
    if rule.rule.direction:
        direction = values.get("direction")
        there = None if direction is None else direction == rule.rule.direction
        yield f"  {_WORDS[there]:7} in {rule.rule.direction}.rules; {_has('direction', values)}"
    for key, tree in rule.trees.items():
        yield f"  {key}:"
        yield from _lines(tree, values, "    ")


def _lines(tree: Tree, values: Values, indent: str) -> Iterator[str]:
    word = _WORDS[truth_of(tree, values)]
    if isinstance(tree, Leaf):
        yield f"{indent}{word:7} {shown(tree.text)}; {_has(tree.attribute, values)}"
        return
    if isinstance(tree, Inverse):
        yield f"{indent}{word:7} NOT"
        yield from _lines(tree.inner, values, indent + "  ")
        return
    if isinstance(tree, Every) and tree.name:
        yield f"{indent}{word:7} {tree.name}, a macro"
    else:
        yield f"{indent}{word:7} {'all of' if isinstance(tree, Every) else 'one of'}"
    for part in tree.parts:
        yield from _lines(part, values, indent + "  ")


def _has(name: str, values: Values) -> str:
    value = values.get(key_of(name))
    if value is None:
        return f"the event has no {name}"
    kind = ATTRIBUTES[name].kind
    if kind.form == "address":
        if not any(low <= value <= high for low, high in kind.universe):
            return f"the event has no {name}: its address is {'IPv4' if value < IPV6_BEGIN else 'IPv6'}"
        return f"it is {address_of(value)}"
    if kind.form == "duration":
        return f"it is {value / 1_000_000:g}s"
    if kind.form == "flags":
        return f"it is {' | '.join(sorted(value)) or 'none'}"
    return f"it is {shown(str(value))}"

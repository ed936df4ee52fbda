"""Makes a rule set of the sections of a configuration, and finds all that is wrong with them.

A configuration is one that has been checked (netmon.config.checked), or the model of one: both have the same keys. It
is typed Any here, since neither can be imported: they use this module.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from netmon.config.document import Document
from netmon.config.rule_checks import MAX_TAGS, SEVERITIES
from netmon.errors import Location, shown
from netmon.report import OPTIONS, Report
from netmon.rules.analysis import Alternative, TooManyError, always_matches, is_within, write_out
from netmon.rules.attributes import ATTRIBUTES
from netmon.rules.message import check_message
from netmon.rules.resolve import AllOf, Inverse, Leaf, Names, Passes, Positive, Tree, positive, read_value
from netmon.rules.sets import Texts
from netmon.rules.syntax import Node, parse
from netmon.rules.tokens import RuleSyntaxError

DIRECTIONS = ("ingress", "egress")
PARTS = ("when", "scope", "event")  # of a rule: all that are given must be true

# Lists a problem: where, in which text, at which character of it, and what.
Complain = Callable[[Location, str, int, str], None]


class Rule(NamedTuple):
    """A rule that can be matched.

    Attributes:
        name: What events call it.
        condition: What must pass; None: everything matches.
        severity: The index of one of SEVERITIES.
        action: Of ACTIONS.
        tags: Of the user's.
        message: The template of a message; empty without one.
        direction: The only direction whose connections it is about; empty: both.
    """

    name: str
    condition: Positive | None = None
    severity: int = 0
    action: str = "report"
    tags: tuple[str, ...] = ()
    message: str = ""
    direction: str = ""


class RuleSet(NamedTuple):
    """All rules, in their order, and whether events that no rule matches are reported."""

    rules: tuple[Rule, ...] = ()
    reports_unmatched: bool = False


class Example(NamedTuple):
    """An example of a rule: values that it shall match, or not.

    Attributes:
        values: By the names of attributes, as the configuration has them.
        matches: Whether the rule shall match them.
        location: Where it is.
    """

    values: Mapping[str, Any]
    matches: bool
    location: Location


class LoadedRule(NamedTuple):
    """A rule, with all that the tools for rules show of it.

    Attributes:
        rule: The rule.
        trees: Its conditions by their keys, with NOTs and macros as they are written.
        examples: Its examples.
        location: Where it is.
    """

    rule: Rule
    trees: Mapping[str, Tree]
    examples: tuple[Example, ...]
    location: Location


def compile_rules(config: Any) -> RuleSet:
    """Return the rules of a configuration that has been checked."""
    rules = tuple(loaded.rule for loaded in load_rules(config))
    return RuleSet(rules, config.unmatched == "report")


def load_rules(config: Any) -> list[LoadedRule]:
    """Return the rules of a configuration that has been checked, with what the tools show."""

    def complain(location: Location, _text: str, _at: int, message: str) -> None:
        raise AssertionError(f"{location}: {message}")  # the check has found all

    return _Loader(config, complain).load()


def check_rules(config: Any, document: Document) -> None:
    """Add to a document what is wrong with the rules of its configuration, whose values have been checked."""
    found = document.found

    def complain(location: Location, text: str, at: int, message: str) -> None:
        line, column = document.lines.find_in(location, text, at)
        place = f" (at character {at + 1})" if text and column is None else ""
        found.add(location, f"{message}{place}", line=line, column=column)

    loaded = _Loader(config, complain).load()
    if not found:
        _check_needs(loaded, config, complain)
        _analyse(loaded, complain)
        _check_messages(loaded, complain)
        _check_examples(loaded, complain)


class _Loader:
    """Loads the sections of one configuration."""

    def __init__(self, config: Any, complain: Complain) -> None:
        self._config = config
        self._complain = complain

    def load(self) -> list[LoadedRule]:
        config = self._config
        self._check_names()
        macros: dict[str, Node] = {}
        for i, macro in enumerate(config.macros or ()):
            node = self._parse(("macros", i, "condition"), macro.condition)
            if node is not None:
                macros[macro.macro] = node
        names = Names({part.list: part.items for part in config.lists or ()}, macros)
        for i, macro in enumerate(config.macros or ()):  # also one that no rule names
            if macro.macro in macros:
                self._resolve(names, ("macros", i, "condition"), macro.condition, macros[macro.macro])
        return [self._load_rule(names, *found) for found in self._rules()]

    def _rules(self) -> Iterator[tuple[Any, Location, str]]:
        """Yield all rules, where they are, and their only direction."""
        for i, rule in enumerate(self._config.rules or ()):
            yield rule, ("rules", i), ""
        for direction in DIRECTIONS:
            for i, rule in enumerate(getattr(self._config, direction).rules or ()):
                yield rule, (direction, "rules", i), direction

    def _check_names(self) -> None:
        config = self._config
        seen: dict[str, str] = {}
        for section, key in (("lists", "list"), ("macros", "macro")):
            for i, part in enumerate(getattr(config, section) or ()):
                name, location = getattr(part, key), (section, i, key)
                if name in ATTRIBUTES:
                    self._complain(location, "", 0, f"{name} is an attribute; choose another name")
                elif name in seen:
                    self._complain(location, "", 0, f"{name} is the name of a {seen[name]} already; keep one")
                seen.setdefault(name, key)
        taken: dict[str, str] = {}
        for rule, where, direction in self._rules():
            other = taken.get(rule.rule)
            if other is not None and {other, direction} != {*DIRECTIONS}:
                self._complain((*where, "rule"), "", 0, f"{shown(rule.rule)} is the name of a rule already; keep one")
            taken.setdefault(rule.rule, direction)
            if len(rule.tags or ()) > MAX_TAGS:
                self._complain((*where, "tags"), "", 0, f"has {len(rule.tags)} tags; a rule has at most {MAX_TAGS}")

    def _load_rule(self, names: Names, rule: Any, location: Location, direction: str) -> LoadedRule:
        trees: dict[str, Tree] = {}
        for key in PARTS:
            text = getattr(rule, key)
            if text is not None and (node := self._parse((*location, key), text)) is not None:
                tree = self._resolve(names, (*location, key), text, node)
                if tree is not None:
                    trees[key] = tree
        parts = [positive(tree) for tree in trees.values()]
        if direction:
            parts.append(Passes("direction", Texts("values", frozenset([direction]), negated=False)))
        condition = AllOf(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None
        made = Rule(
            rule.rule,
            condition,
            SEVERITIES.index(rule.severity),
            rule.action,
            tuple(rule.tags or ()),
            rule.message or "",
            direction,
        )
        return LoadedRule(made, trees, tuple(_examples_of(rule, location)), location)

    def _parse(self, location: Location, text: str) -> Node | None:
        try:
            return parse(text)
        except RuleSyntaxError as error:
            self._complain(location, text, error.at, str(error))
            return None

    def _resolve(self, names: Names, location: Location, text: str, node: Node) -> Tree | None:
        try:
            return names.resolve(node)
        except RuleSyntaxError as error:
            self._complain(location, text, error.at, str(error))
            return None


def _examples_of(rule: Any, location: Location) -> Iterator[Example]:
    for i, example in enumerate(rule.tests or ()):
        for key, matches in (("matches", True), ("misses", False)):
            values = getattr(example, key)
            if values is not None:
                yield Example(values, matches, (*location, "tests", i, key))


def _check_examples(loaded: Sequence[LoadedRule], complain: Complain) -> None:
    for one in loaded:
        for example in one.examples:
            for name, value in example.values.items():
                try:
                    read_value(name, value)
                except ValueError as error:
                    complain(example.location, "", 0, str(error))


def leaves_of(tree: Tree) -> Iterator[Leaf]:
    """Yield all comparisons of a condition."""
    if isinstance(tree, Leaf):
        yield tree
    elif isinstance(tree, Inverse):
        yield from leaves_of(tree.inner)
    else:
        for part in tree.parts:
            yield from leaves_of(part)


def _check_needs(loaded: Sequence[LoadedRule], config: Any, complain: Complain) -> None:
    """Find comparisons with what no event has, since a report option is off."""
    report: Report = config.report
    on = {name for name in OPTIONS if getattr(report, name)}
    on |= {name for name in ("progress", "ancestors") if getattr(report, name) is not None}
    run = config.run
    on |= {"aggregate"} if run is not None and run.aggregate is not None else set()
    for one in loaded:
        for key, tree in one.trees.items():
            lacking = {leaf.attribute for leaf in leaves_of(tree) if not _is_there(leaf.attribute, on)}
            for name in sorted(lacking):
                needed = ATTRIBUTES[name].needs[0]
                setting = f"report.{needed}: true" if needed in OPTIONS else f"report.{needed}"
                complain((*one.location, key), "", 0, f"compares {name}, which needs {setting}; set it")


def _is_there(name: str, options: set[str]) -> bool:
    needs = ATTRIBUTES[name].needs
    return not needs or not options.isdisjoint(needs)


def _analyse(loaded: Sequence[LoadedRule], complain: Complain) -> None:
    """Find rules that can never match, that always match, and that are hidden by one above that drops all of it."""
    dropped: list[tuple[str, list[Alternative]]] = []
    for one in loaded:
        rule = one.rule
        if rule.condition is None:
            if rule.action == "drop":
                dropped.append((rule.name, [{}]))
            continue
        where = (*one.location, next(iter(one.trees), "rule"))
        try:
            alternatives, emptied = write_out(rule.condition)
        except TooManyError:
            continue
        if not alternatives:
            complain(where, "", 0, f"can never match: no value of {emptied} is left, or no event has all of it")
            continue
        if one.trees and always_matches(alternatives):
            complain(where, "", 0, "always matches; leave the condition out if that is meant")
        hidden_by = next((name for name, wider in dropped if is_within(alternatives, wider)), None)
        if hidden_by is not None:
            complain(where, "", 0, f"is hidden by the rule {shown(hidden_by)} above, which drops all that it matches")
        if rule.action == "drop":
            dropped.append((rule.name, alternatives))


def _check_messages(loaded: Sequence[LoadedRule], complain: Complain) -> None:
    messages = [one for one in loaded if one.rule.message]
    if not messages:
        return
    from netmon.terminal.fields import known_paths  # needs the models of events: few rules have a message

    known = dict.fromkeys(known_paths())
    for one in messages:
        try:
            check_message(one.rule.message, known)
        except ValueError as error:
            complain((*one.location, "message"), "", 0, str(error))

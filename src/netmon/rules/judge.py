"""Judges events in their order: which rules match, and whether the event is reported.

A close, a failure and a progress have the rules of their connection's opening, and those that only they can match.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from netmon.config.rule_checks import SEVERITIES
from netmon.report import DIRECTION_OF
from netmon.rules.attributes import OPENINGS, Facts, make_facts
from netmon.rules.match import Matching, OfProcess
from netmon.rules.message import Template, parse_template
from netmon.rules.plain import StoredRules
from netmon.text import is_harmless

CONNECTIONS_KEPT = 1 << 16  # open ones, whose rules are remembered
OUTCOMES_KEPT = 1024  # sets of rules that matched together
MAX_NAMES = 16  # rules, and tags, in an event


class Outcome(NamedTuple):
    """What comes of the rules that match an event.

    Attributes:
        reported: Whether the event is reported.
        names: The rules that matched, in their order, at most MAX_NAMES.
        severity: The highest of theirs; empty without rules.
        tags: Of all of them.
        template: The message of the most severe one that has a message; empty without one.
        json: All but the message, as members of a JSON object, each after a comma.
    """

    reported: bool
    names: tuple[str, ...] = ()
    severity: str = ""
    tags: tuple[str, ...] = ()
    template: Template = ()
    json: str = ""


class Opened(NamedTuple):
    """What is remembered of an open connection: the rules that its opening matched, and its direction."""

    matched: int
    direction: str | None


class Judge:
    """Judges events by one rule set. One thread uses it.

    Attributes:
        counts: How many connections each rule has matched.
        dropped: How many events were not reported.
        forgotten: How many open connections were forgotten, since there are too many: their closes are judged alone.
    """

    def __init__(self, rules: StoredRules, directions: tuple[str, ...] = ("ingress", "egress")) -> None:
        """Prepare it. directions: those that are watched; if it is one, an event is of it."""
        self._rules = rules.rules
        self._reports_unmatched = rules.reports_unmatched
        self._only_direction = directions[0] if len(directions) == 1 else None
        self._matching = Matching(rules)
        self._opened: dict[int, Opened] = {}
        self._counted = [0] * len(rules.rules)
        self._outcome_of = lru_cache(maxsize=OUTCOMES_KEPT)(self._find_outcome)
        self._opened_as = lru_cache(maxsize=OUTCOMES_KEPT)(Opened)  # many connections are remembered alike
        self.process_values = self._matching.process_values
        self.dropped = 0
        self.forgotten = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """How many connections, or aggregates, each rule has matched."""
        counts: dict[str, int] = {}
        for rule, count in zip(self._rules, self._counted, strict=True):
            counts[rule.name] = counts.get(rule.name, 0) + count
        return counts

    def inherit(self, before: "Judge") -> None:
        """Take over the open connections of the rules before a reload: rules keep what they matched by their names."""
        places = {(rule.name, rule.direction): 1 << i for i, rule in enumerate(self._rules)}
        bits = [(1 << i, places.get((rule.name, rule.direction), 0)) for i, rule in enumerate(before._rules)]
        moved = {
            opened: self._opened_as(sum(new for old, new in bits if opened.matched & old), opened.direction)
            for opened in {*before._opened.values()}
        }
        self._opened = {cookie: moved[opened] for cookie, opened in before._opened.items()}
        self.dropped, self.forgotten = before.dropped, before.forgotten

    def judge(self, process_values: OfProcess, facts: Facts, cookie: int | None) -> Outcome:
        """Return what comes of an event.

        Args:
            process_values: What process_values() has returned of its process.
            facts: What it says of its connection.
            cookie: The connection's; None if it has none.
        """
        kind = facts.kind
        known = self._opened.get(cookie) if cookie is not None and kind not in OPENINGS else None
        direction = facts.direction or DIRECTION_OF.get(kind)
        direction = direction or (known.direction if known else None) or self._only_direction
        if direction != facts.direction:
            facts = make_facts((kind, direction, *facts[2:]))
        if known is None:
            before, matched = 0, self._matching.match(process_values, facts)
        else:
            before = known.matched
            matched = before | self._matching.match_varying(process_values, facts)
        if cookie is not None:
            self._remember(cookie, kind, matched, direction)
        if new := matched & ~before:
            for i in _bits(new):
                self._counted[i] += 1
        outcome = self._outcome_of(matched)
        self.dropped += not outcome.reported
        return outcome

    def _remember(self, cookie: int, kind: str, matched: int, direction: str | None) -> None:
        if kind in ("close", "fail"):
            self._opened.pop(cookie, None)
            return
        if kind not in OPENINGS and cookie not in self._opened:  # a progress of a connection that was forgotten
            return
        if len(self._opened) >= CONNECTIONS_KEPT and cookie not in self._opened:
            del self._opened[next(iter(self._opened))]
            self.forgotten += 1
        self._opened[cookie] = self._opened_as(matched, direction)

    def _find_outcome(self, matched: int) -> Outcome:
        """Return what comes of rules that match together: one that drops ends the list."""
        found = []
        reported = dropped = False
        for i in _bits(matched):
            rule = self._rules[i]
            if rule.action == "drop":
                dropped = True
                break
            reported |= rule.action == "report"
            found.append(rule)
        reported |= self._reports_unmatched and not dropped
        if not found:
            return Outcome(reported)
        names = tuple(rule.name for rule in found[:MAX_NAMES])
        severity = max(rule.severity for rule in found)
        tags = tuple(dict.fromkeys(tag for rule in found for tag in rule.tags))[:MAX_NAMES]
        messages = [rule for rule in found if rule.message]
        template = parse_template(max(messages, key=lambda rule: rule.severity).message) if messages else ()
        members = {"rules": names, "severity": SEVERITIES[severity], **({"tags": tags} if tags else {})}
        return Outcome(reported, names, SEVERITIES[severity], tags, template, f",{_json_of(members)[1:-1]}")


def _json_of(members: Mapping[str, object]) -> str:
    """Return harmless JSON of members of an event."""
    text = json.dumps(members, separators=(",", ":"), ensure_ascii=False)
    return text if is_harmless(text) else json.dumps(members, separators=(",", ":"))


@lru_cache(maxsize=OUTCOMES_KEPT)
def _bits(number: int) -> tuple[int, ...]:
    """Return which bits of a number are set."""
    found = []
    while number:
        lowest = number & -number
        found.append(lowest.bit_length() - 1)
        number ^= lowest
    return tuple(found)

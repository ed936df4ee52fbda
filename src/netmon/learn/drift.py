"""Counts what an expectation does not allow. An expectation is a configuration: what it reports is unexpected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netmon.learn.learner import Learner, connections, direction_of
from netmon.learn.write import write_rules
from netmon.rules.apply import with_members
from netmon.rules.attributes import LATER
from netmon.rules.events import facts_of, is_judged

KEPT = 1 << 16  # open connections that were unexpected, whose ends are no further ones
MOST_RULES = 20  # that are shown

MARK = ',"expected":false'


class Drift:
    """Marks and counts unexpected connections: those whose events the rules of an expectation report.

    Attributes:
        count: How many there were.
        unknown: How many events more there were of which nobody knows who opened their connection.
    """

    def __init__(self) -> None:
        """Make it."""
        self.count = self.unknown = 0
        self._learner = Learner()
        self._open: dict[int, None] = {}

    def mark(self, lines: Sequence[str]) -> list[str]:
        """Return lines of reported events; those of unexpected connections say so."""
        from orjson import loads  # slow to import

        return [with_members(line, MARK) if self._is_unexpected(loads(line)) else line for line in lines]

    def _is_unexpected(self, event: dict[str, Any]) -> bool:
        """Return whether an event that was reported is of an unexpected connection, and count that."""
        if not is_judged(event):
            return False
        facts = facts_of(event)
        if not event.get("rules") and self._cannot_tell(event, facts.kind, direction_of(facts)):
            self.unknown += 1
            return False
        if self._is_new(event, facts.kind):
            self.count += 1
            self._learner.add(event)
        return True

    def _cannot_tell(self, event: dict[str, Any], kind: str, direction: str | None) -> bool:
        """Return whether an event is reported for want of knowledge: no rule for a direction can match it."""
        if kind in LATER:
            return event["network_event"]["cookie"] not in self._open
        return direction is None

    def _is_new(self, event: dict[str, Any], kind: str) -> bool:
        if "network_event" not in event:
            return True
        cookie = event["network_event"]["cookie"]
        known = cookie in self._open
        if kind in ("close", "fail"):
            self._open.pop(cookie, None)
        elif not known:
            if len(self._open) >= KEPT:
                del self._open[next(iter(self._open))]
            self._open[cookie] = None
        return not known

    def suggestion(self, most: int = MOST_RULES) -> list[str]:
        """Return the rules that would allow what was unexpected, as lines for the expectation; none if there are none.

        Args:
            most: How many rules, at most; the last line counts the others.
        """
        lines, more = write_rules(self._learner, most)
        lines += [f"# and {more:,} more rules"] if more else []
        return lines + [f"# no rule can allow {count:,} {reason}" for reason, count in self._left_out()]

    def _left_out(self) -> list[tuple[str, int]]:
        return sorted(self._learner.left_out.items())

    @property
    def summary(self) -> str:
        """How many connections were unexpected, in words."""
        text = f"{connections(self.count)} not expected" if self.count else "nothing unexpected"
        return f"{text}, {self.unknown:,} events of connections that began before" if self.unknown else text

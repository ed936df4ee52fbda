"""What the rules that an event matched say of it, for the schemas of others."""

from __future__ import annotations

from typing import NamedTuple

from netmon.config.rule_checks import SEVERITIES
from netmon.schemas.facts import Event

# OCSF's numbers, which are also what netmon has for ECS, where each source has its own.
NUMBERS = {name: number for number, name in enumerate(SEVERITIES, 1)}
# OpenTelemetry's severity of each: number, and text.
LOG_SEVERITIES = dict(
    zip(SEVERITIES, ((9, "INFO"), (13, "WARN"), (14, "WARN2"), (17, "ERROR"), (21, "FATAL")), strict=True)
)


class Verdict(NamedTuple):
    """What an event's rules say.

    Attributes:
        rule: The first of its rules, for schemas that have one; "" without one.
        severity: Of SEVERITIES; "" without rules.
        is_alert: Whether somebody should look at it: more severe than `info`, or not expected.
        message: The message; "" without one.
        tags: The tags.
    """

    rule: str
    severity: str
    is_alert: bool
    message: str
    tags: list[str]


def verdict_of(event: Event) -> Verdict | None:
    """Return what the rules say of an event; None if they say nothing."""
    rules, severity, unexpected = event.get("rules"), event.get("severity", ""), event.get("expected") is False
    if not rules and not unexpected:
        return None
    is_alert = unexpected or severity not in ("", SEVERITIES[0])
    return Verdict(rules[0] if rules else "", severity, is_alert, event.get("message", ""), event.get("tags", []))

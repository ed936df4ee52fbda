"""Applies rules to events that are JSON: those of a recording, and lines that were kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netmon.errors import DecodeError, shown
from netmon.rules.apply import PREFIX, add_message, fields_of, with_members
from netmon.rules.attributes import SUMMARY, Facts, Json
from netmon.rules.judge import Judge, Outcome
from netmon.rules.plain import pack_rules, unpack_rules

if TYPE_CHECKING:
    from netmon.events import Event


def is_judged(event: Json) -> bool:
    """Return whether rules say something about an event: not about losses, nor what a newer netmon has."""
    return event.get("type") in ("NetworkEvent", "NetworkSummary")


def facts_of(event: Json) -> Facts:
    """Return what an event says of its connection, or of its flow."""
    if event["type"] == "NetworkSummary":
        flow = event["flow"]
        sport, dport = (None, flow["port"]) if flow["direction"] == "egress" else (flow["port"], None)
        counts = {key: flow[key] for key in ("bytes_sent", "bytes_received")}
        return Facts(SUMMARY, flow["direction"], None, _packed(flow["peer"]), sport, dport, counts)
    network = event["network_event"]
    return Facts(
        network["type"].removeprefix(PREFIX).lower(),
        network.get("direction"),
        _packed(network["saddr"]),
        _packed(network["daddr"]),
        network["sport"],
        network["dport"],
        network,
    )


def _packed(address: str) -> bytes:
    from socket import AF_INET, AF_INET6, inet_pton

    try:
        return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except OSError:
        raise DecodeError(f"{shown(address)} is no address, which an event has") from None


class JsonRules:
    """Judges events as dicts with the keys of the JSON, in the order in which they came."""

    def __init__(self, config: Any) -> None:
        """Prepare it. config: a Config with rules."""
        from netmon.rules.load import compile_rules

        directions = tuple(name for name in ("ingress", "egress") if getattr(config, name).enabled)
        self.judge = Judge(unpack_rules(pack_rules(compile_rules(config))), directions)

    def outcome(self, event: Json) -> Outcome:
        """Return what comes of an event."""
        facts = facts_of(event)
        values = self.judge.process_values(event["process"], event.get("parent"))
        cookie = event["network_event"]["cookie"] if facts.kind != SUMMARY else None
        return self.judge.judge(values, facts, cookie)

    def event(self, event: Event) -> Event | None:
        """Return an event with its rules; None if it is not reported."""
        plain = event.model_dump()
        if not is_judged(plain):
            return event
        outcome = self.outcome(plain)
        if not outcome.reported:
            return None
        return event.model_copy(update=fields_of(add_message(outcome, plain)))

    def line(self, line: str, event: Json) -> str | None:
        """Return an event's line with its rules; None if it is not reported."""
        if not is_judged(event):
            return line
        outcome = self.outcome(event)
        return with_members(line, add_message(outcome, event)) if outcome.reported else None

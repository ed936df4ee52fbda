"""Applies rules to the events of a monitor: those that are reported have the names of their rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from netmon.decode.format import DIRECTIONS, EVENT_TYPES, IPV4_LENGTH, fit_json
from netmon.decode.raw_event import RawEvent
from netmon.errors import NetmonError
from netmon.layout import Family
from netmon.report import DIRECTION_OF
from netmon.rules.attributes import ATTRIBUTES, SUMMARY, Facts, make_facts
from netmon.rules.judge import Judge, Outcome
from netmon.rules.match import PROCESSES_KEPT, OfProcess, keys_in
from netmon.rules.message import MAX_MESSAGE, fill
from netmon.rules.plain import unpack_rules

if TYPE_CHECKING:
    from netmon.decode.flows import FlowSummary
    from netmon.decode.known_process import KnownProcess
    from netmon.events import NetworkEvent, NetworkSummary
    from netmon.filters.compiled import Watched

PREFIX = "TcpConnection"
# Of each record's type: the kind of its event, and the direction that it tells.
KINDS = {
    number: (kind := name.removeprefix(PREFIX).lower(), DIRECTION_OF.get(kind)) for number, name in EVENT_TYPES.items()
}


class RuledEvent(RawEvent):
    """A RawEvent with what comes of the rules that it matches.

    Attributes:
        outcome: The rules, and their severity.
        members: The keys that it has beyond those of a RawEvent, as JSON.
    """

    outcome: Outcome
    members: str

    @classmethod
    def of(cls, event: RawEvent, outcome: Outcome) -> RuledEvent:
        """Return an event with an outcome."""
        ruled: RuledEvent = tuple.__new__(cls, event)
        ruled.outcome = outcome
        ruled.members = add_message(outcome, _plain_event(event)) if outcome.template else outcome.json
        return ruled

    def json(self) -> str:
        """Return the event as a line of JSON, ended by a newline."""
        return with_members(super().json(), self.members)

    def model(self) -> NetworkEvent:
        """Return the event as the pydantic model."""
        return super().model().model_copy(update=fields_of(self.members))


class RuledSummary:
    """A FlowSummary with what comes of the rules that it matches."""

    def __init__(self, summary: FlowSummary, members: str) -> None:
        """Make it. members: as of RuledEvent."""
        self._summary = summary
        self._members = members

    def json(self) -> str:
        """Return a line of JSON."""
        return with_members(self._summary.json(), self._members)

    def model(self) -> NetworkSummary:
        """Return the pydantic model."""
        return self._summary.model().model_copy(update=fields_of(self._members))


def with_members(line: str, members: str) -> str:
    """Return an event's line of JSON with further members at its end."""
    return f"{line[:-2]}{members}}}\n"


def fields_of(members: str) -> dict[str, Any]:
    """Return members as the fields of a model."""
    from orjson import loads  # slow to import

    return loads(f"{{{members[1:]}}}") if members else {}


def add_message(outcome: Outcome, event: Mapping[str, Any]) -> str:
    """Return an outcome's members with the message, if there is one. event: what the message may name."""
    if not outcome.template:
        return outcome.json
    text, _ = fit_json(fill(outcome.template, event), MAX_MESSAGE)
    return f'{outcome.json},"message":{text}'


def _plain_event(event: RawEvent) -> Mapping[str, Any]:
    """Return what messages may name of an event. It is made for few: those of rules that have a message."""
    from orjson import loads

    plain: Mapping[str, Any] = loads(event.json())
    return plain


class RuledEvents:
    """Leaves out events, and adds to the others, as rules say. The reading thread uses it."""

    def __init__(self, packed: bytes, watched: Watched) -> None:
        """Prepare it.

        Args:
            packed: The rules, as they are handed over.
            watched: What is watched.

        Raises:
            NetmonError: The rules are none.
        """
        try:
            rules = unpack_rules(packed)
        except ValueError as error:
            raise NetmonError(f"the process that reads the configuration has answered nonsense: {error}") from None
        self.judge = Judge(rules, watched.directions)
        self._kept_values = lru_cache(maxsize=PROCESSES_KEPT)(self._find_values)
        names_workload = any(
            "workload" in ATTRIBUTES[key].needs for rule in rules.rules for key in keys_in(rule.condition)
        )
        self._values_of = self._settled_values if names_workload else self._kept_values

    def _settled_values(self, process: KnownProcess) -> OfProcess:
        """Return what rules see of a process; it is kept once its names stay as they are."""
        return self._kept_values(process) if process.settled else self._find_values(process)

    def _find_values(self, process: KnownProcess) -> OfProcess:
        return self.judge.process_values(process.fields, process.parent)

    def lines(self, events: Iterable[RawEvent]) -> Iterator[str]:
        """Yield lines of JSON of the events that are reported."""
        for event in events:
            outcome = self._judge(event)
            if outcome.reported:
                if outcome.template:
                    yield RuledEvent.of(event, outcome).json()
                elif outcome.json:
                    yield with_members(event.json(), outcome.json)
                else:
                    yield event.json()

    def models(self, events: Iterable[RawEvent]) -> Iterator[NetworkEvent]:
        """Yield models of the events that are reported."""
        for event in self.raw(events):
            yield event.model()

    def raw(self, events: Iterable[RawEvent]) -> Iterator[RawEvent]:
        """Yield the events that are reported."""
        for event in events:
            outcome = self._judge(event)
            if outcome.reported:
                yield RuledEvent.of(event, outcome) if outcome.json else event

    def _judge(self, event: RawEvent) -> Outcome:
        process, _, type_, sport, dport, cookie, addresses, _, _, details, _ = event
        half = len(addresses) >> 1
        kind, direction = KINDS[type_]
        direction = direction or details.get("direction")
        facts = make_facts((kind, direction, addresses[:half], addresses[half:], sport, dport, details))
        return self.judge.judge(self._values_of(process), facts, cookie)

    def summary(self, summary: FlowSummary) -> FlowSummary | RuledSummary | None:
        """Return an aggregate with its rules; None if it is not reported."""
        key, flow = summary.key, summary.flow
        direction = DIRECTIONS[key.direction]
        peer = key.peer[:IPV4_LENGTH] if key.family == Family.IPV4 else key.peer
        sport, dport = (None, key.port) if direction == "egress" else (key.port, None)
        counts = {"bytes_sent": flow.bytes_sent, "bytes_received": flow.bytes_received}
        facts = Facts(SUMMARY, direction, None, peer, sport, dport, counts)
        outcome = self.judge.judge(self._values_of(summary.process), facts, None)
        if not outcome.reported:
            return None
        members = add_message(outcome, fields_of(f",{summary.json()[1:-2]}")) if outcome.template else outcome.json
        return RuledSummary(summary, members) if members else summary

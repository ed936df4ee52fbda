"""Entries of the kernel's table of flows (aggregate mode), and how they are rendered: as JSON, or as NetworkSummary."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from netmon.decode.format import DIRECTIONS, IPV4_LENGTH, NSEC_PER_USEC, format_address, plain_json
from netmon.decode.known_process import KnownProcess
from netmon.errors import DecodeError
from netmon.layout import FLOW, FLOW_KEY, Family, Flow, FlowKey

if TYPE_CHECKING:
    from netmon.events import NetworkSummary


class FlowSummary(NamedTuple):
    """What a process did in one direction with one peer and port in a period."""

    key: FlowKey
    flow: Flow
    process: KnownProcess
    period_start: str  # UTC, in milliseconds
    timestamp: str  # the end of the period, likewise

    def json(self) -> str:
        """Return a line of JSON. The keys have the order of the models' fields."""
        key, flow, process = self.key, self.flow, self.process
        peer = key.peer[:IPV4_LENGTH] if key.family == Family.IPV4 else key.peer
        totals = {
            "direction": DIRECTIONS[key.direction],
            "peer": format_address(peer),
            "port": key.port,
            "opened": flow.opened,
            "closed": flow.closed,
            "failed": flow.failed,
            "bytes_sent": flow.bytes_sent,
            "bytes_received": flow.bytes_received,
            "duration_us": flow.duration_ns // NSEC_PER_USEC,
        }
        return (
            f'{{"type":"NetworkSummary",{process.json_with_parent()},"flow":{plain_json(totals)},'
            f'"period_start":"{self.period_start}","timestamp":"{self.timestamp}"}}\n'
        )

    def model(self) -> NetworkSummary:
        """Return the pydantic model, read back from the JSON."""
        from netmon.events import NetworkSummary  # imported late: pydantic is slow, and JSON lines do not need it

        return NetworkSummary.model_validate_json(self.json())


def unpack_flow(key: bytes, value: bytes) -> tuple[FlowKey, Flow]:
    """Return an entry of the table: its struct flow_key and struct flow.

    Raises:
        DecodeError: A length or the direction is wrong.
    """
    if (len(key), len(value)) != (FLOW_KEY.size, FLOW.size):
        raise DecodeError(f"a flow has {len(key)} and {len(value)} bytes, not {FLOW_KEY.size} and {FLOW.size}")
    fields = FlowKey._make(FLOW_KEY.unpack(key))
    if fields.direction not in DIRECTIONS:
        raise DecodeError(f"a flow has the unknown direction {fields.direction}")
    return fields, Flow._make(FLOW.unpack(value))


def merge(flows: Iterable[tuple[FlowKey, Flow, KnownProcess]]) -> Iterator[tuple[FlowKey, Flow, KnownProcess]]:
    """Yield the flows; add up those that differ in the process's id alone.

    Two threads may describe their process at the same time: then it has two ids.
    """
    merged: dict[tuple[object, ...], tuple[FlowKey, Flow, KnownProcess]] = {}
    for key, flow, process in flows:
        same = (*key._replace(process_id=0), process.key)
        if same in merged:
            flow = Flow._make(map(operator.add, merged[same][1], flow))
        merged[same] = key, flow, process
    yield from merged.values()

"""Flows, as the kernel has summed them up, to what is reported of them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any

from netmon.decode.details import DIRECTIONS, IPV4_LENGTH, NSEC_PER_USEC
from netmon.decode.format import format_address
from netmon.decode.processes import KnownProcess
from netmon.layout import FLOW, FLOW_KEY, Family, Flow, FlowKey


def unpack_flow(key: bytes, value: bytes) -> tuple[FlowKey, Flow]:
    """Return what struct flow_key and struct flow hold."""
    return FlowKey._make(FLOW_KEY.unpack(key)), Flow._make(FLOW.unpack(value))


def _address_text(key: FlowKey) -> str:
    return format_address(key.peer[:IPV4_LENGTH] if key.family == Family.IPV4 else key.peer)


def merge(flows: Iterable[tuple[FlowKey, Flow, KnownProcess]]) -> Iterator[tuple[FlowKey, Flow, KnownProcess]]:
    """Yield the flows, added up where they differ only in the process's id: threads that described it at once."""
    merged: dict[tuple[object, ...], tuple[FlowKey, Flow, KnownProcess]] = {}
    for key, flow, process in flows:
        place = (*key._replace(process_id=0), process.json_head, process.json_tail)
        if place in merged:
            flow = Flow._make(map(operator.add, merged[place][1], flow))
        merged[place] = key, flow, process
    yield from merged.values()


def summarize(key: FlowKey, flow: Flow, process: KnownProcess, period_start: str, period_end: str) -> dict[str, Any]:
    """Return a flow as the data of a NetworkSummary."""
    return {
        "type": "NetworkSummary",
        "process": process.fields_of(process.pid),
        **({"parent": process.parent} if process.parent else {}),
        "flow": {
            "direction": DIRECTIONS[key.direction],
            "peer": _address_text(key),
            "port": key.port,
            "opened": flow.opened,
            "closed": flow.closed,
            "failed": flow.failed,
            "bytes_sent": flow.bytes_sent,
            "bytes_received": flow.bytes_received,
            "duration_us": flow.duration_ns // NSEC_PER_USEC,
        },
        "period_start": period_start,
        "timestamp": period_end,
    }

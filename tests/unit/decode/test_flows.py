"""Flows, and their summaries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netmon.decode.flows import FlowSummary, merge, unpack_flow
from netmon.decode.known_process import KnownProcess
from netmon.decode.processes import ProcessTable
from netmon.errors import DecodeError
from netmon.events import Flow as FlowModel
from netmon.events import NetworkSummary
from netmon.layout import FLOW, FLOW_KEY, Direction, Family, Flow, FlowKey
from tests.support.decoders import make_table
from tests.support.records import process_record

TOTALS = Flow(opened=5, closed=4, failed=1, bytes_sent=100, bytes_received=2**40, duration_ns=1_999_999)


def flow_key(**changes: int | bytes) -> bytes:
    """Return the key of an egress flow of process 7 to 192.0.2.1:443; changes replace its fields."""
    key = FlowKey(7, bytes([192, 0, 2, 1]) + bytes(12), 443, Family.IPV4, Direction.EGRESS)
    return FLOW_KEY.pack(*key._replace(**changes))  # type: ignore[arg-type]


@pytest.fixture
def table() -> ProcessTable:
    """A table that has process 7."""
    table = make_table()
    table.add(process_record())
    return table


def known(table: ProcessTable, process_id: int) -> KnownProcess:
    process = table.get(process_id)
    assert process is not None
    return process


def summary_of(process: KnownProcess, key: bytes) -> FlowSummary:
    return FlowSummary(*unpack_flow(key, FLOW.pack(*TOTALS)), process, "START", "END")


def test_a_summary(table: ProcessTable) -> None:
    summary = summary_of(known(table, 7), flow_key())
    fields: dict[str, Any] = json.loads(summary.json())
    assert fields["flow"] == {
        "direction": "egress",
        "peer": "192.0.2.1",
        "port": 443,
        "opened": 5,
        "closed": 4,
        "failed": 1,
        "bytes_sent": 100,
        "bytes_received": 2**40,
        "duration_us": 1999,
    }
    assert fields["process"]["tid"] == fields["process"]["pid"] == 4242
    assert NetworkSummary.model_validate(fields) == summary.model()
    assert summary.json() == summary.model().model_dump_json() + "\n"
    assert list(fields) == ["type", "process", "flow", "period_start", "timestamp"]


OF_RULES = {"rules", "severity", "tags", "message", "expected"}  # netmon.rules and netmon.learn add these


def test_a_summary_has_the_parent(table: ProcessTable) -> None:
    table.add(process_record(process_id=8, pid=5, ppid=4242, parent_id=7))
    summary = summary_of(known(table, 8), flow_key())
    fields = json.loads(summary.json())
    assert (fields["parent"]["pid"], fields["parent"]["tid"]) == (4242, 4242)
    assert summary.json() == summary.model().model_dump_json() + "\n"
    assert list(fields) == [name for name in NetworkSummary.model_fields if name not in OF_RULES]
    assert list(fields["flow"]) == list(FlowModel.model_fields)


def test_ipv6_and_ingress(table: ProcessTable) -> None:
    key = flow_key(peer=bytes(15) + b"\1", family=Family.IPV6, direction=Direction.INGRESS)
    flow = summary_of(known(table, 7), key).model().flow
    assert (flow.peer, flow.direction) == ("::1", "ingress")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (flow_key(direction=2), FLOW.pack(*TOTALS)),
        (flow_key()[:-1], FLOW.pack(*TOTALS)),
        (flow_key(), FLOW.pack(*TOTALS) + b"x"),
    ],
)
def test_a_damaged_flow_is_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(DecodeError, match="a flow has"):
        unpack_flow(key, value)


def test_flows_of_one_process_under_two_ids_are_added_up(table: ProcessTable) -> None:
    """Two threads may describe their process at the same time."""
    table.add(process_record(process_id=8))
    table.add(process_record(process_id=9, pid=1))
    flows = []
    for process_id in (7, 8, 9):
        flow = unpack_flow(flow_key(process_id=process_id), FLOW.pack(*TOTALS))
        flows.append((*flow, known(table, process_id)))
    both, other = merge(flows)
    assert both[1] == Flow(*(2 * total for total in TOTALS))
    assert other == flows[2]

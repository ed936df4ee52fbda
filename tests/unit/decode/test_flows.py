"""What the kernel has summed up, as it is reported."""

from __future__ import annotations

import json
from collections.abc import Callable

import orjson
import pytest

from netmon.decode.flows import merge, summarize, unpack_flow
from netmon.decode.processes import ProcessTable
from netmon.events import NetworkSummary
from netmon.layout import FLOW, FLOW_KEY, Direction, Family, Flow, FlowKey
from tests.support.records import process_record
from tests.unit.decode.test_decoder import make_table

TOTALS = Flow(opened=5, closed=4, failed=1, bytes_sent=100, bytes_received=2**40, duration_ns=1_999_999)


def flow_key(**changes: int | bytes) -> bytes:
    """Return the key of an egress flow of process 7 to 192.0.2.1:443; changes replace its fields."""
    key = FlowKey(7, bytes([192, 0, 2, 1]) + bytes(12), 443, Family.IPV4, Direction.EGRESS)
    return FLOW_KEY.pack(*key._replace(**changes))  # type: ignore[arg-type]


@pytest.fixture
def table() -> ProcessTable:
    """One that knows process 7."""
    table = make_table()
    table.add(process_record())
    return table


def test_a_flow_is_a_summary(table: ProcessTable) -> None:
    process = table.get(7)
    assert process is not None
    report = summarize(*unpack_flow(flow_key(), FLOW.pack(*TOTALS)), process, "START", "END")
    assert report["flow"] == {
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
    assert report["process"]["tid"] == report["process"]["pid"] == 4242
    model = NetworkSummary.model_validate(report)
    assert orjson.dumps(report).decode() == model.model_dump_json()
    assert list(json.loads(model.model_dump_json())) == ["type", "process", "flow", "period_start", "timestamp"]


def test_a_summary_has_the_parent(table: ProcessTable) -> None:
    table.add(process_record(process_id=8, pid=5, ppid=4242, parent_id=7))
    process = table.get(8)
    assert process is not None
    report = summarize(*unpack_flow(flow_key(), FLOW.pack(*TOTALS)), process, "START", "END")
    assert (report["parent"]["pid"], report["parent"]["tid"]) == (4242, 4242)
    assert orjson.dumps(report).decode() == NetworkSummary.model_validate(report).model_dump_json()


def test_ipv6_and_ingress(table: ProcessTable) -> None:
    process = table.get(7)
    assert process is not None
    key = flow_key(peer=bytes(15) + b"\1", family=Family.IPV6, direction=Direction.INGRESS)
    flow = summarize(*unpack_flow(key, FLOW.pack(*TOTALS)), process, "START", "END")["flow"]
    assert (flow["peer"], flow["direction"]) == ("::1", "ingress")


def test_flows_of_one_process_under_two_ids_are_one(table: ProcessTable) -> None:
    """Two threads may describe their process at the same time."""
    table.add(process_record(process_id=8))
    table.add(process_record(process_id=9, pid=1))
    flows = []
    for process_id in (7, 8, 9):
        process = table.get(process_id)
        assert process is not None
        flows.append((*unpack_flow(flow_key(process_id=process_id), FLOW.pack(*TOTALS)), process))
    both, other = merge(flows)
    assert both[1] == Flow(*(2 * total for total in TOTALS))
    assert other == flows[2]


def fill(table: ProcessTable, ids: range) -> None:
    for process_id in ids:
        table.add(process_record(process_id=process_id))


def test_a_table_that_keeps_lets_go_only_when_asked() -> None:
    """What was named old is dropped at the call after that: flows of the period between may still have it."""
    oldest: list[int] = []
    set_oldest: Callable[[int], None] = oldest.append
    table = make_table(limit=10, keep=True, set_oldest=set_oldest)
    fill(table, range(1, 101))
    assert table.crowded
    assert len(table) == 100
    assert oldest == []
    table.forget_old()
    assert len(table) == 100
    assert oldest == [51]
    table.forget_old()
    assert len(table) == 50
    assert table.get(50) is None
    assert table.get(51) is not None

"""The further keys of detailed events."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.decode.details import CONTEXT, DETAILS
from netmon.decode.format import EVENT_TYPES
from netmon.events import TcpConnection
from netmon.layout import Direction, Family, RecordType, TcpState
from tests.support.decoders import make_decoder
from tests.support.records import (
    batch_of,
    detailed_event,
    event_context,
    ipv4_event,
    process_record,
    progress_event,
)
from tests.unit.decode.details_model import details_of
from tests.unit.decode.strategies import PROCESS_IDS, detailed_records, process_records

EVERY_KEY = list(TcpConnection.model_fields)


def shapes() -> Iterator[bytes]:
    """Yield a record of each shape: of each type, family and option, with and without each part that is optional."""
    optional = {
        RecordType.CLOSE: ("duration_ns",),
        RecordType.FAIL: ("error", "killed"),
        RecordType.EXISTING: ("state", "duration_ns", "is_idle_known"),
        RecordType.PROGRESS: ("duration_ns",),
    }
    contexts = [
        event_context(netns=netns, ifindex=ifindex, opener_id=opener_id, has_details=has_details)
        for netns, ifindex, opener_id, has_details in product((0, 1 << 31), (0, 3), (0, 1), (0, 1))
    ]
    for type_, family, context in product(DETAILS, Family, (b"", *contexts)):
        make = progress_event if type_ == RecordType.PROGRESS else detailed_event
        names = optional.get(RecordType(type_), ())
        for values in product((0, 1), repeat=len(names)):
            yield make(type=type_, family=family, process_id=1, **dict(zip(names, values, strict=True))) + context


def check(records: list[bytes], processes: list[bytes]) -> None:
    """Check that records have their details in all three forms, as details_model.py has them."""
    batches = [batch_of([*processes, *records]) for _ in range(3)]
    lines = [json.loads(line) for lines in make_decoder().json_lines(batches[0]) for line in lines]
    models = list(make_decoder().events(batches[1]))
    raw = [event for events in make_decoder().raw_events(batches[2]) for event in events]
    expected = [list(details_of(record).items()) for record in records]
    assert [list(line["network_event"].items())[6:] for line in lines] == expected
    assert [list(event.details.items()) for event in raw] == expected
    assert [list(model.network_event.model_dump().items())[6:] for model in models] == expected
    for line, model, event in zip(lines, models, raw, strict=True):
        assert list(model.network_event.__dict__) == EVERY_KEY
        assert type(model).model_validate(line) == model == event.model()
        assert json.loads(event.json()) == line


def test_every_shape_has_its_details() -> None:
    records = list(shapes())
    assert len(records) > 500
    check(records, [process_record(process_id=1)])


@given(
    processes=st.tuples(*map(process_records, PROCESS_IDS)),
    records=st.lists(detailed_records(), min_size=1, max_size=12),
)
def test_any_record_has_its_details(processes: tuple[bytes, ...], records: list[bytes]) -> None:
    check(records, list(processes))


def test_keys_have_the_order_of_the_model() -> None:
    assert set(DETAILS) == {*EVENT_TYPES} - {RecordType.NAME}  # whose details the parser of hellos makes
    for keys in DETAILS.values():
        names = [key.name for key in (*keys, *CONTEXT)]
        assert names == sorted(names, key=EVERY_KEY.index)


def test_a_close_with_statistics() -> None:
    (event,) = make_decoder().events(batch_of([process_record(), detailed_event()]))
    assert event.network_event.model_dump() == {
        "type": "TcpConnectionClose",
        "saddr": "10.0.0.1",
        "daddr": "192.0.2.1",
        "sport": 40000,
        "dport": 443,
        "cookie": 99,
        "duration_us": 1234,
        "bytes_sent": 1 << 33,
        "bytes_received": 5,
        "segments_retransmitted": 2,
        "rtt_us": 350,
        "closed_by": "peer",
    }
    assert (event.process.tid, event.timestamp) == (4243, "2025-11-23T00:00:02.000Z")


@pytest.mark.parametrize(
    ("type_", "fields", "details"),
    [
        (RecordType.ESTABLISH, {"handshake_ns": 1_234_567}, {"handshake_us": 1234}),
        (RecordType.FAIL, {"error": errno.ECONNREFUSED}, {"errno": "ECONNREFUSED", "reason": "refused"}),
        (RecordType.FAIL, {"error": errno.EHOSTUNREACH}, {"errno": "EHOSTUNREACH", "reason": "unreachable"}),
        (RecordType.FAIL, {"error": errno.EMFILE}, {"errno": "EMFILE", "reason": "other"}),
        (RecordType.FAIL, {"error": 524}, {"errno": "524", "reason": "other"}),
        (RecordType.FAIL, {}, {"reason": "closed"}),
        (RecordType.FAIL, {"killed": 1}, {"reason": "killed"}),
        (RecordType.EXISTING, {"direction": Direction.EGRESS}, {"direction": "egress"}),
        (
            RecordType.EXISTING,
            {"direction": Direction.INGRESS, "state": TcpState.CLOSE_WAIT, "is_idle_known": 1, "idle_ms": 70},
            {
                "direction": "ingress",
                "duration_us": 1234,
                "bytes_sent": 1 << 33,
                "bytes_received": 5,
                "segments_retransmitted": 2,
                "rtt_us": 350,
                "state": "close_wait",
                "idle_ms": 70,
            },
        ),
    ],
)
def test_outcomes(type_: RecordType, fields: dict[str, int], details: dict[str, object]) -> None:
    (event,) = make_decoder().events(batch_of([process_record(), detailed_event(type=type_, **fields)]))
    connection = event.network_event.model_dump()
    assert {key: connection[key] for key in list(connection)[6:]} == details


@pytest.mark.parametrize(
    "fields", [{}, {"type": RecordType.EXISTING, "state": TcpState.ESTABLISHED}], ids=["close", "existing"]
)
def test_without_a_duration_there_is_no_key_for_it(fields: dict[str, int]) -> None:
    """The kernel does not know since when the connection is open."""
    (event,) = make_decoder().events(batch_of([process_record(), detailed_event(duration_ns=0, **fields)]))
    connection = event.network_event.model_dump()
    assert connection["bytes_received"] == 5
    assert "duration_us" not in connection
    assert "idle_ms" not in connection


def test_progress() -> None:
    (event,) = make_decoder().events(batch_of([process_record(), progress_event()]))
    connection = event.network_event.model_dump()
    assert {key: connection[key] for key in list(connection)[6:]} == {
        "duration_us": 90_000,
        "interval_us": 30_000,
        "bytes_sent": 1 << 33,
        "bytes_received": 5,
        "interval_bytes_sent": 1000,
        "interval_bytes_received": 2,
        "segments_retransmitted": 3,
        "rtt_us": 350,
        "sampled": True,
    }
    (with_context,) = make_decoder().events(
        batch_of([process_record(), progress_event() + event_context(has_details=1)])
    )
    assert with_context.network_event.model_dump() == {**connection, "netns": 4026531840, "ifindex": 1, "mark": 42}


def test_a_progress_without_a_duration_has_no_key_for_it() -> None:
    """The connection was open before the start, and the kernel does not know since when."""
    (event,) = make_decoder().events(batch_of([process_record(), progress_event(duration_ns=0)]))
    connection = event.network_event.model_dump()
    assert connection["interval_us"] == 30_000
    assert "duration_us" not in connection


def test_details_do_not_leak_into_the_next_event() -> None:
    records = [process_record(), detailed_event(family=Family.IPV6, daddr=bytes(15) + b"\1"), ipv4_event()]
    detailed, plain = make_decoder().events(batch_of(records))
    assert detailed.network_event.daddr == "::1"
    assert plain.network_event.closed_by is None
    assert "closed_by" not in plain.model_dump()["network_event"]


@pytest.mark.parametrize(
    ("context", "fields", "details"),
    [
        (event_context(), {}, {"netns": 4026531840, "ifindex": 1, "mark": 42}),
        (event_context(ifindex=0, mark=0), {}, {"netns": 4026531840, "mark": 0}),
        (event_context(has_details=1), {"type": RecordType.ESTABLISH}, {"handshake_us": 0, "netns": 4026531840}),
        (event_context(has_details=1), {}, {"closed_by": "peer", "netns": 4026531840}),
        (event_context(netns=0), {}, {}),
        (event_context(netns=0, has_details=1), {"type": RecordType.FAIL}, {"reason": "closed"}),
    ],
)
def test_contexts(context: bytes, fields: dict[str, int], details: dict[str, object]) -> None:
    """An event has the keys of the options that are set, and no others."""
    (event,) = make_decoder().events(batch_of([process_record(), detailed_event(**fields) + context]))
    connection = event.network_event.model_dump()
    assert {key: connection[key] for key in details} == details
    if "handshake_us" not in details and "closed_by" not in details:
        assert list(connection)[6:] == list(details)


def test_a_close_by_another_process_has_the_opener() -> None:
    records = [
        process_record(process_id=7, pid=1),
        process_record(process_id=8, pid=2, argv=b"other\0-x\0"),
        detailed_event(process_id=7, tid=10) + event_context(opener_id=8, opener_tid=20, netns=0),
        detailed_event(process_id=7, tid=10) + event_context(netns=0),
    ]
    passed_on, own = make_decoder().events(batch_of(records))
    assert passed_on.opener is not None and own.opener is None
    assert (passed_on.process.pid, passed_on.process.tid) == (1, 10)
    assert (passed_on.opener.pid, passed_on.opener.tid, passed_on.opener.args) == (2, 20, "-x")
    ((first, second),) = make_decoder().raw_events(batch_of(records))
    assert first.opener is not None and second.opener is None
    assert (first.opener.process.fields["pid"], first.opener.tid) == (2, 20)

"""From batches of records to events."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.batch import HEADER, Batch
from netmon.decode.format import format_timestamp
from netmon.errors import DecodeError
from netmon.layout import IPV4_EVENT, IPV6_EVENT, PROCESS_RECORD, Ending, Ipv4Event, Ipv6Event, RecordType
from tests.support.decoders import FixedClock, make_decoder
from tests.support.records import batch_of, detailed_event, event_context, ipv4_event, ipv6_event, process_record
from tests.unit.decode.strategies import PROCESS_IDS, detailed_records, event_records, process_records


def test_an_event_has_the_references_keys_and_types() -> None:
    record = process_record(path=b"/usr/bin/curl", argv=b"curl\0-s\0example.org\0")
    (event,) = make_decoder().events(batch_of([record, ipv4_event()]))
    assert json.loads(event.model_dump_json()) == {
        "type": "NetworkEvent",
        "process": {
            "start_time": "2025-11-23T00:00:01.000Z",
            "pid": 4242,
            "tid": 4243,
            "ppid": 1,
            "uid": 1000,
            "euid": 0,
            "gid": 1001,
            "egid": 1,
            "auid": 1002,
            "cap_inheritable": "",
            "cap_permitted": "CAP_NET_RAW",
            "cap_effective": "ALL_CAPS",
            "secureexec": "SETUID",
            "filename": "curl",
            "binary_path": "/usr/bin/curl",
            "args": "-s example.org",
        },
        "network_event": {
            "type": "TcpConnectionEstablish",
            "saddr": "10.0.0.1",
            "daddr": "192.0.2.1",
            "sport": 40000,
            "dport": 443,
            "cookie": 99,
        },
        "timestamp": "2025-11-23T00:00:02.000Z",
    }


def test_an_ipv6_accept() -> None:
    (event,) = make_decoder().events(batch_of([process_record(), ipv6_event()]))
    connection = event.network_event
    assert connection.type == "TcpConnectionAccept"
    assert (connection.saddr, connection.daddr) == ("::1", "2001:db8::2")


@given(st.lists(event_records(), min_size=1, max_size=12))
def test_events_have_the_values_of_their_records(events: list[bytes]) -> None:
    records = [*(process_record(process_id=number, pid=number) for number in (1, 2, 3)), *events]
    for record, event in zip(events, make_decoder().events(batch_of(records)), strict=True):
        layout, fields = (IPV4_EVENT, Ipv4Event) if len(record) == IPV4_EVENT.size else (IPV6_EVENT, Ipv6Event)
        expected = fields._make(layout.unpack(record))
        connection = event.network_event
        assert connection.type == f"TcpConnection{RecordType(expected.type).name.title()}"
        assert ip_address(connection.saddr) == ip_address(expected.saddr)
        assert ip_address(connection.daddr) == ip_address(expected.daddr)
        assert (connection.sport, connection.dport) == (expected.sport, expected.dport)
        assert connection.cookie == expected.cookie
        assert (event.process.pid, event.process.tid) == (expected.process_id, expected.tid)
        assert event.timestamp == format_timestamp(FixedClock().event_time(expected.timestamp_ns))


def close(iterator: object) -> None:
    """End a decoder's iteration early."""
    cast(Generator[Any, None, None], iterator).close()


def test_the_next_iteration_continues_where_one_ended_early() -> None:
    records = [process_record(), *(ipv4_event(cookie=number) for number in range(1000))]
    decoder, batch = make_decoder(), batch_of(records)
    events = decoder.events(batch)
    seen = [next(events).network_event.cookie for _ in range(10)]
    close(events)
    lines = decoder.json_lines(batch)
    seen += [json.loads(line)["network_event"]["cookie"] for line in next(lines)]
    close(lines)
    seen += [event.network_event.cookie for event in decoder.events(batch)]
    assert seen == list(range(1000))


def test_an_event_of_an_unknown_process_is_counted() -> None:
    decoder = make_decoder()
    assert list(decoder.events(batch_of([ipv4_event()]))) == []
    assert decoder.unknown_process == 1


def test_an_opener_that_was_evicted_is_counted() -> None:
    decoder = make_decoder()
    records = [process_record(), detailed_event() + event_context(opener_id=6, opener_tid=20)]
    (event,) = decoder.events(batch_of(records))
    assert event.opener is None
    assert (decoder.unknown_opener, decoder.unknown_process) == (1, 0)


@pytest.mark.parametrize(
    "record",
    [
        b"\xff" + bytes(47),
        bytes(48),
        ipv4_event() + b"x",
        ipv6_event()[:-1],
        detailed_event()[:-1],
        detailed_event() + event_context()[:-1],
        detailed_event() + event_context() + b"x",
        ipv4_event() + event_context(),
        detailed_event(type=0),
        process_record()[:-1],
        process_record()[: PROCESS_RECORD.size - 1],
        bytes([RecordType.PROCESS]),
        detailed_event(closed_by=99),
        detailed_event(closed_by=Ending.NONE),
        detailed_event(type=RecordType.EXISTING, direction=2),
        detailed_event(closed_by=99) + event_context(has_details=1),
    ],
)
def test_a_record_of_unknown_type_or_length_is_refused(record: bytes) -> None:
    with pytest.raises(DecodeError, match="bytes"):
        list(make_decoder().events(batch_of([record])))


@pytest.mark.parametrize("data", [b"", b"\1", HEADER.pack(48), HEADER.pack(48) + b"\2", HEADER.pack(48) + bytes(47)])
@pytest.mark.parametrize("at", [0, 8, 1000])
def test_a_record_that_the_batch_cuts_off_is_refused(data: bytes, at: int) -> None:
    with pytest.raises(DecodeError, match="bytes"):
        list(make_decoder().events(Batch(data, [at], len(data), 1)))


@given(
    processes=st.tuples(*map(process_records, PROCESS_IDS)),
    events=st.lists(event_records() | detailed_records(), min_size=1, max_size=4),
    data=st.data(),
)
def test_a_damaged_batch_gives_events_or_a_decode_error(
    processes: tuple[bytes, ...], events: list[bytes], data: st.DataObject
) -> None:
    """Nothing else, whatever bytes it has, and in whatever form it is read."""
    whole = batch_of([*processes, *events])
    offsets, damaged = list(whole.offsets), bytearray(whole.data)
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=12)):
        damaged[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))
    offsets += data.draw(st.lists(st.integers(0, len(damaged) + 8), max_size=2))
    batch = Batch(bytes(damaged[:end]), offsets, end, len(offsets))
    decoder = make_decoder(with_cgroup=True, roles=3)
    while batch.left:
        with suppress(DecodeError):
            for lines in decoder.json_lines(batch):
                assert all("process" in json.loads(line) for line in lines)
    batch = Batch(bytes(damaged[:end]), offsets, end, len(offsets))
    while batch.left:
        with suppress(DecodeError):
            for events_ in decoder.raw_events(batch):
                assert [event.model().timestamp for event in events_] == [event.timestamp for event in events_]

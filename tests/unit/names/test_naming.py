"""Names in events: which events have them, and that they stay those of the opening."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from typing import Any

import pytest

from netmon.decode.decoder import Decoder
from netmon.errors import DecodeError
from netmon.filters.compiled import NameRules
from netmon.layout import Direction, Family, RecordType
from netmon.names import naming
from netmon.names.cache import NameCache
from netmon.names.naming import Naming
from tests.support.decoders import FixedClock, make_table
from tests.support.hellos import ENCRYPTED_HELLO, extension, hello
from tests.support.name_server import ANSWERED, TO_QUESTION, TRUNCATED, TYPE_A, address_record, answer, wire_name
from tests.support.records import (
    answer_record,
    batch_of,
    detailed_event,
    hello_record,
    ipv4_event,
    process_record,
    progress_event,
)

PEER = "192.0.2.1"  # of ipv4_event(), at 2.0 s; answer_record() is of 1.9 s


def make_naming_decoder(cache: NameCache | None = None) -> tuple[Decoder, Naming]:
    names = Naming(cache)
    return Decoder(FixedClock(), make_table(naming=names), names), names


def told(name: str, address: str = PEER, flags: int = ANSWERED, **changes: int) -> bytes:
    question = wire_name(name) + struct.pack(">HH", TYPE_A, 1)
    return answer_record(answer(question, [address_record(TO_QUESTION, address)], flags=flags), **changes)


def events_of(*records: bytes) -> list[dict[str, Any]]:
    """Return what the lines say, once it is certain that the models say the same."""
    decoder, _ = make_naming_decoder()
    lines = [line for chunk in decoder.json_lines(batch_of(records)) for line in chunk]
    other, _ = make_naming_decoder()
    assert [event.model_dump_json() + "\n" for event in other.events(batch_of(records))] == lines
    return [json.loads(line)["network_event"] for line in lines]


def names_in(*records: bytes) -> list[list[str] | None]:
    """Return the names of each event; None without the key."""
    found = [event.get("names") for event in events_of(*records)]
    return [names and [name["name"] for name in names] for names in found]


def test_an_establish_its_progress_and_its_close_have_the_names_of_the_opening() -> None:
    opening = process_record(), told("a.example"), ipv4_event()
    later = told("later.example", time_ns=2_100_000_000), progress_event(), detailed_event()
    events = events_of(*opening, *later, detailed_event())
    expected = [{"name": "a.example", "source": "dns", "scope": "process", "age_ms": 100}]
    assert [event.get("names") for event in events] == [expected, expected, expected, None]


def test_a_failed_attempt_has_names() -> None:
    assert names_in(process_record(), told("a.example"), detailed_event(type=RecordType.FAIL, error=111)) == [
        ["a.example"]
    ]


def test_with_outcome_names_are_those_of_the_attempt() -> None:
    """An Establish is sent when the handshake has ended: what the process was told meanwhile led to nothing."""
    establish = detailed_event(type=RecordType.ESTABLISH, timestamp_ns=2_500_000_000, handshake_ns=500_000_000)
    late = told("late.example", time_ns=2_200_000_000)
    (event,) = events_of(process_record(), told("a.example"), late, establish)
    assert [(name["name"], name["age_ms"]) for name in event["names"]] == [("a.example", 100)]


@pytest.mark.parametrize("type_", [RecordType.ACCEPT, RecordType.EXISTING, RecordType.CLOSE])
def test_who_has_not_connected_since_the_start_has_none(type_: RecordType) -> None:
    assert names_in(process_record(), told("a.example"), detailed_event(type=type_)) == [None]


def test_a_local_address_has_none() -> None:
    local = bytes([127, 0, 0, 1])
    assert names_in(process_record(), told("a.example", "127.0.0.1"), ipv4_event(daddr=local)) == [None]


def test_unused_answers_are_counted() -> None:
    decoder, names = make_naming_decoder()
    records = [told("a.example"), told("a b"), told("a.example", flags=TRUNCATED | ANSWERED), answer_record(b"x")]
    assert list(decoder.events(batch_of(records))) == []
    assert (names.answers, names.unused) == (4, 3)


def test_forgotten_names_of_open_connections_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "OPEN_LIMIT", 2)
    decoder, names = make_naming_decoder()
    openings = [ipv4_event(cookie=cookie) for cookie in range(3)]
    closes = [detailed_event(cookie=cookie) for cookie in range(3)]
    events = decoder.events(batch_of([process_record(), told("a.example"), *openings, *closes]))
    assert [event.network_event.names is None for event in events] == [False] * 3 + [True, False, False]
    assert names.evicted == 1


@pytest.mark.parametrize("record", [told("a.example")[:20], told("a.example")[:-1]])
def test_a_record_that_is_too_short_is_an_error(record: bytes) -> None:
    decoder, _ = make_naming_decoder()
    with pytest.raises(DecodeError):
        list(decoder.events(batch_of([record])))


@pytest.mark.parametrize("record", [told("a.example"), hello_record(hello("a.example"))])
def test_without_the_options_an_answer_and_a_hello_are_no_records(record: bytes) -> None:
    with pytest.raises(DecodeError, match=f"unknown record: type {record[0]}"):
        list(Decoder(FixedClock(), make_table()).events(batch_of([process_record(), record])))


def test_names_are_imported_for_the_option_alone() -> None:
    code = (
        "import sys, netmon.cli.main, netmon.monitor, netmon.decode.decoder, netmon.decode.processes; "
        "sys.exit(any(name.startswith('netmon.names') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_line_with_the_longest_names_keeps_its_limit() -> None:
    limit = 16 << 10
    names = Naming()
    decoder = Decoder(FixedClock(), make_table(naming=names, line_limit=limit), names)
    longest = [".".join([str(number) + "x" * 60] * 4) for number in range(1, 6)]
    process = process_record(path=b"/" + b"p" * 4000, argv=b"\0" + b"a" * 8000, cgroup=b"c" * 900 + b"/")
    records = [process, *(told(name) for name in longest), ipv4_event()]
    ((line,),) = decoder.json_lines(batch_of(records))
    assert len(json.loads(line)["network_event"]["names"]) == 4
    assert limit - 2048 < len(line) <= limit


def kinds_of(rules: NameRules | None, *records: bytes) -> list[tuple[str, int]]:
    """Return the types and cookies of what passes."""
    decoder, names = make_naming_decoder()
    names.filter_by(rules)
    events = [
        event.network_event for event in decoder.events(batch_of([process_record(), told("a.example"), *records]))
    ]
    assert len(events) + names.dropped == len(records)
    return [(event.type.removeprefix("TcpConnection"), event.cookie) for event in events]


NAMED: dict[str, int | bytes] = {"cookie": 1}
NAMELESS: dict[str, int | bytes] = {"cookie": 2, "daddr": bytes([192, 0, 2, 9])}
ALLOWED, DENIED = NameRules(("a.example",)), NameRules(("a.example",), deny=True)


@pytest.mark.parametrize(("rules", "cookies"), [(ALLOWED, [1]), (DENIED, [2]), (None, [1, 2])])
def test_what_a_connection_s_opening_is_so_is_the_rest(rules: NameRules | None, cookies: list[int]) -> None:
    records = [
        *(ipv4_event(**changes) for changes in (NAMED, NAMELESS)),
        *(progress_event(**changes) for changes in (NAMED, NAMELESS)),
        *(detailed_event(**changes) for changes in (NAMED, NAMELESS)),
    ]
    kinds = ("Establish", "Progress", "Close")
    assert kinds_of(rules, *records) == [(kind, cookie) for kind in kinds for cookie in cookies]


@pytest.mark.parametrize("rules", [ALLOWED, DENIED])
def test_accepted_connections_pass(rules: NameRules) -> None:
    records = [ipv4_event(type=RecordType.ACCEPT), detailed_event()]
    assert kinds_of(rules, *records) == [("Accept", 99), ("Close", 99)]


def test_a_failed_attempt_is_judged_alone() -> None:
    fail = detailed_event(**NAMELESS, type=RecordType.FAIL, error=111)
    assert kinds_of(ALLOWED, fail, detailed_event(**NAMELESS)) == [("Close", 2)]


@pytest.mark.parametrize(("direction", "passes"), [(Direction.EGRESS, False), (Direction.INGRESS, True)])
def test_connections_that_were_open_before_have_no_name(direction: Direction, passes: bool) -> None:
    existing = detailed_event(type=RecordType.EXISTING, direction=direction)
    assert bool(kinds_of(ALLOWED, existing, detailed_event())) == passes


def test_open_connections_keep_their_verdicts_through_a_reload() -> None:
    decoder, names = make_naming_decoder()
    names.filter_by(ALLOWED)
    list(decoder.events(batch_of([process_record(), told("a.example"), ipv4_event(**NAMELESS), ipv4_event(**NAMED)])))
    names.filter_by(None)
    events = decoder.events(batch_of([detailed_event(**NAMELESS), detailed_event(**NAMED), ipv4_event(cookie=3)]))
    assert [event.network_event.cookie for event in events] == [1, 3]


HELLO = hello("b.example")
ANNOUNCED = {"name": "b.example", "source": "sni", "scope": "connection"}


def test_an_announced_name_is_an_event_and_stays_until_the_close() -> None:
    events = events_of(process_record(), ipv4_event(), hello_record(HELLO), progress_event(), detailed_event())
    kinds = [event["type"].removeprefix("TcpConnection") for event in events]
    assert kinds == ["Establish", "Name", "Progress", "Close"]
    assert [event.get("names") for event in events] == [None, [ANNOUNCED], [ANNOUNCED], [ANNOUNCED]]
    opening, named = events[:2]
    assert {key: named[key] for key in opening} == {**opening, "type": "TcpConnectionName"}


def test_an_announced_name_of_ipv6_has_its_addresses() -> None:
    peer = b"\x20\x01\x0d\xb8" + bytes(11) + b"\2"
    (event,) = events_of(process_record(), hello_record(HELLO, family=Family.IPV6, saddr=peer, daddr=peer))
    assert (event["saddr"], event["daddr"]) == ("2001:db8::2",) * 2


def test_an_encrypted_hello_is_said() -> None:
    record = hello_record(hello("b.example", more=extension(ENCRYPTED_HELLO, b"")))
    (event,) = events_of(process_record(), record)
    assert event["names"] == [{**ANNOUNCED, "ech": True}]


def test_a_hello_may_come_in_pieces() -> None:
    pieces = [
        hello_record(HELLO[:9], left=len(HELLO) - 9),
        hello_record(HELLO[:5], left=len(HELLO) - 5, cookie=100),
        hello_record(HELLO[9:20], is_first=0, left=len(HELLO) - 20),
        hello_record(HELLO[20:], is_first=0),
        hello_record(HELLO[5:], is_first=0, cookie=100),
    ]
    assert [event["cookie"] for event in events_of(process_record(), *pieces)] == [99, 100]


def test_a_piece_whose_beginning_is_not_known_says_nothing() -> None:
    assert events_of(process_record(), hello_record(HELLO[9:], is_first=0)) == []


def test_hellos_of_which_too_many_are_waited_for_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "HELLO_LIMIT", 1)
    decoder, names = make_naming_decoder()
    pieces = [hello_record(HELLO[:9], left=1, cookie=cookie) for cookie in range(3)]
    assert list(decoder.events(batch_of([process_record(), *pieces, hello_record(b"\x16\3\1\0\0")]))) == []
    assert (names.hellos, names.unused_hellos) == (4, 3)


@pytest.mark.parametrize("changes", [{"process_id": 0, "sport": 0}, {}])
def test_a_hello_before_the_opening_is_reported_after_it(changes: dict[str, int]) -> None:
    """With TCP fast open it comes with what opens the connection, before a process is known."""
    early = hello_record(HELLO, is_early=1, **changes)
    events = events_of(process_record(), early, ipv4_event(), detailed_event())
    assert [event["type"].removeprefix("TcpConnection") for event in events] == ["Establish", "Name", "Close"]
    assert events[1]["sport"] == events[0]["sport"]
    assert [event.get("names") for event in events] == [None, [ANNOUNCED], [ANNOUNCED]]


@pytest.mark.parametrize(
    ("told_names", "expected"),
    [
        (["a.example"], ["a.example process", "b.example connection"]),
        (["b.example", "a.example"], ["b.example process", "a.example process", "b.example connection"]),
    ],
)
def test_what_the_process_was_told_comes_before_what_it_announces(told_names: list[str], expected: list[str]) -> None:
    answers = [told(name, time_ns=1_800_000_000 + at) for at, name in enumerate(told_names)]
    events = events_of(process_record(), *answers, ipv4_event(), hello_record(HELLO))
    assert [f"{name['name']} {name['scope']}" for name in events[1]["names"]] == expected


def test_what_is_announced_comes_before_guesses() -> None:
    answers = [told("a.example", pid=9, origin_netns=5), hello_record(HELLO)]
    events = events_of(process_record(origin_netns=5), answers[0], ipv4_event(), answers[1])
    assert [name["scope"] for name in events[1]["names"]] == ["connection", "netns"]


@pytest.mark.parametrize(
    ("rules", "kinds"),
    [
        (NameRules(("b.example",)), ["Name", "Close"]),
        (NameRules(("b.example",), deny=True), ["Establish"]),
        (NameRules(("c.example",)), []),
        (NameRules(("a.example",)), ["Establish", "Name", "Close"]),
        (None, ["Establish", "Name", "Close"]),
    ],
)
def test_a_connection_is_judged_again_when_a_name_is_announced(rules: NameRules | None, kinds: list[str]) -> None:
    records = [ipv4_event(), hello_record(HELLO), detailed_event()]
    decoder, names = make_naming_decoder()
    names.filter_by(rules)
    events = [*decoder.events(batch_of([process_record(), told("a.example"), *records]))]
    assert [event.network_event.type.removeprefix("TcpConnection") for event in events] == kinds


def test_a_name_alone_brings_back_nothing_once_there_is_no_filter() -> None:
    decoder, names = make_naming_decoder()
    names.filter_by(ALLOWED)
    assert not list(decoder.events(batch_of([process_record(), ipv4_event(**NAMELESS)])))
    names.filter_by(None)
    assert not list(decoder.events(batch_of([hello_record(HELLO, **NAMELESS), detailed_event(**NAMELESS)])))


def test_where_names_are_no_events_the_close_has_them() -> None:
    names = Naming(reports_names=False)
    decoder = Decoder(FixedClock(), make_table(naming=names), names)
    events = decoder.events(batch_of([process_record(), ipv4_event(), hello_record(HELLO), detailed_event()]))
    assert [event.network_event.names is not None for event in events] == [False, True]


@pytest.mark.parametrize("record", [hello_record(HELLO)[:60], hello_record(HELLO)[:-1]])
def test_a_record_of_a_hello_that_is_too_short_is_an_error(record: bytes) -> None:
    decoder, _ = make_naming_decoder()
    with pytest.raises(DecodeError):
        list(decoder.events(batch_of([record])))

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
from netmon.layout import Direction, RecordType
from netmon.names import naming
from netmon.names.cache import NameCache
from netmon.names.naming import Naming
from tests.support.decoders import FixedClock, make_table
from tests.support.name_server import ANSWERED, TO_QUESTION, TRUNCATED, TYPE_A, address_record, answer, wire_name
from tests.support.records import answer_record, batch_of, detailed_event, ipv4_event, process_record, progress_event

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


def test_without_the_option_an_answer_is_no_record() -> None:
    with pytest.raises(DecodeError, match="unknown record: type 9"):
        list(Decoder(FixedClock(), make_table()).events(batch_of([told("a.example")])))


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

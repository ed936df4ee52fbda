"""Answers of name servers: what is taken from them, and what an attacker gets by them."""

from __future__ import annotations

import struct
import time
from contextlib import suppress

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netmon.layout import Limit
from netmon.names.answer import MAX_ADDRESSES, MAX_ALIASES, MAX_POINTERS, Answer, parse_answer
from tests.support.name_server import (
    ANSWERED,
    TO_QUESTION,
    TRUNCATED,
    TYPE_A,
    TYPE_CNAME,
    address_record,
    answer,
    record,
    wire_name,
)

ADDRESS, PACKED = "192.0.2.1", b"\xc0\x00\x02\x01"


def question(name: str, type_: int = TYPE_A, class_: int = 1) -> bytes:
    return wire_name(name) + struct.pack(">HH", type_, class_)


def parse(name: str, *records: bytes, flags: int = ANSWERED) -> Answer | None:
    return parse_answer(answer(question(name), list(records), flags=flags))


def test_an_address_belongs_to_the_name_that_was_asked_for() -> None:
    assert parse("example.com", address_record(TO_QUESTION, ADDRESS)) == ("example.com", (PACKED,))
    assert parse("example.com", address_record(wire_name("example.com"), "2001:db8::1")) == (
        "example.com",
        (bytes.fromhex("20010db8000000000000000000000001"),),
    )


def test_an_alias_leads_to_it_in_any_order() -> None:
    records = [
        address_record(wire_name("c.net"), ADDRESS),
        record(wire_name("b.net"), TYPE_CNAME, wire_name("c.net")),
        record(TO_QUESTION, TYPE_CNAME, wire_name("b.net")),
    ]
    assert parse("a.com", *records) == ("a.com", (PACKED,))
    assert parse("a.com", *reversed(records)) == ("a.com", (PACKED,))


def test_an_address_of_another_name_does_not_belong_to_it() -> None:
    assert parse("a.com", address_record(wire_name("b.com"), ADDRESS)) == ("a.com", ())


def test_aliases_in_a_circle_end() -> None:
    circle = [record(wire_name(f"{n}.x"), TYPE_CNAME, wire_name(f"{(n + 1) % 9}.x")) for n in range(9)]
    assert parse("0.x", *circle, address_record(wire_name("8.x"), ADDRESS)) == ("0.x", (PACKED,))


def test_case_does_not_count() -> None:
    assert parse("ExAmPle.COM", address_record(wire_name("eXample.com"), ADDRESS)) == ("example.com", (PACKED,))


def test_addresses_are_few_and_each_is_there_once() -> None:
    records = [address_record(TO_QUESTION, f"192.0.2.{n % 200}") for n in range(400)]
    found = parse("a.com", *records)
    assert found is not None
    assert len(found.addresses) == len({*found.addresses}) == MAX_ADDRESSES


@pytest.mark.parametrize(
    "flags",
    [ANSWERED & ~0x8000, ANSWERED | 0x0800, ANSWERED | TRUNCATED, ANSWERED | 3],
    ids=["a query", "another operation", "truncated", "an error"],
)
def test_what_is_no_good_answer_says_nothing(flags: int) -> None:
    assert parse("a.com", address_record(TO_QUESTION, ADDRESS), flags=flags) is None


@pytest.mark.parametrize(
    "name", ["db", "a-b.c_d.example", "_dmarc.example", "xn--bcher-kva.example", "3com.com", "1.a"]
)
def test_names_of_hosts(name: str) -> None:
    assert parse(name, address_record(TO_QUESTION, ADDRESS)) == (name, (PACKED,))


@pytest.mark.parametrize(
    "name",
    ["a b.com", "\x1b[31m.com", "b\xfccher.de", "a/b.com", "-a.com", "a-.com", "8.8.8.8", "1", 'a"b.com', "a\n.com"],
)
def test_names_that_no_host_has_are_refused(name: str) -> None:
    assert parse(name, address_record(TO_QUESTION, ADDRESS)) is None


def test_a_dot_within_a_label_is_refused() -> None:
    asked = b"\x09a.example\x03com\0" + struct.pack(">HH", TYPE_A, 1)
    assert parse_answer(answer(asked, [address_record(TO_QUESTION, ADDRESS)])) is None


def test_the_root_has_no_address() -> None:
    assert parse_answer(answer(b"\0\0\1\0\1", [address_record(b"\0", ADDRESS)])) is None


@pytest.mark.parametrize("pointer", [b"\xc0\x0c", b"\xc0\x0d", b"\xc0\x1b", b"\xff\xff"])
def test_a_pointer_that_does_not_lead_back_is_refused(pointer: bytes) -> None:
    assert parse_answer(answer(pointer + b"\0\1\0\1", [])) is None
    assert parse_answer(answer(b"\1a" + pointer + b"\0\1\0\1", [])) is None


def test_an_answer_that_is_made_to_take_long_takes_little_time() -> None:
    """Of 4 KiB: long chains of pointers, names of many labels, and as many aliases as there is room for."""
    pointers = b"\1a\0" + b"".join(struct.pack(">H", 0xC000 | at) for at in range(12, 2000, 2))
    labels = question(".".join("a" * 120))
    aliases = [record(wire_name(f"{n}.x"), TYPE_CNAME, wire_name(f"{n + 1}.x")) for n in range(200, 0, -1)]
    to_labels = [record(TO_QUESTION, TYPE_CNAME, TO_QUESTION)] * 250
    started = time.process_time()
    parse_answer(answer(pointers, [address_record(b"\xc7\xd0", ADDRESS)] * 100))
    parse_answer(answer(question("0.x"), aliases))
    parse_answer(answer(labels, to_labels))
    assert time.process_time() - started < 0.5  # some 5 ms


def test_aliases_are_few() -> None:
    chain = [record(wire_name(f"{n}.x"), TYPE_CNAME, wire_name(f"{n + 1}.x")) for n in range(40)]
    for number, found in ((MAX_ALIASES, (PACKED,)), (MAX_ALIASES + 1, ())):
        assert parse("0.x", *reversed(chain), address_record(wire_name(f"{number}.x"), ADDRESS)) == ("0.x", found)


@pytest.mark.parametrize(("count", "found"), [(MAX_POINTERS, ("a", (PACKED,))), (MAX_POINTERS + 1, None)])
def test_pointers_of_one_name_are_few(count: int, found: Answer | None) -> None:
    """A record of another type has pointers to the name that was asked for, each to the one before."""
    records_at = 12 + len(question("a"))
    data_at = records_at + len(record(TO_QUESTION, 16, b""))
    targets = [12, *range(data_at, data_at + 2 * (count - 2), 2)]
    pointers = b"".join(struct.pack(">H", 0xC000 | target) for target in targets)
    owner = struct.pack(">H", 0xC000 | data_at + 2 * (count - 2))
    assert parse("a", record(TO_QUESTION, 16, pointers), address_record(owner, ADDRESS)) == found


def test_a_long_answer_is_used_as_far_as_it_was_read() -> None:
    others = [record(TO_QUESTION, 16, bytes(80))] * 60
    message = answer(question("a.com"), [address_record(TO_QUESTION, ADDRESS), *others])
    assert len(message) > Limit.ANSWER_SIZE
    assert parse_answer(message[: Limit.ANSWER_SIZE]) == ("a.com", (PACKED,))
    assert parse_answer(message[: Limit.ANSWER_SIZE - 1]) is None  # all of it should be there


LABELS = st.sampled_from([b"a", b"bb", b"A", b"c-d", b"_e", b"9", b"\xff", b"f" * 60])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: dns.name.Name([*labels, b""]))
ADDRESSES = st.tuples(st.just("A"), st.ip_addresses(v=4).map(str)) | st.tuples(
    st.just("AAAA"), st.ip_addresses(v=6).map(str)
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Answers as a server writes them, with compressed names."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4))
    message = dns.message.QueryMessage(id=draw(st.integers(0, 65535)))
    message.flags = dns.flags.QR | draw(st.sampled_from([0, dns.flags.RD, dns.flags.AA]))
    message.question = [dns.rrset.RRset(names[0], dns.rdataclass.IN, dns.rdatatype.A)]
    for _ in range(draw(st.integers(0, 8))):
        owner = draw(st.sampled_from(names))
        if draw(st.booleans()):
            kind, text = draw(ADDRESSES)
        else:
            kind, text = "CNAME", draw(st.sampled_from(names)).to_text()
        message.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, text))
    return message.to_wire()


def expected(wire: bytes) -> Answer | None:
    """Return what dnspython finds in an answer: an independent implementation."""
    message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    (asked,) = message.question
    names, found = {asked.name}, set()
    records = [rrset for rrset in message.answer if rrset.rdclass == dns.rdataclass.IN]
    for _ in records:
        for rrset in records:
            if rrset.name in names and rrset.rdtype == dns.rdatatype.CNAME:
                names |= {item.target for item in rrset}
    for rrset in records:
        if rrset.name in names and rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            found |= {dns.ipv4.inet_aton(i.address) if i.rdtype == 1 else dns.ipv6.inet_aton(i.address) for i in rrset}
    return Answer(asked.name.to_text(omit_final_dot=True).lower(), tuple(sorted(found)))


@given(messages())
def test_an_answer_says_what_dnspython_finds(wire: bytes) -> None:
    found, other = parse_answer(wire), expected(wire)
    if found is None:
        assert other is not None
        assert "\\255" in other.name or other.name.split(".")[-1].isdigit()
    else:
        assert found._replace(addresses=tuple(sorted(found.addresses))) == other


@given(messages(), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6), st.integers(0, 400))
@example(b"", [], 0)
def test_a_damaged_answer_is_refused_or_says_what_dnspython_finds(
    wire: bytes, damages: list[tuple[int, int]], cut: int
) -> None:
    damaged = bytearray(wire)
    for at, value in damages:
        if at < len(damaged):
            damaged[at] = value
    data = bytes(damaged[: len(damaged) - cut] if cut < len(damaged) // 2 else damaged)
    found = parse_answer(data)
    if found is None:
        return
    with suppress(dns.exception.DNSException, ValueError):  # it refuses more than netmon: what follows the answers
        other = expected(data)
        assert other is not None
        assert {*found.addresses} <= {*other.addresses}


@given(st.binary(max_size=600))
def test_any_bytes_are_refused_or_an_answer(data: bytes) -> None:
    found = parse_answer(data)
    assert found is None or (found.name and len(found.addresses) <= MAX_ADDRESSES)

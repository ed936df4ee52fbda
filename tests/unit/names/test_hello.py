"""Hellos of TLS clients: whatever they are, and as OpenSSL reads them."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netmon.layout import Limit
from netmon.names.hello import Hello, HelloError, parse_hello
from tests.support.hellos import (
    ENCRYPTED_HELLO,
    extension,
    hello,
    in_records,
    message,
    openssl_hello,
    openssl_reads,
    server_name,
)

LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])


def name_in(data: bytes) -> str | None:
    """Return the name in a hello; None if it is none, or names no host."""
    try:
        found = parse_hello(data, is_all=True)
    except HelloError:
        return None
    assert found is not None
    return found.name or None


@pytest.mark.parametrize("name", ["a.example", "A.Example", "xn--mnchen-3ya.example", "_tcp.a", LONGEST])
def test_the_name_of_a_host_is_returned_in_small_letters(name: str) -> None:
    assert parse_hello(hello(name), is_all=True) == Hello(name.lower(), ech=False)


def test_what_openssl_writes_is_read() -> None:
    assert name_in(openssl_hello("www.a.example")) == "www.a.example"
    assert name_in(openssl_hello(None)) is None


def test_an_encrypted_hello_is_noted() -> None:
    data = hello("outer.example", more=extension(ENCRYPTED_HELLO, bytes(99)))
    assert parse_hello(data, is_all=True) == Hello("outer.example", ech=True)


@pytest.mark.parametrize("size", [1, 3, 4, 50])
def test_a_hello_may_be_spread_over_records(size: int) -> None:
    assert name_in(in_records(message(server_name(b"a.example")), size)) == "a.example"


def test_a_part_of_a_hello_has_to_wait() -> None:
    data = openssl_hello("a.example")
    assert [parse_hello(data[:end], is_all=False) for end in range(len(data))] == [None] * len(data)
    assert parse_hello(data, is_all=False) == Hello("a.example", ech=False)


def test_of_a_long_hello_the_part_that_was_read_counts() -> None:
    data = in_records(message(server_name(b"a.example"), extension(21, bytes(9000))))[: Limit.HELLO_SIZE]
    assert name_in(data) == "a.example"
    assert name_in(hello("a.example", padding=9000)[: Limit.HELLO_SIZE]) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "192.0.2.1",
        "::1",
        "a\0.example",
        "a\x1b[2J",
        "a b",
        ".a",
        "a.",
        "a..b",
        "é.example",
        "a" * 64,
        f"{LONGEST}e",
    ],
)
def test_what_is_no_host_is_none(name: str) -> None:
    assert name_in(hello(name)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"\x16\3\1\0\0",
        b"\x16\3\1\0\4\2\0\0\0",
        in_records(message()[:-1]),
        in_records(message(b"\0\0\0\x09ab")),
        in_records(message(extension(0, b"\0\5\0\0\1a"))),
        in_records(message(extension(0, b"\0\4\1\0\1a"))),
    ],
)
def test_what_is_no_hello_names_nobody(data: bytes) -> None:
    assert name_in(data) is None


def test_a_hello_without_extensions_names_nobody() -> None:
    body = b"\3\3" + bytes(32) + b"\0\0\2\x13\1\1\0"
    assert parse_hello(in_records(b"\1" + len(body).to_bytes(3, "big") + body), is_all=True) == Hello("", ech=False)


@given(st.binary(max_size=300), st.booleans())
@example(b"\x16\3\1\xff\xff\1\0\0\1", True)
def test_no_bytes_are_an_exception(data: bytes, is_all: bool) -> None:
    for bytes_ in (data, b"\x16\3\1\0\xff\1\0\0\xfa" + data):
        try:
            found = parse_hello(bytes_, is_all=is_all)
        except HelloError:
            continue
        assert found is None or isinstance(found.name, str)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of names that are not ASCII
@settings(deadline=None)
@given(st.data())
def test_a_changed_hello_has_the_name_that_openssl_reads(data: st.DataObject) -> None:
    """OpenSSL refuses more: for a name to be read, all of the hello must be in order."""
    whole = bytearray(openssl_hello("www.a.example"))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    theirs, ours = openssl_reads(bytes(whole)), name_in(bytes(whole))
    if theirs is not None and ours is not None:
        assert ours == theirs.lower()
    if theirs is not None and ours is None:  # a name that no host has
        assert theirs.lower() != "www.a.example"

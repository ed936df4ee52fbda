"""Parses the hello of a TLS client (RFC 8446, RFC 6066): which server it names.

Whoever connects has written it. So nothing in it is believed beyond its form, its length bounds all loops, and a name
is kept only if it is the name of a host.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from struct import Struct
from typing import NamedTuple

from netmon.names.answer import MAX_NAME, is_host_name

RECORD_HEADER, MESSAGE_HEADER = 5, 4
HANDSHAKE, CLIENT_HELLO = 22, 1
VERSION_AND_RANDOM = 34
SERVER_NAME, ENCRYPTED_HELLO = 0, 0xFE0D  # types of extensions
EXTENSION = Struct(">HH")  # its type, the length of its value
HOST = 0  # the only type of a server's name


class Hello(NamedTuple):
    """What a hello says.

    Attributes:
        name: The server's name, in small letters; empty if the hello has none.
        ech: Whether it has an encrypted hello, too (ECH): then the name may be another server's. Some clients send a
            decoy, which looks the same.
    """

    name: str
    ech: bool


class HelloError(ValueError):
    """The bytes are no hello, or it names what is no host."""


def parse_hello(data: bytes, *, is_all: bool) -> Hello | None:
    """Parse a hello.

    Args:
        data: What the client has sent so far.
        is_all: Whether no more of the hello will come, though it may be longer.

    Returns:
        What it says; None if more of it has to come.

    Raises:
        HelloError: It is none, or it names what is no host.
    """
    body, is_whole = _body_of(data)
    if not is_whole and not is_all:
        return None
    name, ech = "", False
    for kind, value in _extensions_of(body, is_whole=is_whole):
        if kind == SERVER_NAME and not name:
            name = _name_in(value)
        ech = ech or kind == ENCRYPTED_HELLO
    if not name and not is_whole:
        raise HelloError("its name is not in the part that was read")
    return Hello(name, ech)


def _body_of(data: bytes) -> tuple[bytes, bool]:
    """Return what is in the hello's records, and whether that is all of it."""
    message, at = b"", 0
    while at + RECORD_HEADER <= len(data):
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        if data[at] != HANDSHAKE or not length:
            raise HelloError("is no handshake")
        at += RECORD_HEADER
        message += data[at : at + length]
        at += length
        if len(message) < MESSAGE_HEADER:
            continue
        size = int.from_bytes(message[1:MESSAGE_HEADER], "big")
        if message[0] != CLIENT_HELLO:
            raise HelloError("is no client's hello")
        if len(message) >= MESSAGE_HEADER + size:
            return message[MESSAGE_HEADER : MESSAGE_HEADER + size], True
    return message[MESSAGE_HEADER:], False


def _extensions_of(body: bytes, *, is_whole: bool) -> list[tuple[int, bytes]]:
    """Return the extensions that matter, by type and value. Of a hello that is cut, those before the cut."""
    at = VERSION_AND_RANDOM
    for size in (1, 2, 1):  # of the lengths: of the session's id, the ciphers, the ways to compress
        at += size + int.from_bytes(body[at : at + size], "big")
    if is_whole and at == len(body):
        return []  # no extensions at all
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    at += 2
    if is_whole and end != len(body):
        raise HelloError("its extensions are not as long as it says")
    found, size = [], len(body)
    last = min(end, size) - EXTENSION.size
    while at <= last:
        kind, length = EXTENSION.unpack_from(body, at)
        at += EXTENSION.size + length
        if at > size:
            break
        if kind in (SERVER_NAME, ENCRYPTED_HELLO):
            found.append((kind, body[at - length : at]))
    if is_whole and at != end:
        raise HelloError("an extension is longer than it says")
    return found


def _name_in(value: bytes) -> str:
    """Return the name in a list of names, which has one name."""
    listed, length = int.from_bytes(value[:2], "big"), int.from_bytes(value[3:5], "big")
    if len(value) != 2 + listed or listed != 3 + length or value[2] != HOST:
        raise HelloError("is no list of one name")
    name = value[5:].decode("latin-1").lower()
    if len(name) > MAX_NAME or not is_host_name(name):
        raise HelloError("names what is no host")
    return name

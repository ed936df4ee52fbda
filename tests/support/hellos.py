"""Hellos of TLS clients, as tests need them: parts of any length, and broken ones."""

from __future__ import annotations

import contextlib
import ssl
import struct

HANDSHAKE, CLIENT_HELLO = 22, 1
SERVER_NAME, PADDING, ENCRYPTED_HELLO = 0, 21, 0xFE0D
MOST_IN_RECORD = 1 << 14


def extension(kind: int, value: bytes) -> bytes:
    """Return an extension."""
    return struct.pack(">HH", kind, len(value)) + value


def server_name(name: bytes) -> bytes:
    """Return the extension that names the server."""
    entry = struct.pack(">BH", 0, len(name)) + name
    return extension(SERVER_NAME, struct.pack(">H", len(entry)) + entry)


def message(*extensions: bytes, session: bytes = b"") -> bytes:
    """Return a hello without the header of its record."""
    listed = b"".join(extensions)
    body = b"\3\3" + bytes(32) + bytes([len(session)]) + session + b"\0\2\x13\1" + b"\1\0"
    body += struct.pack(">H", len(listed)) + listed
    return bytes([CLIENT_HELLO]) + len(body).to_bytes(3, "big") + body


def in_records(message: bytes, size: int = MOST_IN_RECORD) -> bytes:
    """Return a message in records. size: of each, without its header."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(struct.pack(">BHH", HANDSHAKE, 0x0301, len(piece)) + piece for piece in pieces)


def hello(name: str, *, padding: int = 0, more: bytes = b"") -> bytes:
    """Return a hello that names a server, behind so many bytes of padding."""
    before = extension(PADDING, bytes(padding)) if padding else b""
    return in_records(message(before, server_name(name.encode("latin-1")), more))


def openssl_hello(name: str | None) -> bytes:
    """Return the hello that OpenSSL writes. name: of the server; None: it names none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def openssl_reads(data: bytes) -> str | None:
    """Return the name that a server of OpenSSL reads in a hello; None if it reads none."""
    found: list[str | None] = []

    def note(_sock: object, name: str | None, _context: object) -> int:
        found.append(name)
        return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = note
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(data)
    with contextlib.suppress(ssl.SSLError, UnicodeError):
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    return found[0] if found else None

"""A name server for tests, and answers as it writes them."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

HEADER_SIZE = 12
TYPE_A, TYPE_CNAME, TYPE_AAAA = 1, 5, 28
INTERNET = 1
ANSWERED, TRUNCATED = 0x8180, 0x0200
LENGTH = struct.Struct(">H")  # before each message by TCP
TO_QUESTION = b"\xc0\x0c"  # a pointer to the name that was asked for


def wire_name(name: str) -> bytes:
    """Return a name as messages have it."""
    return b"".join(bytes([len(label)]) + label for label in name.encode("latin-1").split(b".")) + b"\0"


def record(owner: bytes, type_: int, data: bytes) -> bytes:
    """Return a record. owner: as messages have it."""
    return owner + struct.pack(">HHIH", type_, INTERNET, 60, len(data)) + data


def address_record(owner: bytes, address: str) -> bytes:
    """Return the record of an address."""
    if ":" in address:
        return record(owner, TYPE_AAAA, socket.inet_pton(socket.AF_INET6, address))
    return record(owner, TYPE_A, socket.inet_aton(address))


def answer(question: bytes, records: list[bytes], *, flags: int = ANSWERED, id_: bytes = b"\0\0") -> bytes:
    """Return an answer. question: the name as messages have it, with the type and the class."""
    return id_ + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)


class NameServer:
    """Answers by a zone: addresses by name; a name in place of an address is an alias."""

    def __init__(self, zone: Mapping[str, list[str]], truncated: str = "") -> None:
        """Make it. truncated: a name whose answers do not fit."""
        self._zone = {wire_name(name).lower(): values for name, values in zone.items()}
        self._truncated = wire_name(truncated)

    def answer_to(self, query: bytes) -> bytes:
        """Return the answer to a query."""
        end = HEADER_SIZE
        while query[end]:
            end += 1 + query[end]
        end += 1
        name, question = query[HEADER_SIZE:end], query[HEADER_SIZE : end + 4]
        (type_,) = struct.unpack(">H", question[-4:-2])
        if name == self._truncated:
            return answer(question, [], flags=ANSWERED | TRUNCATED, id_=query[:2])
        return answer(question, list(self._records(name.lower(), type_)), id_=query[:2])

    def _records(self, name: bytes, type_: int) -> Iterator[bytes]:
        owner = TO_QUESTION
        for value in self._zone.get(name, []):
            if value[-1].isalpha():
                yield record(owner, TYPE_CNAME, wire_name(value))
                owner = wire_name(value)
                yield from self._addresses(owner, self._zone[owner.lower()], type_)
            else:
                yield from self._addresses(owner, [value], type_)

    def _addresses(self, owner: bytes, addresses: list[str], type_: int) -> Iterator[bytes]:
        for address in addresses:
            if (":" in address) == (type_ == TYPE_AAAA):
                yield address_record(owner, address)

    @contextmanager
    def serving(self, *places: tuple[str, int]) -> Iterator[None]:
        """Answer at these addresses and ports, by UDP, and at the first one by TCP, too."""
        with ExitStack() as stack:
            end, ended = (stack.enter_context(sock) for sock in socket.socketpair())
            sockets = [
                stack.enter_context(
                    socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
                )
                for address, _ in places
            ]
            for sock, place in zip(sockets, places, strict=True):
                sock.bind(place)
            sockets.append(stack.enter_context(socket.create_server(places[0])))
            thread = threading.Thread(target=self._serve, args=(sockets, ended))
            thread.start()
            try:
                yield
            finally:
                end.close()
                thread.join()

    def _serve(self, sockets: list[socket.socket], ended: socket.socket) -> None:
        while True:
            ready, _, _ = select.select([*sockets, ended], [], [])
            if ended in ready:
                return
            for sock in ready:
                if sock.type == socket.SOCK_STREAM:
                    self._serve_by_tcp(sock)
                    continue
                query, sender = sock.recvfrom(4096)
                sock.sendto(self.answer_to(query), sender)

    def _serve_by_tcp(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as file:
            (size,) = LENGTH.unpack(file.read(LENGTH.size))
            answer = self.answer_to(file.read(size))
            file.write(LENGTH.pack(len(answer)) + answer)

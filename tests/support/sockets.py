"""Opens connections whose endpoints and cookies are known, drops their packets, and closes them."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from tests.support.waiting import wait_until


def cookie_of(sock: socket.socket) -> int:
    """Return the kernel's own cookie of a socket (SO_COOKIE)."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder)


def refused_connection() -> int:
    """Connect to a port that nobody listens on; return the socket's cookie."""
    with socket.socket() as sock:
        cookie = cookie_of(sock)
        try:
            sock.connect(("127.0.0.1", 1))
        except ConnectionRefusedError:
            return cookie
    raise AssertionError("port 1 is in use")


def disconnect(sock: socket.socket) -> None:
    """Call connect() with AF_UNSPEC, which Python's socket module cannot."""
    unspec = struct.pack("=H14x", socket.AF_UNSPEC)
    if ctypes.CDLL(None, use_errno=True).connect(sock.fileno(), unspec, len(unspec)):
        raise OSError(ctypes.get_errno(), "connect(AF_UNSPEC)")


def reset(sock: socket.socket) -> None:
    """Close a connection by a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def receive_all(sock: socket.socket) -> int:
    """Receive until the end; return the number of bytes."""
    return sum(map(len, iter(lambda: sock.recv(1 << 16), b"")))


# Instructions of classic BPF: code, jump if true, jump if false, operand.
LOAD_RANDOM = (0x20, 0, 0, 0xFFFFF000 + 56)
RETURN_NOTHING, RETURN_ALL = (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)


def drop(sock: socket.socket, part: float = 1.0) -> None:
    """Drop a part of the segments that reach a socket, before its kernel sees them (SO_ATTACH_FILTER)."""
    skip_if_less = (0x35, 0, 1, int(part * 2**32))
    program = [LOAD_RANDOM, skip_if_less, RETURN_ALL, RETURN_NOTHING] if part < 1 else [RETURN_NOTHING]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", len(program), ctypes.addressof(code)))


def listen(
    address: str = "127.0.0.1", family: socket.AddressFamily = socket.AF_INET, port: int = 0, protocol: int = 0
) -> socket.socket:
    """Return a listening socket on a free port."""
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(128)
    return sock


class TcpInfo(NamedTuple):
    """Counts of struct tcp_info."""

    unacknowledged: int  # segments
    received: int  # bytes
    sent: int
    retransmitted: int


def tcp_info(sock: socket.socket) -> TcpInfo:
    """Return what the kernel counts of a connection. FIN and SYN count as received, but not as sent."""
    return TcpInfo(*struct.unpack_from("24xI100xQ64xQQ", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)))


class Pair(NamedTuple):
    """Both ends of one loopback connection, and their cookies."""

    client: socket.socket
    server: socket.socket
    client_cookie: int
    server_cookie: int

    def close(self) -> None:
        """Close the client, then the server."""
        self.client.close()
        self.server.close()


def connect_pair(listener: socket.socket, to: tuple[str, int], family: socket.AddressFamily = socket.AF_INET) -> Pair:
    """Connect to a listener of this process, by its protocol, and accept."""
    client = socket.socket(family, socket.SOCK_STREAM, listener.proto)
    client.connect(to)
    server, _ = listener.accept()
    return Pair(client, server, cookie_of(client), cookie_of(server))


def carry(pair: Pair, at_least: int) -> int:
    """Send so many bytes from the client, or some more, receive all of them, and return how many they were."""
    pair.client.setblocking(False)
    sent = received = 0
    pair.server.settimeout(60)
    while sent < at_least:
        with suppress(BlockingIOError):
            sent += pair.client.send(bytes(20_000))
        received += len(pair.server.recv(1 << 20))
    while received < sent:
        received += len(pair.server.recv(1 << 20))
    return sent


def leave_to_child(sock: socket.socket, then: Callable[[], object] = lambda: None) -> int:
    """Close a socket while a forked child holds the last copy of it; return the child's pid.

    Args:
        sock: The socket.
        then: What the child does before it exits.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read_end, 1)
        then()
        os._exit(0)
    sock.close()
    os.write(write_end, b"x")
    os.waitpid(child, 0)
    os.close(read_end)
    os.close(write_end)
    return child


def fill(pair: Pair) -> tuple[int, int]:
    """Send from the client until its queue is full, as the server reads nothing.

    Returns:
        The bytes that were written, and those of them that have left.
    """
    pair.client.setblocking(False)
    written = 0
    while True:
        with suppress(BlockingIOError):
            while True:
                written += pair.client.send(bytes(1 << 16))
        wait_until(lambda: not tcp_info(pair.client).unacknowledged, "all acknowledgements")
        try:
            written += pair.client.send(b"x")
        except BlockingIOError:
            return written, tcp_info(pair.server).received

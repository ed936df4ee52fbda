"""Ways of carrying bytes over TCP, each a load whose bytes the kernel has counted (TCP_INFO).

    python3 -m bench.scenarios NAME PORT

Carries them over connections whose one port is PORT, and prints a line of JSON: how many ends, how many bytes all ends
have sent and received. Each end is asked when all is acknowledged, and before any is closed.
Where that is not possible, as of a reset, the program knows what has arrived.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.sockets import Pair, connect_pair, fill, listen, receive_all, reset, tcp_info
from tests.support.waiting import wait_until

CHUNK = 1 << 16
BULK = 8_000_000  # bytes
PIECE = b"x" * 64
CLONE_NEWNET = 0x40000000
MSG_ZEROCOPY = 0x4000000
SO_ZEROCOPY = 60
# linux/io_uring.h and asm/unistd.h, the same on all processors of ours.
IO_URING_SETUP, IO_URING_ENTER, IORING_OP_SEND = 425, 426, 26
IORING_OFF_SQ_RING, IORING_OFF_CQ_RING, IORING_OFF_SQES = 0, 0x8000000, 0x10000000
IORING_ENTER_GETEVENTS = 1


@dataclass
class Truth:
    """What the kernel says of all ends."""

    ends: int = 0
    sent: int = 0
    received: int = 0

    def add(self, *socks: socket.socket) -> None:
        """Add these ends, once all that they have sent is acknowledged."""
        for sock in socks:
            wait_until(lambda sock=sock: not tcp_info(sock).unacknowledged, "all acknowledgements")  # type: ignore[misc]
        for sock in socks:
            info = tcp_info(sock)
            self.ends += 1
            self.sent += info.sent - info.retransmitted
            self.received += info.received

    def know(self, ends: int, carried: int) -> None:
        """Add ends between which so many bytes were carried: TCP_INFO cannot tell any more, or counts a FIN."""
        self.ends += ends
        self.sent += carried
        self.received += carried


def drain(sock: socket.socket, count: int) -> threading.Thread:
    """Start to receive so many bytes."""

    def receive() -> None:
        left = count
        while left:
            left -= len(sock.recv(min(left, CHUNK)))

    thread = threading.Thread(target=receive)
    thread.start()
    return thread


@contextmanager
def connected(port: int, truth: Truth, address: str = "127.0.0.1", family: int = socket.AF_INET) -> Iterator[Pair]:
    """Both ends of a connection, which are counted and closed at the end."""
    kind = socket.AddressFamily(family)
    with listen(address, kind, port) as listener:
        pair = connect_pair(listener, (address, port), kind)
    yield pair
    truth.add(pair.client, pair.server)
    pair.close()


def one_way(port: int, truth: Truth, count: int, send: Callable[[socket.socket], object], address: str = "") -> None:
    """Have the client send so many bytes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with connected(port, truth, address or "127.0.0.1", family) as pair:
        thread = drain(pair.server, count)
        send(pair.client)
        thread.join()


def bulk(port: int, truth: Truth) -> None:
    """Much, one way."""
    one_way(port, truth, BULK, lambda sock: sock.sendall(bytes(BULK)))


def duplex(port: int, truth: Truth) -> None:
    """Much, both ways at once."""
    with connected(port, truth) as pair:
        threads = [drain(sock, BULK) for sock in (pair.client, pair.server)]
        sender = threading.Thread(target=pair.server.sendall, args=(bytes(BULK),))
        sender.start()
        pair.client.sendall(bytes(BULK))
        for thread in (*threads, sender):
            thread.join()


def ipv6(port: int, truth: Truth) -> None:
    """Over IPv6."""
    one_way(port, truth, BULK, lambda sock: sock.sendall(bytes(BULK)), "::1")


def short_lived(port: int, truth: Truth) -> None:
    """Fifty connections, one after the other."""
    with listen(port=port) as listener:
        for _ in range(50):
            pair = connect_pair(listener, ("127.0.0.1", port))
            pair.client.sendall(bytes(137))
            pair.server.recv(137, socket.MSG_WAITALL)
            pair.server.sendall(bytes(1731))
            pair.client.recv(1731, socket.MSG_WAITALL)
            truth.add(pair.client, pair.server)
            pair.close()


def io_uring(port: int, truth: Truth) -> None:
    """Sent by io_uring."""
    one_way(port, truth, 100 * CHUNK, lambda sock: _send_by_ring(sock.fileno(), 100))


def _send_by_ring(fd: int, times: int) -> None:
    """Send a chunk so many times, by a ring of one entry."""
    libc = ctypes.CDLL(None, use_errno=True)
    params = ctypes.create_string_buffer(120)
    ring = libc.syscall(IO_URING_SETUP, 1, params)
    if ring < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    _, entries, *_ = struct.unpack_from("2I", params)
    tail, array = struct.unpack_from("4xI16xI", params, 40)  # struct io_sqring_offsets
    head_of_done, cqes = struct.unpack_from("I16xI", params, 80)  # struct io_cqring_offsets
    submissions = mmap.mmap(ring, array + 4 * max(entries, 1) + 64, offset=IORING_OFF_SQ_RING)
    completions = mmap.mmap(ring, cqes + 16 * 2 * max(entries, 1), offset=IORING_OFF_CQ_RING)
    operations = mmap.mmap(ring, 64, offset=IORING_OFF_SQES)
    data = ctypes.create_string_buffer(bytes(CHUNK), CHUNK)
    left, number = times * CHUNK, 0
    while left:
        size = min(left, CHUNK)
        operations[:64] = struct.pack("BBHiQQIi", IORING_OP_SEND, 0, 0, fd, 0, ctypes.addressof(data), size, 0).ljust(
            64, b"\0"
        )
        struct.pack_into("I", submissions, array, 0)
        struct.pack_into("I", submissions, tail, number + 1)
        if libc.syscall(IO_URING_ENTER, ring, 1, 1, IORING_ENTER_GETEVENTS, None, 0) < 0:
            raise OSError(ctypes.get_errno(), "io_uring_enter")
        done = struct.unpack_from("i", completions, cqes + 16 * (number % 2) + 8)[0]
        if done <= 0:
            raise OSError(-done, "a send by io_uring")
        number += 1
        struct.pack_into("I", completions, head_of_done, number)
        left -= done
    os.close(ring)


@contextmanager
def _file_of(count: int) -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(count))
        file.flush()
        yield file.fileno()


def sendfile(port: int, truth: Truth) -> None:
    """Sent from a file by the kernel."""
    with _file_of(BULK) as file:

        def send(sock: socket.socket) -> None:
            at = 0
            while at < BULK:
                at += os.sendfile(sock.fileno(), file, at, BULK - at)

        one_way(port, truth, BULK, send)


def splice(port: int, truth: Truth) -> None:
    """Sent through a pipe, and received into one, without a copy."""
    with _file_of(BULK) as file, connected(port, truth) as pair:
        out, into = os.pipe()
        received, sink = os.pipe()

        def receive() -> None:
            left = BULK
            while left:
                moved = os.splice(pair.server.fileno(), sink, CHUNK)
                left -= moved
                while moved:
                    moved -= len(os.read(received, moved))

        thread = threading.Thread(target=receive)
        thread.start()
        at = 0
        while at < BULK:
            left = os.splice(file, into, CHUNK, offset_src=at)
            at += left
            while left:
                left -= os.splice(out, pair.client.fileno(), left)
        thread.join()
        for descriptor in (out, into, received, sink):
            os.close(descriptor)


def self_connected(port: int, truth: Truth) -> None:
    """A socket that is connected to itself: one end, which receives what it sends."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.connect(("127.0.0.1", port))
        for _ in range(100):
            sock.sendall(bytes(1000))
            sock.recv(1000, socket.MSG_WAITALL)
        truth.add(sock)


def container(port: int, truth: Truth) -> None:
    """In a network namespace of its own, as in a container."""
    _enter_own_network()
    bulk(port, truth)


def _enter_own_network() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def drip(port: int, truth: Truth) -> None:
    """Byte after byte, each in a segment of its own."""
    with connected(port, truth) as pair:
        pair.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(500):
            pair.client.send(b"x")
            pair.server.recv(1)


def many_small(port: int, truth: Truth) -> None:
    """Many small writes, which the kernel puts together."""

    def send(sock: socket.socket) -> None:
        for _ in range(10_000):
            sock.sendall(PIECE)

    one_way(port, truth, 10_000 * len(PIECE), send)


def burst(port: int, truth: Truth) -> None:
    """Thirty connections at once."""
    with listen(port=port) as listener:
        pairs = [connect_pair(listener, ("127.0.0.1", port)) for _ in range(30)]
    threads = [drain(pair.server, CHUNK) for pair in pairs]
    for pair in pairs:
        pair.client.sendall(bytes(CHUNK))
    for thread in threads:
        thread.join()
    truth.add(*(sock for pair in pairs for sock in (pair.client, pair.server)))
    for pair in pairs:
        pair.close()


def zerocopy(port: int, truth: Truth) -> None:
    """Sent from the program's own memory (MSG_ZEROCOPY)."""

    def send(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        for _ in range(20):
            left = CHUNK
            while left:
                left -= sock.send(bytes(left), MSG_ZEROCOPY)

    one_way(port, truth, 20 * CHUNK, send)


def inherited(port: int, truth: Truth) -> None:
    """Sent by a child, over a connection of its parent's."""
    with connected(port, truth) as pair:
        thread = drain(pair.server, 3 * CHUNK)
        child = os.fork()
        if child == 0:
            pair.client.sendall(bytes(3 * CHUNK))
            os._exit(0)
        os.waitpid(child, 0)
        thread.join()


def closed_full(port: int, truth: Truth) -> None:
    """Closed while the send buffer is full: the kernel goes on to send all of it."""
    with listen(port=port) as listener:
        pair = connect_pair(listener, ("127.0.0.1", port))
    written, _ = fill(pair)
    pair.client.close()
    assert receive_all(pair.server) == written
    pair.server.close()
    truth.know(2, written)


def reset_full(port: int, truth: Truth) -> None:
    """Reset while the send buffer is full: the kernel drops what has not left."""
    with listen(port=port) as listener:
        pair = connect_pair(listener, ("127.0.0.1", port))
    _, left = fill(pair)
    reset(pair.client)
    pair.server.close()
    truth.know(2, left)


def reset_by_peer(port: int, truth: Truth) -> None:
    """Reset by the receiver while the send buffer is full."""
    with listen(port=port) as listener:
        pair = connect_pair(listener, ("127.0.0.1", port))
    _, left = fill(pair)
    reset(pair.server)
    wait_until(lambda: pair.client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "the reset")
    pair.client.close()
    truth.know(2, left)


def unread(port: int, truth: Truth) -> None:
    """Closed with data that nobody has read, which resets the connection."""
    with listen(port=port) as listener:
        pair = connect_pair(listener, ("127.0.0.1", port))
    pair.server.sendall(bytes(1000))
    wait_until(lambda: tcp_info(pair.client).received == 1000, "what is not read")
    pair.client.close()
    pair.server.close()
    truth.know(2, 1000)


def half_closed(port: int, truth: Truth) -> None:
    """One end has ended its half; the other goes on to send."""
    with listen(port=port) as listener:
        pair = connect_pair(listener, ("127.0.0.1", port))
    pair.client.sendall(bytes(1000))
    pair.client.shutdown(socket.SHUT_WR)
    assert receive_all(pair.server) == 1000
    pair.server.sendall(bytes(5000))
    pair.server.close()
    assert receive_all(pair.client) == 5000
    pair.client.close()
    truth.know(2, 6000)


def urgent(port: int, truth: Truth) -> None:
    """With urgent bytes (MSG_OOB), which the receiver reads among the others."""
    with connected(port, truth) as pair:
        pair.server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        for _ in range(10):
            pair.client.sendall(bytes(100))
            pair.client.send(b"!", socket.MSG_OOB)
            pair.server.recv(101, socket.MSG_WAITALL)


def fast_open(port: int, truth: Truth) -> None:
    """With data in the first segment (TCP Fast Open), in a network namespace of its own, which allows it."""
    _enter_own_network()
    Path("/proc/sys/net/ipv4/tcp_fastopen").write_text("1027")  # both ways, and without a cookie
    with listen(port=port) as listener, socket.socket() as client:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 1)
        client.sendto(bytes(1000), socket.MSG_FASTOPEN, ("127.0.0.1", port))
        server, _ = listener.accept()
        with server:
            server.recv(1000, socket.MSG_WAITALL)
    truth.know(2, 1000)


SCENARIOS: dict[str, Callable[[int, Truth], None]] = {
    "bulk": bulk,
    "duplex": duplex,
    "IPv6": ipv6,
    "short-lived": short_lived,
    "io_uring": io_uring,
    "sendfile": sendfile,
    "splice": splice,
    "zerocopy": zerocopy,
    "many small": many_small,
    "drip": drip,
    "burst": burst,
    "to itself": self_connected,
    "by a child": inherited,
    "container": container,
    "closed, full": closed_full,
    "reset, full": reset_full,
    "reset by peer": reset_by_peer,
    "closed, unread": unread,
    "half closed": half_closed,
    "urgent": urgent,
    "fast open": fast_open,
}
FIRST_PORT = 7001


def port_of(name: str) -> int:
    """Return the port by which a scenario's connections are recognised."""
    return FIRST_PORT + [*SCENARIOS].index(name)


def main() -> None:
    """Run the scenario that the arguments name."""
    name, port = sys.argv[1:]
    truth = Truth()
    SCENARIOS[name](int(port), truth)
    print(json.dumps(vars(truth)))


if __name__ == "__main__":
    main()

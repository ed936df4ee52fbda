"""Connections whose number and bytes are known, beside which `netmon top` is tested."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Sequence

from tests.support.sockets import Pair, connect_pair, listen, receive_all, refused_connection

SHORT, FAILED, PROCESSES = 40, 3, 4
SENT, ANSWERED = 1234, 56_789
OPEN_SENT = 300_000

# What this process has done then, as both ends of its connections. One was open before, and has sent OPEN_SENT.
CONNECTIONS = 2 * SHORT + PROCESSES
CARRIED = SHORT * (SENT + ANSWERED) + OPEN_SENT  # each way


def make_load(connect: Callable[[int], Sequence[object]]) -> None:
    """Make the connections whose numbers are above.

    Args:
        connect: Returns the command of a process that connects to a port of 127.0.0.1 and ends.
    """
    with listen() as listener:
        address = listener.getsockname()
        for _ in range(SHORT):
            pair = connect_pair(listener, address)
            pair.client.sendall(bytes(SENT))
            pair.client.shutdown(socket.SHUT_WR)
            assert receive_all(pair.server) == SENT
            pair.server.sendall(bytes(ANSWERED))
            pair.server.close()
            assert receive_all(pair.client) == ANSWERED
            pair.client.close()
        for _ in range(FAILED):
            refused_connection()
        for _ in range(PROCESSES):
            subprocess.run([*map(str, connect(address[1]))], input=b"\n", check=True, capture_output=True)
            listener.accept()[0].close()


def send_open(pair: Pair) -> None:
    """Send OPEN_SENT over a connection, which stays open, and receive it."""
    pair.client.sendall(bytes(OPEN_SENT))
    left = OPEN_SENT
    while left:
        left -= len(pair.server.recv(left))

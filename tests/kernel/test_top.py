"""`netmon top`, for scripts, beside the truth of a known load."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.support.netmon_command import PROGRAMS
from tests.support.sockets import connect_pair, listen, receive_all, refused_connection

SHORT, FAILED, PROCESSES = 40, 3, 4
SENT, ANSWERED = 1234, 56_789
OPEN_SENT = 300_000
DEADLINE = 120.0


def load() -> None:
    """Make the connections whose numbers are above. Both ends are in this process, but for those of short processes."""
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
            subprocess.run([PROGRAMS / "connect_once", str(address[1])], input=b"\n", check=True, capture_output=True)
            listener.accept()[0].close()


def rows_of(snapshot: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [row for row in snapshot["rows"] if row["process"]["filename"] == name]


@pytest.mark.once
def test_once_counts_what_a_known_load_did() -> None:
    """The signal ends the only interval: so nothing depends on how fast the machine is."""
    with listen() as listener:
        before = connect_pair(listener, listener.getsockname())
        command = [sys.executable, "-m", "netmon", "top", "--any-kernel", "--once", "--interval", "1h"]
        command += ["--format", "json", "--by", "process", "--peer", "127.0.0.1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as netmon:
            try:
                assert netmon.stderr is not None
                assert netmon.stderr.readline() == "netmon: ready\n"
                load()
                before.client.sendall(bytes(OPEN_SENT))
                left = OPEN_SENT
                while left:
                    left -= len(before.server.recv(left))
                netmon.send_signal(signal.SIGTERM)
                output, said = netmon.communicate(timeout=DEADLINE)
            finally:
                netmon.kill()
        before.close()
    assert netmon.returncode == 0, said
    assert said.endswith(" 0 lost\n"), said
    (line,) = output.splitlines()
    snapshot = json.loads(line)
    ours = next(row for row in snapshot["rows"] if row["process"]["pid"] == os.getpid())
    truth = {
        "connections": 2 * SHORT + PROCESSES,
        "failures": FAILED,
        # The open connection, sampled at the end: the peer has acknowledged all that it has received.
        "bytes_sent": SHORT * (SENT + ANSWERED) + OPEN_SENT,
        "bytes_received": SHORT * (SENT + ANSWERED) + OPEN_SENT,
        "open": 2,
        "ended": False,
    }
    assert {key: ours[key] for key in truth} == truth
    short = rows_of(snapshot, "connect_once")
    assert [(row["connections"], row["open"], row["ended"]) for row in short] == [(1, 0, True)] * PROCESSES
    assert {row["parent"]["pid"] for row in short} == {os.getpid()}
    assert snapshot["connections"] == sum(row["connections"] for row in snapshot["rows"])
    assert snapshot["lost"] == 0

"""`netmon top`, for scripts, beside the truth of a known load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.support.known_load import CARRIED, CONNECTIONS, FAILED, PROCESSES, make_load, send_open
from tests.support.netmon_command import PROGRAMS
from tests.support.sockets import connect_pair, listen

DEADLINE = 120.0


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
                make_load(lambda port: [PROGRAMS / "connect_once", port])
                send_open(before)
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
        "connections": CONNECTIONS,
        "failures": FAILED,
        # The open connection, sampled at the end: the peer has acknowledged all that it has received.
        "bytes_sent": CARRIED,
        "bytes_received": CARRIED,
        "open": 2,
        "ended": False,
    }
    assert {key: ours[key] for key in truth} == truth
    short = rows_of(snapshot, "connect_once")
    assert [(row["connections"], row["open"], row["ended"]) for row in short] == [(1, 0, True)] * PROCESSES
    assert {row["parent"]["pid"] for row in short} == {os.getpid()}
    assert snapshot["connections"] == sum(row["connections"] for row in snapshot["rows"])
    assert snapshot["lost"] == 0

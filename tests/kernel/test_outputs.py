"""Outputs of a run on a real kernel, which has taken its rights: a file that is rotated and reopened, and a socket."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.netmon_command import Netmon
from tests.support.sockets import refused_connection
from tests.support.waiting import wait_until


@pytest.mark.once
def test_a_file_and_a_socket_get_each_event_after_rights_are_given_up(tmp_path: Path) -> None:
    """The kernel lets netmon rotate and reopen the file; each of 300 connections is in the files, and at the reader."""
    file, path = tmp_path / "events.jsonl", tmp_path / "events.sock"
    outputs = ("--output", f"file:{file},rotate_size=64K,keep=9", "--output", f"unix:{path},format=ecs")
    cookies = []
    with Netmon("--egress", *outputs) as netmon, socket.socket(socket.AF_UNIX) as reader:
        reader.connect(str(path))
        # The server accepts it soon: from an event on it has all.
        first = b""
        reader.settimeout(0.2)
        while not first:
            refused_connection()
            try:
                first = reader.recv(1 << 16)
            except TimeoutError:
                continue
        cookies += [refused_connection() for _ in range(200)]
        wait_until(lambda: cookies[-1] in cookies_in(file), "the first connections in the files")
        moved = tmp_path / "moved"
        file.rename(moved)
        netmon.process.send_signal(signal.SIGUSR1)
        wait_until(file.exists, "a new file")
        cookies += [refused_connection() for _ in range(100)]
        wait_until(lambda: cookies[-1] in cookies_in(file), "the last connections in the files")
        reader.settimeout(60)
        received = first
        while f'"cookie":{cookies[-1]},'.encode() not in received[-8192:]:
            received += reader.recv(1 << 16)
        ended = netmon.stop()
    assert (ended.returncode, ended.stdout) == (0, b"")
    assert ", 0 lost" in ended.stderr and ended.stderr.startswith("netmon: ready\n")
    assert {*cookies} <= {*cookies_in(file), *cookies_in(moved)}
    assert file.with_name(f"{file.name}.1").exists()
    lines = [json.loads(line) for line in received.splitlines()[:-1]]
    assert {*cookies[:-1]} <= {line["netmon"]["cookie"] for line in lines}
    assert {line["network"]["direction"] for line in lines} == {"egress"}


def cookies_in(file: Path) -> list[Any]:
    """Return the cookies of the events in a file and in the older ones, without a line that is being written."""
    found = []
    for part in file.parent.glob(f"{file.name}*"):
        try:
            lines = part.read_text().split("\n")[:-1]
        except FileNotFoundError:  # it is being rotated
            continue
        found += [json.loads(line)["network_event"]["cookie"] for line in lines if '"NetworkEvent"' in line]
    return found

"""What a `netmon forward` that was taken over can do to netmon and the host: nothing. It is tried from inside."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netmon.kernel import seccomp
from netmon.kernel.calls import syscall
from netmon.kernel.seccomp import MAP_CREATE, NUMBERS

BPF = NUMBERS["bpf"][seccomp.ARCHITECTURES[os.uname().machine].column]
MAP_GET_NEXT_ID, MAP_GET_FD_BY_ID = 12, 14
ARRAY = (2).to_bytes(4, "little") + (4).to_bytes(4, "little") * 2 + (1).to_bytes(4, "little")  # of one number

# `netmon forward` up to the place where events begin to come: then what an attacker would try.
TAKEN_OVER = """
import ctypes, json, os, socket, sys
from netmon.cli.main import main
from netmon.forward.forwarder import Counts, Forwarder
from netmon.kernel.calls import syscall

BPF, NETMON, MAP, CONFIGURATION = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
MAP_ID = bytearray(MAP.to_bytes(4, "little") + bytes(16))

def ask_bpf(command, attributes):
    return lambda: syscall(BPF, command, bytes(attributes), len(attributes))

ATTEMPTS = {
    "find maps": ask_bpf(12, bytes(16)),
    "open a map": ask_bpf(14, MAP_ID),
    "make a map": ask_bpf(0, bytes(64)),
    "load a program": ask_bpf(5, bytes(64)),
    "see descriptors": lambda: os.listdir(f"/proc/{NETMON}/fd"),
    "read memory": lambda: open(f"/proc/{NETMON}/mem", "rb"),
    "stop netmon": lambda: os.kill(NETMON, 0),
    "change the configuration": lambda: open(CONFIGURATION, "a"),
    "read secrets": lambda: open("/etc/shadow"),
    "make a file": lambda: open("/tmp/of-an-attacker", "x"),
    "execute": lambda: os.execv("/bin/true", ["true"]),
    "become root": lambda: os.setuid(0),
    "trace": lambda: syscall(101 if os.uname().machine == "x86_64" else 117, 16, NETMON, 0, 0),
    "raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "another namespace": lambda: syscall(272 if os.uname().machine == "x86_64" else 97, 0x10000000),
}

def attack(self, *_):
    found = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
            found[name] = 0
        except OSError as error:
            found[name] = error.errno
    print(json.dumps(found), flush=True)
    return Counts(0, {}, 0)

Forwarder.run = attack
sys.exit(main(["forward", *sys.argv[5:]]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a map, and the rights of root to give up")
@pytest.mark.parametrize("arguments", [(), ("--user", "daemon")], ids=["nobody", "a user"])
def test_a_forwarder_that_was_taken_over_can_do_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    configuration = tmp_path / "netmon.yaml"
    configuration.write_text("egress: {enabled: true}\n")
    held = syscall(BPF, MAP_CREATE, ARRAY, len(ARRAY))
    try:
        next_id = bytearray(16)
        assert _is_found(next_id), "the test itself can find maps: else it shows nothing"
        found = _taken_over(configuration, arguments)
    finally:
        os.close(held)
    assert found and all(number in (errno.EPERM, errno.EACCES) for number in found.values()), found
    assert configuration.read_text() == "egress: {enabled: true}\n"


def _is_found(attributes: bytearray) -> bool:
    return syscall(BPF, MAP_GET_NEXT_ID, bytes(attributes), len(attributes)) == 0


def _taken_over(configuration: Path, arguments: tuple[str, ...]) -> dict[str, Any]:
    """Return the error number of each attempt; 0: it has succeeded."""
    command = [sys.executable, "-c", TAKEN_OVER, str(BPF), str(os.getpid()), "1", str(configuration)]
    done = subprocess.run(
        [*command, "--to", "http://localhost:4318", *arguments], capture_output=True, text=True, timeout=60
    )
    assert "netmon: ready" in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found

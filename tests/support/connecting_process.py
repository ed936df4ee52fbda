"""Runs programs that connect and then wait, so that a test can compare events with /proc."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.json_events import Event
from tests.support.netmon_command import PROGRAMS, Netmon
from tests.support.procfs import auid_of, status_of

CONNECT_ONCE = PROGRAMS / "connect_once"


class ConnectedProcess:
    """A child that has connected and now waits, so that its /proc can be read."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        self.pid = child.pid

    @property
    def exe(self) -> str:
        return str(Path(f"/proc/{self.pid}/exe").readlink())

    @property
    def cmdline(self) -> list[bytes]:
        return Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")[:-1]

    @property
    def stat(self) -> list[str]:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()


@contextmanager
def connected(command: Sequence[str | bytes | Path], **options: Any) -> Iterator[ConnectedProcess]:
    """Run a program that connects, writes a line and waits; end it on leaving."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
    assert child.stdout is not None
    assert child.stdout.readline() == b"connected\n"
    yield ConnectedProcess(child)
    child.communicate(b"\n")
    assert child.returncode == 0


def in_child(work: Callable[[], object]) -> int:
    """Run work in a forked child, which ends with it; return the child's id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0
    return child


def process_of(seen: list[Event], pid: int) -> dict[str, Any]:
    """Return the process in the events of a pid, which must be the same in all of them."""
    processes = [event["process"] for event in seen if event["process"]["pid"] == pid]
    assert processes
    assert all(process == processes[0] for process in processes)
    return dict(processes[0])


@cache
def capabilities() -> list[str]:
    """Return the kernel's capabilities as capsh names them, in the order of their numbers."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return decode_capabilities(f"{(1 << last + 1) - 1:x}")


def decode_capabilities(mask: str) -> list[str]:
    """Return what `capsh --decode` says of a hexadecimal mask: names, from the lowest bit on."""
    said = subprocess.run(["capsh", f"--decode={mask}"], capture_output=True, text=True, check=True)
    return said.stdout.strip().partition("=")[2].split(",")


def capability_names(mask: str) -> str:
    """Return what netmon must say of a hexadecimal mask of capabilities."""
    if not int(mask, 16):
        return ""
    names = decode_capabilities(mask)
    return "ALL_CAPS" if names == capabilities() else " | ".join(names).upper()


def read_expected(subject: ConnectedProcess) -> dict[str, Any]:
    """Read from /proc what netmon must report of a live process."""
    status = status_of(subject.pid)
    exe = subject.exe
    return {
        "pid": subject.pid,
        "tid": subject.pid,
        "ppid": os.getpid(),
        "uid": int(status["Uid"][0]),
        "euid": int(status["Uid"][1]),
        "gid": int(status["Gid"][0]),
        "egid": int(status["Gid"][1]),
        "auid": auid_of(subject.pid),
        "cap_inheritable": capability_names(status["CapInh"][0]),
        "cap_permitted": capability_names(status["CapPrm"][0]),
        "cap_effective": capability_names(status["CapEff"][0]),
        "filename": exe.removesuffix(" (deleted)").rpartition("/")[2],
        "binary_path": exe,
        "args": b" ".join(subject.cmdline[1:]).decode(errors="backslashreplace"),
    }


def check_process(netmon: Netmon, command: Sequence[str | bytes | Path], **options: Any) -> dict[str, Any]:
    """Run a program that connects, and compare its events with /proc. Returns the process as netmon reports it."""
    with netmon.watch() as seen, connected(command, **options) as subject:
        expected = read_expected(subject)
        # The program must not end before: netmon may have to read /proc, too.
        netmon.wait_for_process(subject.pid)
    process = process_of(seen, subject.pid)
    assert {key: process[key] for key in expected} == expected
    return process

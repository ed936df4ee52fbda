"""Whom a process descends from: compared with /proc."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.connecting_process import CONNECT_ONCE, connected, process_of
from tests.support.netmon_command import Netmon
from tests.support.procfs import status_of

pytestmark = pytest.mark.oldest_and_newest

FLAGS = pytest.mark.netmon_flags("--ancestors", "16", "--id", "--parent")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
# Connects once its parent has ended.
ORPHAN = """
import os, socket, sys
middle = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == middle:
    pass
socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print(os.getpid(), os.getppid(), flush=True)
"""


def chain_of(pid: int) -> list[int]:
    """Return the ids of a process's ancestors, by /proc."""
    chain = []
    while pid := int(status_of(pid)["PPid"][0]):
        chain.append(pid)
    return chain


def first_args(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")[1:]
    return b" ".join(words).decode(errors="backslashreplace")


def ancestors_of(netmon: Netmon, depth: int, port: str) -> tuple[dict[str, Any], list[int], list[str], list[str]]:
    """Connect by a process that has so many ancestors more than this one.

    Returns:
        The process as it is reported; its ancestors by /proc: their ids, file names and arguments.
    """
    command: list[str | Path] = [CONNECT_ONCE, port]
    for _ in range(depth):
        command = ["sh", "-c", '"$@"; exit $?', "sh", *command]  # it waits for its child
    with netmon.watch() as seen, connected(command) as outermost:
        pid = outermost.pid
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            (pid,) = map(int, children)
        chain = chain_of(pid)
        names = [Path(f"/proc/{each}/exe").readlink().name for each in chain]
        arguments = [first_args(each) for each in chain]
        netmon.wait_for_process(pid)
    return process_of(seen, pid), chain, names, arguments


@FLAGS
def test_ancestors_are_those_of_proc(netmon: Netmon, port: str) -> None:
    process, chain, names, arguments = ancestors_of(netmon, 2, port)
    found = process["ancestors"]
    assert [each["pid"] for each in found] == chain[:16]
    assert chain[-1] == 1
    assert [each["filename"] for each in found] == names[:16]
    for each, expected in zip(found, arguments, strict=False):
        assert expected.startswith(each["args"]) or each["args"] == expected
        boot, start, pid = each["id"].split(".")
        assert (boot, pid) == (BOOT_ID, str(each["pid"]))
        assert int(start) > 0
    assert process["id"].startswith(f"{BOOT_ID}.")
    assert process["id"].endswith(f".{process['pid']}")
    assert process["ppid"] == found[0]["pid"]


@FLAGS
def test_of_a_long_chain_the_nearest_are_reported(netmon: Netmon, port: str) -> None:
    process, chain, names, _ = ancestors_of(netmon, 17, port)
    assert len(chain) > 16
    assert [(each["pid"], each["filename"]) for each in process["ancestors"]] == [*zip(chain, names, strict=True)][:16]


@FLAGS
def test_an_ancestor_that_has_ended_is_absent(netmon: Netmon, port: str) -> None:
    """Its child belongs to the first process then, or to a subreaper, and nothing tells whom it was before."""
    with netmon.watch() as seen:
        said = subprocess.run([sys.executable, "-c", ORPHAN, port], stdout=subprocess.PIPE, check=True).stdout
    pid, adopter = map(int, said.split())
    assert [each["pid"] for each in process_of(seen, pid)["ancestors"]] == [adopter, *chain_of(adopter)]


def test_ancestors_in_aggregates_and_of_connections_that_were_open_before(port: str) -> None:
    with connected([CONNECT_ONCE, port]) as before:
        expected = [os.getpid(), *chain_of(os.getpid())][:4]
        with Netmon("--existing", "--ancestors", "4") as netmon:
            netmon.wait_for_process(before.pid)
            found = process_of(netmon.events, before.pid)
    assert [each["pid"] for each in found["ancestors"]] == expected
    with (
        Netmon("--aggregate", "1s", "--ancestors", "4", "--exec", "--workload") as netmon,
        connected([CONNECT_ONCE, port]) as now,
    ):
        netmon.wait_for_process(now.pid)
        found = process_of([event for event in netmon.events if "process" in event], now.pid)
    assert [each["pid"] for each in found["ancestors"]] == expected

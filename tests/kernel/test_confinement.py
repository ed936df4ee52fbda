"""`netmon run` has given up root's rights once it is ready, and does all the same what it did with them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from netmon.capabilities import capability_mask
from tests.support.json_events import types_of
from tests.support.netmon_command import Netmon
from tests.support.procfs import status_of
from tests.support.sockets import refused_connection

EVERYTHING = "ingress:\n  enabled: true\negress:\n  enabled: true\n"
NOTHING = "ingress:\n  enabled: true\negress:\n  enabled: true\n  ipv4_filter: {dst_ip: [192.0.2.1]}\n"
NOBODY = "65534"
BPF = capability_mask("BPF")


def check_rights(netmon: Netmon, capabilities: int) -> None:
    """Compare the rights of each of netmon's threads with these capabilities, and with nothing else."""
    for thread in Path(f"/proc/{netmon.process.pid}/task").iterdir():
        status = status_of(f"{netmon.process.pid}/task/{thread.name}")
        sets = {name: int(status[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert sets == {"CapInh": 0, "CapPrm": capabilities, "CapEff": capabilities, "CapBnd": 0, "CapAmb": 0}
        assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    limits = Path(f"/proc/{netmon.process.pid}/limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]


def connect_and_wait(netmon: Netmon) -> None:
    """Make a connection, and wait for further aggregates."""
    before = len(netmon.events)
    refused_connection()
    netmon.wait_until(lambda: len(netmon.events) > before, "a period's aggregates")


@pytest.mark.core
@pytest.mark.netmon_flags("--statistics", "--outcome", "--opener")
def test_no_capability_is_left_and_events_are_reported(netmon: Netmon, port: str) -> None:
    """The looks for losses and for signs of life, of all its time, are system calls that some kernels might refuse."""
    check_rights(netmon, 0)
    with netmon.watch() as seen:
        socket.create_connection(("127.0.0.1", int(port))).close()
    check_rights(netmon, 0)
    assert "Establish" in types_of(seen)


@pytest.mark.core
@pytest.mark.parametrize(
    ("arguments", "user", "capabilities"),
    [([], "0", BPF), (["--user", NOBODY], NOBODY, BPF | capability_mask("DAC_READ_SEARCH"))],
    ids=["root", "nobody"],
)
def test_a_reload_works_again_and_again(tmp_path: Path, arguments: list[str], user: str, capabilities: int) -> None:
    """As another user, too, although root alone may read the file."""
    tmp_path.chmod(0o700)
    with Netmon(*arguments, config=EVERYTHING, tmp_path=tmp_path) as netmon:
        check_rights(netmon, capabilities)
        assert {*status_of(netmon.process.pid)["Uid"]} == {user}
        for text in (NOTHING, EVERYTHING, NOTHING):
            netmon.reload(text)
            refused_connection()
        ended = netmon.stop()
    assert types_of(ended.events) == ["Establish", "Close"]
    assert ended.returncode == 0


@pytest.mark.core
def test_aggregates_of_several_periods_are_reported() -> None:
    with Netmon("--aggregate", "1s") as netmon:
        check_rights(netmon, BPF)
        for _ in range(3):
            connect_and_wait(netmon)
        ended = netmon.stop()
    assert ended.returncode == 0
    assert ", 0 lost" in ended.stderr

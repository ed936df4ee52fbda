"""`netmon run` has given up root's rights once it is ready, and does all the same what it did with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from netmon.capabilities import capability_mask
from tests.support.json_events import types_of
from tests.support.netmon_command import Netmon, wait_until
from tests.support.procfs import status_of
from tests.support.sockets import listen, refused_connection

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


def reload(netmon: Netmon, path: Path, text: str) -> None:
    """Write the configuration, send SIGHUP, and wait until it is in force."""
    path.write_text(text)
    before = len(netmon.stderr)
    netmon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in netmon.stderr[before:], f"a reload, not {netmon.stderr[before:]!r}")


def connect_and_wait(netmon: Netmon) -> None:
    """Make a connection, and wait for further aggregates."""
    before = len(netmon.events)
    refused_connection()
    wait_until(lambda: len(netmon.events) > before, "a period's aggregates")


@pytest.mark.core
def test_no_capability_is_left_and_events_and_losses_are_reported(port: str) -> None:
    """The looks for losses and for signs of life are system calls that some kernels might refuse."""
    with Netmon("--statistics", "--outcome", "--opener") as netmon:
        check_rights(netmon, 0)
        with netmon.watch() as seen:
            socket.create_connection(("127.0.0.1", int(port))).close()
        check_rights(netmon, 0)
        ended = netmon.stop()
    assert "Establish" in types_of(seen)
    assert ended.returncode == 0
    assert ", 0 lost" in ended.stderr
    assert ended.stderr.startswith("netmon: ready\n")


@pytest.mark.core
def test_a_reload_works_again_and_again(tmp_path: Path) -> None:
    with Netmon(config=EVERYTHING, tmp_path=tmp_path) as netmon:
        check_rights(netmon, BPF)
        for text in (NOTHING, EVERYTHING, NOTHING):
            reload(netmon, tmp_path / "netmon.yaml", text)
            refused_connection()
        ended = netmon.stop()
    assert types_of(ended.events) == ["Establish", "Close"]
    assert ended.returncode == 0


@pytest.mark.core
def test_as_another_user_it_reloads_what_root_alone_may_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with Netmon("--user", NOBODY, config=EVERYTHING, tmp_path=tmp_path) as netmon:
        check_rights(netmon, BPF | capability_mask("DAC_READ_SEARCH"))
        assert {*status_of(netmon.process.pid)["Uid"]} == {NOBODY}
        reload(netmon, tmp_path / "netmon.yaml", EVERYTHING)
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


@pytest.mark.core
def test_arguments_are_read_from_proc() -> None:
    """Those of an existing connection's owner, who is another user, and of a parent."""
    script = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(); input()"
    with listen() as listener:
        port = str(listener.getsockname()[1])
        child = subprocess.Popen(
            ["python3", "-c", script, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, user=1000
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "\n"
        with Netmon("--existing", "--parent") as netmon:
            wait_until(lambda: [e for e in netmon.events if e["process"]["pid"] == child.pid], "the child's connection")
            child.communicate("\n")
            ended = netmon.stop()
    mine = [event for event in ended.events if event["process"]["pid"] == child.pid]
    assert types_of(mine) == ["Existing", "Close"]
    for event in mine:
        assert (event["process"]["uid"], event["process"]["args"]) == (1000, f"-c {script} {port}")
        assert event["parent"]["pid"] == os.getpid()
        assert event["parent"]["args"]

"""The messages to the service manager, over a real socket; and the unit files, as systemd reads them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from netmon.cli.sd_notify import ServiceManager
from pack.paths import METRICS_SERVICE, SERVICE

SAFE = 1.5  # systemd's rating, from 0 to 10 (worst); a unit without any restriction has 9.6


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The service manager's socket, and its address as NOTIFY_SOCKET has it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@netmon-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0"))
        listening.setblocking(False)
        yield address, listening


def received(listening: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(listening.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_each_state_is_sent(manager: tuple[str, socket.socket]) -> None:
    address, listening = manager
    service = ServiceManager({"NOTIFY_SOCKET": address})
    for state in ("READY=1", "RELOADING=1", "READY=1", "STOPPING=1"):
        service.notify(state)
    ready, reloading, again, stopping = received(listening)
    assert (ready, again, stopping) == ("READY=1", "READY=1", "STOPPING=1")
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)


@pytest.mark.parametrize(
    ("watchdog", "count"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "60000000"}, 1),  # once in 30 s
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 1),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getppid())}, 0),  # for another process
        ({"WATCHDOG_USEC": "nonsense"}, 0),
        ({"WATCHDOG_USEC": "0"}, 3),
    ],
)
def test_signs_of_life_are_sent_as_often_as_configured(
    manager: tuple[str, socket.socket], watchdog: dict[str, str], count: int
) -> None:
    address, listening = manager
    service = ServiceManager({"NOTIFY_SOCKET": address, **watchdog})
    for _ in range(3):
        service.notify("WATCHDOG=1")
    assert received(listening) == ["WATCHDOG=1"] * count


def test_children_do_not_inherit_the_variables() -> None:
    environment = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    ServiceManager(environment)
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody-listens-here", "vsock:2:1234", "", "/" + "x" * 200])
def test_an_unreachable_service_manager_is_named(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    ServiceManager({"NOTIFY_SOCKET": address}).notify("READY=1")
    assert capsys.readouterr().err.startswith(f"netmon: NOTIFY_SOCKET={address}: ")


@pytest.fixture(params=[SERVICE, METRICS_SERVICE], ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit file, with a program that exists on this machine."""
    shipped: Path = request.param
    path = tmp_path / shipped.name
    path.write_text(shipped.read_text().replace("/usr/bin/netmon", shutil.which("true") or ""))
    return path


def analyze(*arguments: str | Path) -> str:
    """Return systemd-analyze's output; its exit code does not show unknown keys."""
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    assert analyze("verify", "--man=no", unit) == ""
    unit.write_text(unit.read_text() + "Nonsense=yes\n")
    assert "Nonsense" in analyze("verify", "--man=no", unit)


def test_systemd_rates_the_unit_safe(unit: Path) -> None:
    figure = re.search(r"Overall exposure level for \S+: ([\d.]+)", analyze("security", "--offline=true", unit))
    assert figure and float(figure[1]) < SAFE

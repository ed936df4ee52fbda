"""The guest: what the other kernel tests rely on."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.support.netmon_command import PROGRAMS

pytestmark = pytest.mark.core

PROGRAM_NAMES = ("curl", "wget", "nginx", "nc", "telnet", "ip", "setcap", "setpriv", "unshare", "chroot", "bash")


def test_kernel_is_the_requested_one(kernel: str) -> None:
    release = os.uname().release
    assert release == Path("/opt/netmon/release").read_text()
    line = kernel.partition("-")[0]
    assert line == "newest" or release.startswith(f"{line}.")


def test_kernel_has_btf() -> None:
    assert Path("/sys/kernel/btf/vmlinux").stat().st_size > 1_000_000


def test_guest_has_two_processors() -> None:
    assert os.cpu_count() == 2


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=str)
def test_loopback_is_up(family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as listener:
        socket.create_connection(listener.getsockname()[:2]).close()


@pytest.mark.parametrize("name", PROGRAM_NAMES)
def test_program_is_there(name: str) -> None:
    assert shutil.which(name)


def test_own_programs_are_there() -> None:
    sources = Path("/opt/netmon/tests/programs").glob("*.c")
    assert {path.name for path in PROGRAMS.iterdir()} == {path.stem for path in sources}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/sys/fs/cgroup", "cgroup2"), ("/sys/kernel/tracing", "tracefs"), ("/tmp", "tmpfs"), ("/dev", "devtmpfs")],
)
def test_file_system_is_mounted(path: str, kind: str) -> None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    assert [mount[2] for mount in mounts if mount[1] == path][-1:] == [kind]

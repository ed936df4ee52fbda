"""netmon notices when the kernel stops running its programs, although they stay attached."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.json_events import types_by_cookie
from tests.support.netmon_command import Netmon
from tests.support.sockets import refused_connection

# Newer kernels refuse the change: the sysctl cannot stop programs there. After several changes 6.12 warns of a fault in
# ftrace, and attaches nothing any more.
pytestmark = [pytest.mark.core, pytest.mark.last, pytest.mark.only_on("6.1", "6.12", "6.18", "6.12-arm64")]

NETMON = [sys.executable, "-m", "netmon"]
SWITCH = Path("/proc/sys/kernel/ftrace_enabled")
BLIND = "the kernel does not run netmon's programs"


@pytest.fixture(autouse=True)
def _switched_on() -> Iterator[None]:
    """Leave the kernel as it was."""
    yield
    SWITCH.write_text("1")


def test_it_is_reported_while_it_lasts_and_by_exit_code() -> None:
    with Netmon() as netmon:
        SWITCH.write_text("0")
        refused_connection()
        netmon.wait_until(lambda: len(netmon.losses) >= 2, "two LostEvents")
        assert f"netmon: {BLIND}, although they are attached: kernel.ftrace_enabled is 0" in netmon.stderr
        SWITCH.write_text("1")
        netmon.wait_until(lambda: "runs netmon's programs again" in netmon.stderr, "the end")
        cookie = refused_connection()
        netmon.wait_until(lambda: len(types_by_cookie(netmon.events)[cookie]) == 2, "a connection after the end")
        ended = netmon.stop()
    assert ended.returncode == 1
    assert types_by_cookie(ended.events)[cookie] == ["Establish", "Close"]
    blind_ms = sum(loss["blind_ms"] for loss in ended.losses)
    assert f"blind for {blind_ms / 1000:.1f} s" in ended.stderr.splitlines()[-1]


def test_a_start_is_refused_with_the_remedy() -> None:
    SWITCH.write_text("0")
    done = subprocess.run([*NETMON, "run", "--any-kernel"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "sysctl kernel.ftrace_enabled=1" in done.stderr


def test_check_names_it() -> None:
    SWITCH.write_text("0")
    done = subprocess.run([*NETMON, "check", "--any-kernel"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "sysctl kernel.ftrace_enabled=1" in done.stdout

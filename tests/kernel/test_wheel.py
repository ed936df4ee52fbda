"""The unpacked wheel, on a system whose libbpf is hidden."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.sockets import refused_connection
from tests.support.waiting import DEADLINE

HIDING = (
    *("unshare", "--mount", "sh", "-c"),
    'mount --bind /dev/null /usr/lib/*/libbpf.so.1 && exec "$0" "$@"',
)
NETMON = [*HIDING, sys.executable, "-m", "netmon"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": "/opt/netmon/wheel"}


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NETMON, "check", "--any-kernel"],
        env={**ENVIRONMENT, **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


@pytest.mark.once
def test_it_needs_only_the_bundled_libbpf() -> None:
    done = check()
    assert "ok   libbpf: version 1.5, bundled with netmon" in done.stdout
    assert done.returncode == 0, done.stdout


@pytest.mark.once
def test_the_systems_libbpf_is_hidden() -> None:
    done = check(NETMON_LIBBPF="system")
    assert "FAIL libbpf: not usable" in done.stdout
    assert done.returncode == 1


@pytest.mark.core
def test_it_reports_events() -> None:
    netmon = subprocess.Popen(
        [*NETMON, "run", "--any-kernel"],
        env=ENVIRONMENT,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert netmon.stderr is not None
    assert netmon.stderr.readline() == "netmon: ready\n"
    cookie = refused_connection()
    netmon.terminate()
    out, err = netmon.communicate(timeout=DEADLINE)
    assert netmon.returncode == 0, err
    events = [json.loads(line)["network_event"] for line in out.splitlines()]
    assert [event["type"] for event in events if event["cookie"] == cookie] == [
        "TcpConnectionEstablish",
        "TcpConnectionClose",
    ]

"""`netmon run --record`: what is recorded in a confined process gives the same JSON again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import netmon
from netmon import NetworkEvent
from tests.support.netmon_command import Netmon
from tests.support.sockets import refused_connection

REPORTS = ("--outcome", "--statistics", "--opener", "--parent", "--context")


@pytest.mark.once
def test_a_replay_writes_the_json_that_the_run_wrote(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    with Netmon(*REPORTS, "--record", str(path)) as run:
        cookie = refused_connection()
        subprocess.run(["bash", "-c", "echo >/dev/tcp/::1/1"], stderr=subprocess.DEVNULL)
        ended = run.stop()
    assert ended.returncode == 0
    replay = [sys.executable, "-m", "netmon", "replay", str(path)]
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    os.chown(path, 65534, 65534)
    again = subprocess.run(replay, capture_output=True, **nobody)  # type: ignore[call-overload]
    assert again.stdout == ended.stdout
    assert again.stderr.decode() == ended.stderr.removeprefix("netmon: ready\n")
    cookies = [event.network_event.cookie for event in netmon.replay(path) if isinstance(event, NetworkEvent)]
    assert cookies.count(cookie) == 1 and len(cookies) >= 2

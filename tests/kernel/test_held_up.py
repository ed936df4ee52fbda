"""Processes that could hold netmon up."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.held_process import held_process, load_fuse
from tests.support.json_events import types_of
from tests.support.netmon_command import Netmon


def test_a_process_that_holds_up_reads_of_its_arguments_holds_up_nothing_else(
    port: str, tmp_path: Path, modules: None
) -> None:
    """Without the arguments, all is reported, and netmon ends as asked."""
    load_fuse()
    with held_process(tmp_path, port) as held, Netmon("--parent") as netmon:
        with netmon.watch() as seen:
            held.connect()
        asked = time.monotonic()
        ended = netmon.stop()
        assert time.monotonic() - asked < 10
    mine = [event for event in seen if event["process"]["ppid"] == held.pid]
    assert types_of(mine) == ["Establish", "Close"]
    assert {(event["parent"]["pid"], event["parent"]["args"]) for event in mine} == {(held.pid, "")}
    assert ended.returncode == 0
    assert ", 0 lost" in ended.stderr
    assert "args incomplete" in ended.stderr

"""Which processes run, as /proc has it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from netmon.kernel import running as module
from netmon.kernel.procfs import Status
from netmon.kernel.running import MOST, Running, running


def test_a_process_runs_until_it_is_waited_for() -> None:
    runs = Running()
    with subprocess.Popen(["sleep", "100"]) as process:
        assert runs(process.pid, "then")
        process.kill()
        process.wait()
        assert not runs(process.pid, "then")
    assert runs(os.getpid(), "now")


def test_an_id_that_is_used_again_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, starts = Running(), iter([5, 5, 6])
    monkeypatch.setattr(module, "read_status", lambda pid: Status("x", 1, next(starts)))
    assert [runs(7, "then") for _ in range(3)] == [True, True, False]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Running()
    monkeypatch.setattr(module, "read_status", lambda pid: Status("x", 1, 5))
    assert all(runs(pid, "then") for pid in range(2 * MOST + 3))
    assert len(runs._starts) <= MOST


def test_where_proc_has_other_ids_or_hides_some_nothing_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def hide(_pid: int) -> Status:
        raise FileNotFoundError

    own = Path("/proc/self/ns/pid").stat().st_ino
    monkeypatch.setattr(module, "INITIAL_PID_NAMESPACE", own)
    assert isinstance(running(), Running)
    monkeypatch.setattr(module, "read_status", hide)
    assert running() is None
    monkeypatch.undo()
    monkeypatch.setattr(module, "INITIAL_PID_NAMESPACE", own + 1)
    assert running() is None

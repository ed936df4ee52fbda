"""Asking for names: once a container, and once more a moment later."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from netmon.kernel import held_up, workload_reader
from netmon.kernel.runtime_files import RuntimeFiles
from netmon.kernel.workload_reader import MAX_WAITING, MOMENT, WorkloadReader
from tests.support import runtimes
from tests.support.waiting import wait_until

ID = "0123456789abcdef" * 4


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that the test sets: so waiting costs nothing, however slow this machine is."""
    now = SimpleNamespace(now=0.0)
    for module in (held_up, workload_reader):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.now))
    return now


def test_a_container_is_found(tmp_path: Path, clock: SimpleNamespace) -> None:
    expected = runtimes.crio(tmp_path, ID)
    reader = WorkloadReader(str(tmp_path))
    wait_until(lambda: reader.container(ID) == expected)


def test_what_is_not_there_yet_is_looked_for_once_more(tmp_path: Path, clock: SimpleNamespace) -> None:
    reader = WorkloadReader(str(tmp_path))
    wait_until(lambda: reader.container(ID) == {})
    expected = runtimes.kubelet(tmp_path, ID)
    clock.now += MOMENT / 2
    assert reader.container_again(ID) is None
    clock.now += MOMENT
    wait_until(lambda: reader.container_again(ID) == expected)


def test_a_container_that_stays_unknown_has_no_names(tmp_path: Path, clock: SimpleNamespace) -> None:
    reader = WorkloadReader(str(tmp_path))
    wait_until(lambda: reader.container(ID) == {})
    clock.now += MOMENT
    wait_until(lambda: reader.container_again(ID) == {})


def test_containers_that_wait_are_bounded(tmp_path: Path, clock: SimpleNamespace) -> None:
    reader = WorkloadReader(str(tmp_path))
    for number in range(2 * MAX_WAITING):
        reader.container(f"{number:064x}")
        assert len(reader._due) <= MAX_WAITING


def test_a_file_system_that_does_not_answer_is_waited_for_until_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never, held = os.pipe()
    monkeypatch.setattr(RuntimeFiles, "names", lambda *_: os.read(never, 1))
    reader = WorkloadReader(str(tmp_path))
    try:
        assert reader.container(ID) is None
    finally:
        os.close(held)


def test_users_are_those_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("alice:x:1000:1000::/:\n")
    reader = WorkloadReader(str(tmp_path))
    assert [reader.user(1000), reader.user(7)] == ["alice", None]

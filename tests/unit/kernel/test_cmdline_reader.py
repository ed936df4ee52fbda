"""Reading the arguments of processes that hold the read up, for a while or for ever."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from netmon.kernel import cmdline_reader, held_up
from netmon.kernel.cmdline_reader import CmdlineReader
from netmon.kernel.held_up import BUDGET, DEADLINE, MAX_HELD_UP
from tests.support.waiting import wait_until

LIMIT = 30.0  # seconds, within which a thread that may run does run
ANSWER = b"curl\0-s\0"


class Procfs:
    """Takes the place of /proc: processes with an odd id hold up a read until they are released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked: list[tuple[int, int, str, bytes, int]] = []
        self.threads: set[int] = set()
        self.ended = 0

    def read_cmdline(self, *question: int | str | bytes) -> bytes:
        self.asked.append(question)  # type: ignore[arg-type]
        self.threads.add(threading.get_native_id())
        if self.asked[-1][0] % 2:
            assert self.released.wait(LIMIT)
        self.ended += 1
        return ANSWER


@pytest.fixture
def procfs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Procfs]:
    made = Procfs()
    monkeypatch.setattr(cmdline_reader, "read_cmdline", made.read_cmdline)
    yield made
    made.released.set()
    wait_until(lambda: made.ended == len(made.asked))


@pytest.fixture
def no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting costs nothing, however slow this machine is."""
    monkeypatch.setattr(held_up, "time", SimpleNamespace(monotonic=lambda: 0.0))


def read(reader: CmdlineReader, pid: int) -> bytes | None:
    return reader.read(pid, 5, "/usr/bin/curl", b"curl")


def wait_for_answer(reader: CmdlineReader, pid: int) -> None:
    """Read until there is an answer: on a busy machine a thread may begin to run after the deadline."""
    wait_until(lambda: read(reader, pid) == ANSWER)


def test_a_thread_of_its_own_reads_and_ends(procfs: Procfs) -> None:
    reader = CmdlineReader(7)
    wait_for_answer(reader, 42)
    assert set(procfs.asked) == {(42, 5, "/usr/bin/curl", b"curl", 7)}
    assert threading.get_native_id() not in procfs.threads
    wait_until(lambda: not any(Path(f"/proc/self/task/{thread}").exists() for thread in procfs.threads))


def test_a_process_that_holds_up_the_read_is_waited_for_until_the_deadline(procfs: Procfs) -> None:
    reader = CmdlineReader(0)
    began = time.monotonic()
    assert read(reader, 41) is None
    assert DEADLINE <= time.monotonic() - began < LIMIT / 2
    wait_for_answer(reader, 42)


def test_a_process_that_holds_up_a_read_is_not_asked_again(procfs: Procfs, no_budget: None) -> None:
    reader = CmdlineReader(0)
    for _ in range(10):
        assert read(reader, 41) is None
    assert len(procfs.asked) == 1
    procfs.released.set()
    wait_for_answer(reader, 41)


def test_many_processes_that_hold_up_reads_hold_up_few_threads(procfs: Procfs, no_budget: None) -> None:
    reader = CmdlineReader(0)
    for pid in range(1, 100, 2):
        assert read(reader, pid) is None
    assert len(procfs.asked) == MAX_HELD_UP
    assert read(reader, 42) is None
    procfs.released.set()
    wait_for_answer(reader, 42)


def test_waiting_has_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although each process answers in the end, some time after the deadline."""
    now = 0.0

    def answer_slowly(*_question: object) -> bytes:
        nonlocal now
        now += DEADLINE / 2
        return ANSWER

    monkeypatch.setattr(cmdline_reader, "read_cmdline", answer_slowly)
    monkeypatch.setattr(held_up, "time", SimpleNamespace(monotonic=lambda: now))
    reader = CmdlineReader(0)
    answers = 0
    while read(reader, answers) is not None:
        answers += 1
    assert now <= BUDGET * 1.2
    began, asked = now, answers
    while now < began + 100:
        answers += read(reader, answers) is not None
        now += 0.01
    assert (answers - asked) * DEADLINE / 2 <= 0.11 * (now - began)


def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch, procfs: Procfs) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    reader = CmdlineReader(0)
    with monkeypatch.context() as patch:
        patch.setattr(held_up, "_start_new_thread", refuse)
        assert read(reader, 42) is None
    wait_for_answer(reader, 42)


def test_a_thread_that_is_held_up_does_not_keep_the_process_from_ending() -> None:
    script = (
        "import os\n"
        "from netmon.kernel import cmdline_reader\n"
        "never, _ = os.pipe()\n"
        "cmdline_reader.read_cmdline = lambda *_: os.read(never, 1)\n"
        "print(cmdline_reader.CmdlineReader(0).read(1, 1, '', b''))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LIMIT)
    assert (done.stdout, done.stderr, done.returncode) == ("None\n", "", 0)

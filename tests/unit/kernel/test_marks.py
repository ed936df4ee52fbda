"""Which processes are followed: what /proc and pidfds say of them. tests/kernel/test_follow.py sets marks."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from netmon.errors import ConfigError
from netmon.kernel.marks import Marks, descendants_of, has_ended
from netmon.kernel.procfs import list_processes, read_status


def test_descendants_are_found_through_any_number_of_generations() -> None:
    parents = {1: 0, 2: 1, 3: 2, 4: 3, 5: 1, 6: 99}
    assert descendants_of([2], parents) == {2, 3, 4}
    assert descendants_of([3, 5], parents) == {3, 4, 5}
    assert descendants_of([6, 7], parents) == {6, 7}
    assert descendants_of([1], {1: 1}) == {1}  # a number that is its own parent ends nothing


def test_a_status_has_the_parent_whatever_the_name() -> None:
    script = "printf 'a) S (b' >/proc/self/comm; echo; read"
    child = subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout and child.stdout.read(1)
    status = read_status(child.pid)
    assert (status.name, status.ppid) == ("a) S (b", os.getpid())
    assert list_processes()[child.pid] == status
    child.communicate()


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["bash", "-c", "read"], stdin=subprocess.PIPE)
    pidfd = os.pidfd_open(child.pid)
    assert not has_ended(pidfd)
    assert child.stdin
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert has_ended(pidfd)
    child.wait()
    os.close(pidfd)


def test_an_ended_process_and_a_thread_are_refused() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(ConfigError, match=f"^process_filter.pid: {ended.pid} is not running; give the id of a process"):
        Marks(-1).follow([ended.pid], [])
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    with pytest.raises(ConfigError, match=f"^process_filter.descendants: {thread.native_id} is a thread; give the id"):
        Marks(-1).follow([], [thread.native_id or 0])

"""netmon in a program that gevent or eventlet has patched."""

from __future__ import annotations

import _thread
import select
import subprocess
import sys
from types import ModuleType

import pytest

from netmon.unpatched import unpatched

# What gevent.monkey.patch_all() does to these modules: it removes what it has no replacement for.
PATCH = """
import _thread, select
allocate_lock = _thread.allocate_lock
def replacement(*_): raise AssertionError("replaced")
class Lock:
    def __init__(self): self.lock = allocate_lock()
    def acquire(self, blocking=True, timeout=-1): return self.lock.acquire(blocking) if timeout < 0 else replacement()
    def release(self): self.lock.release()
    def __enter__(self): self.acquire()
    def __exit__(self, *_): self.release()
for name in ("epoll", "kqueue", "devpoll"):
    vars(select).pop(name, None)
select.poll = select.select = replacement
_thread.start_new_thread, _thread.allocate_lock = replacement, Lock
"""
USE = """
import os
from netmon.kernel.cmdline_reader import CmdlineReader
from netmon.reader.wakeup import Wakeup
wakeup = Wakeup(os.eventfd(0), lambda: None)
assert not wakeup.wait(0.01)
wakeup.pause(0.01)
wakeup.wake()
assert wakeup.wait(None)
stat = open("/proc/self/stat").read().rpartition(")")[2].split()
start_ns = int(stat[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
expected = open("/proc/self/cmdline", "rb").read()
question = os.getpid(), start_ns, os.readlink("/proc/self/exe"), b""
reader = CmdlineReader(0)
assert any(reader.read(*question) == expected for _ in range(8))  # the thread may begin to run after the deadline
"""
IMPORT = "import netmon.kernel.cmdline_reader, netmon.reader.wakeup"


@pytest.mark.parametrize("script", [PATCH + USE, IMPORT + PATCH + USE], ids=["before the import", "after it"])
def test_reading_works_in_a_patched_program(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    assert done.returncode == 0


def test_what_nobody_has_patched_is_taken_as_it_is() -> None:
    assert unpatched(select, "epoll", "poll") == [select.epoll, select.poll]
    assert unpatched(_thread, "start_new_thread") == [_thread.start_new_thread]


def test_what_was_patched_is_taken_from_another_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll")
    (epoll,) = unpatched(select, "epoll")
    assert epoll.__module__ == "select"
    assert isinstance(sys.modules["select"], ModuleType)
    assert not hasattr(select, "epoll")

"""Reading /proc, about this process and its children."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netmon.errors import NetmonError
from netmon.kernel import procfs
from netmon.layout import Limit


class Sleeper:
    """A child that waits for its standard input to end."""

    def __init__(self, *arguments: str) -> None:
        script = "import sys; print(flush=True); sys.stdin.read()"
        self.child = subprocess.Popen(
            [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.child.stdout is not None
        self.child.stdout.readline()
        self.pid = self.child.pid
        self.cmdline = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        self.exe = str(Path(f"/proc/{self.pid}/exe").readlink())
        ticks = int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[19])
        self.start_ns = ticks * procfs.NSEC_PER_SEC // os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self.child.communicate()


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    made = Sleeper("two words", "", "caf\u00e9")
    yield made
    made.end()


def test_the_last_capability_is_not_below_any_in_use() -> None:
    last = procfs.read_last_cap()
    assert int(Path("/proc/self/status").read_text().partition("CapBnd:\t")[2][:16], 16) < 1 << last + 1


def test_a_host_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(procfs, "LAST_CAP", tmp_path / "cap_last_cap")
    with pytest.raises(NetmonError, match=r"cap_last_cap cannot be read \(No such file or directory\): mount /proc"):
        procfs.read_last_cap()


def test_no_offset_without_a_time_namespace() -> None:
    assert procfs.read_boot_offset() == 0


@pytest.mark.parametrize(
    ("line", "offset"),
    [
        ("boottime       100000         0", 100_000_000_000_000),
        ("boottime           -2 500000000", -1_500_000_000),
    ],
)
def test_the_offset_of_a_time_namespace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, offset: int
) -> None:
    offsets = tmp_path / "timens_offsets"
    offsets.write_text(f"monotonic           7         0\n{line}\n")
    monkeypatch.setattr(procfs, "INITIAL_TIME_NAMESPACE", 0)
    monkeypatch.setattr(procfs, "TIME_OFFSETS", offsets)
    assert procfs.read_boot_offset() == offset


def test_a_kernel_without_time_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(procfs, "TIME_NAMESPACE", tmp_path / "time")
    assert procfs.read_boot_offset() == 0


def test_a_time_namespace_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(procfs, "INITIAL_TIME_NAMESPACE", 0)
    monkeypatch.setattr(procfs, "TIME_OFFSETS", tmp_path)
    with pytest.raises(NetmonError, match=r"time namespace cannot be read \(Is a directory\): mount /proc"):
        procfs.read_boot_offset()


@pytest.mark.parametrize("part_of_a_tick", [0, 9_999_999])
def test_arguments_of_a_running_process(sleeper: Sleeper, part_of_a_tick: int) -> None:
    start_ns = sleeper.start_ns + part_of_a_tick
    assert procfs.read_cmdline(sleeper.pid, start_ns, sleeper.exe, b"other", 0) == sleeper.cmdline


def test_arguments_are_read_in_a_time_namespace(sleeper: Sleeper) -> None:
    """There /proc shows a start that is later by the offset than the kernel half reports."""
    offset = 100_000 * procfs.NSEC_PER_SEC
    assert procfs.read_cmdline(sleeper.pid, sleeper.start_ns - offset, sleeper.exe, b"", offset) == sleeper.cmdline


def test_another_process_with_the_same_pid(sleeper: Sleeper) -> None:
    for wrong in (-10_000_000, 10_000_000):
        assert procfs.read_cmdline(sleeper.pid, sleeper.start_ns + wrong, sleeper.exe, b"other", 0) is None


def test_a_process_that_has_execed(sleeper: Sleeper) -> None:
    assert procfs.read_cmdline(sleeper.pid, sleeper.start_ns, "/bin/other", b"other", 0) is None


def test_another_users_process_is_compared_by_name(monkeypatch: pytest.MonkeyPatch, sleeper: Sleeper) -> None:
    def refuse(path: bytes) -> str:
        raise PermissionError(path)

    monkeypatch.setattr(os, "readlink", refuse)
    comm = Path(f"/proc/{sleeper.pid}/comm").read_bytes().rstrip(b"\n")
    assert procfs.read_cmdline(sleeper.pid, sleeper.start_ns, "/bin/any", comm, 0) == sleeper.cmdline
    assert procfs.read_cmdline(sleeper.pid, sleeper.start_ns, "/bin/any", b"other", 0) is None


def test_a_process_that_has_ended() -> None:
    sleeper = Sleeper()
    sleeper.end()
    assert procfs.read_cmdline(sleeper.pid, sleeper.start_ns, sleeper.exe, b"other", 0) is None


def test_long_arguments_are_cut() -> None:
    sleeper = Sleeper("x" * 100_000)
    cmdline = procfs.read_cmdline(sleeper.pid, sleeper.start_ns, sleeper.exe, b"other", 0)
    sleeper.end()
    assert cmdline == sleeper.cmdline[: Limit.ARGS_SIZE + 1]

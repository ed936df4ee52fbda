"""Reads a monitor's processor time, its memory and the runs of its BPF programs from the kernel."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
STATISTICS = PROC / "sys/kernel/bpf_stats_enabled"
TICKS = os.sysconf("SC_CLK_TCK")


def _stat(directory: Path) -> list[str]:
    """Return the fields of /proc/PID/stat after the command, from the state on."""
    return (directory / "stat").read_text().rpartition(")")[2].split()


def session_of(leader: int) -> list[Path]:
    """Return the /proc directories of the processes of a session."""
    found = []
    for directory in PROC.glob("[0-9]*"):
        try:
            if _stat(directory)[3] == str(leader):
                found.append(directory)
        except OSError:  # it has ended
            continue
    return found


def cpu_seconds(leader: int) -> float:
    """Return the processor seconds of a session, including those of its processes' ended children."""
    return sum(sum(map(int, _stat(directory)[11:15])) for directory in session_of(leader)) / TICKS


def cpu_nanoseconds(leader: int) -> int:
    """Return the processor time of the threads of a session that have not ended; finer than cpu_seconds()."""
    threads = [thread for directory in session_of(leader) for thread in (directory / "task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)


@dataclass(frozen=True)
class Memory:
    """A session's memory, in MB."""

    pss: float
    rss: float
    peak: float


def memory(leader: int) -> Memory:
    """Return a session's memory, and its peak."""
    totals = dict.fromkeys(("Pss", "Rss", "VmHWM"), 0)
    for directory in session_of(leader):
        text = (directory / "smaps_rollup").read_text() + (directory / "status").read_text()
        for key in totals:
            match = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
            totals[key] += int(match[1]) if match else 0
    return Memory(*(total / 1024 for total in totals.values()))


@dataclass(frozen=True)
class KernelMemory:
    """What a process has in the kernel: MB of BPF maps, their number, and that of its file descriptors."""

    maps_mb: float
    maps: int
    descriptors: int


def kernel_memory(pid: int) -> KernelMemory:
    """Return what a process has in the kernel. Linux 6.4 and newer count what maps use, older ones what they may."""
    sizes: dict[str, int] = {}
    descriptors = list((PROC / f"{pid}/fdinfo").iterdir())
    for descriptor in descriptors:
        values = dict(re.findall(r"^(map_id|memlock):\s+(\d+)", descriptor.read_text(), re.MULTILINE))
        if len(values) == 2:  # links of iterators name a map, too
            sizes[values["map_id"]] = int(values["memlock"])
    return KernelMemory(sum(sizes.values()) / 1e6, len(sizes), len(descriptors))


@dataclass(frozen=True)
class Runs:
    """The runs of BPF programs while the statistics were on."""

    nanoseconds: int
    count: int

    def __sub__(self, other: Runs) -> Runs:
        return Runs(self.nanoseconds - other.nanoseconds, self.count - other.count)


NONE = Runs(0, 0)


def total(runs: Mapping[str, Runs]) -> Runs:
    """Return the sum over programs."""
    return Runs(sum(each.nanoseconds for each in runs.values()), sum(each.count for each in runs.values()))


def count_runs(on: bool) -> None:
    """Turn the statistics of BPF programs' runs on or off; they slow the programs down."""
    STATISTICS.write_text(f"{on:d}")


libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)


def program_ids() -> set[int]:
    """Return the ids of all BPF programs."""
    ids = set()
    current = ctypes.c_uint32(0)
    while libbpf.bpf_prog_get_next_id(current, ctypes.byref(current)) == 0:
        ids.add(current.value)
    return ids


def runs_of(programs: Iterable[int]) -> dict[str, Runs]:
    """Return the runs of programs by their names, as the kernel keeps these, without those that are gone."""
    found: dict[str, Runs] = {}
    for program in programs:
        fd = libbpf.bpf_prog_get_fd_by_id(program)
        if fd < 0:
            continue
        info = ProgramInfo()
        libbpf.bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(ctypes.c_uint32(ctypes.sizeof(info))))
        text = (PROC / f"self/fdinfo/{fd}").read_text()
        os.close(fd)
        nanoseconds, count = (int(re.findall(rf"^{key}:\s+(\d+)", text, re.MULTILINE)[0]) for key in KEYS)
        found[f"{info.name.decode()}.{program}"] = Runs(nanoseconds, count)
    return found


class ProgramInfo(ctypes.Structure):
    """The beginning of struct bpf_prog_info, up to the name."""

    _fields_ = (("before", ctypes.c_uint8 * 64), ("name", ctypes.c_char * 16))


KEYS = ("run_time_ns", "run_cnt")

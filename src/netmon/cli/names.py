"""Names of programs as people type them: links, scripts, and what runs under them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from netmon.errors import shown

COMM_SIZE = 15  # bytes of a process's name that the kernel keeps
MAX_PIDS = 3  # that a notice names


def find_program(name: str) -> str | None:
    """Return the path of a program in PATH; None if there is none."""
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory, name)
        if directory and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def with_link_targets(names: Sequence[str]) -> list[str]:
    """Return names, and the file names of the programs that they link to: python3.11 for python3.

    Only a target whose name has the link's in it counts: others, like busybox, run under many names. For those the
    process's own name is compared, which is the one that it was called by.
    """
    return list(dict.fromkeys([*names, *(target for name in names if name in (target := _target(name)))]))


@cache  # at a reload netmon may no longer look for files
def _target(name: str) -> str:
    """Return the file name of the program that a name stands for; the name, if there is none."""
    path = find_program(name) if "/" not in name else None
    return os.path.basename(os.path.realpath(path)) if path else name


class Running(NamedTuple):
    """A process that runs.

    Attributes:
        executable: Its file name; "" if it cannot be read.
        words: The file names in its first arguments.
    """

    pid: int
    comm: str
    executable: str
    words: tuple[str, ...]


def running(root: str = "/proc") -> Iterator[Running]:
    """Yield the processes that run, as far as they can be read."""
    for entry in os.listdir(root):
        if entry.isdigit():
            try:
                comm = _read(f"{root}/{entry}/comm").rstrip("\n")
                words = _read(f"{root}/{entry}/cmdline").split("\0")[:3]
            except OSError:  # it has ended
                continue
            try:
                executable = os.path.basename(os.readlink(f"{root}/{entry}/exe"))
            except OSError:  # a kernel thread, or another user's
                executable = ""
            yield Running(int(entry), comm, executable, tuple(map(os.path.basename, words)))


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(4096)


def notices(names: Iterable[str], processes: Sequence[Running]) -> list[str]:
    """Return for each name that may match nothing why that is so, and what to do; nothing for the others.

    Args:
        names: As given to --name.
        processes: What runs.
    """
    return [f"--name {shown(name)}: {notice}" for name in names if (notice := _notice(name, processes))]


def _notice(name: str, processes: Sequence[Running]) -> str:
    executables, comm = {*with_link_targets([name])}, name.encode()[:COMM_SIZE].decode(errors="replace")
    if any(process.executable in executables or process.comm == comm for process in processes):
        return ""
    if as_script := [process for process in processes if name in process.words[1:]]:
        called = shown(as_script[0].executable or as_script[0].comm)
        pids = ",".join(str(process.pid) for process in as_script[:MAX_PIDS])
        return f"it runs as a script of {called}, by whose name alone its processes can match; --pid {pids} follows it"
    path = find_program(name) if "/" not in name else None
    if path is None:
        return "nothing that runs, and no program in PATH, has this name; it is compared with `filename` of events"
    if interpreter := _env_interpreter(path):
        return (
            f"{shown(path)} is a script, whose processes are called {shown(interpreter)}; to see the connections of "
            f"this script alone: netmon exec -- {shown(name)}"
        )
    return ""


def _env_interpreter(path: str) -> str:
    """Return the interpreter that env starts for a script, under the interpreter's name; "" for other programs."""
    try:
        first = _read(path).partition("\n")[0]
    except OSError:
        return ""
    match = re.match(r"#!\s*\S*/env\s+(?:-S\s*)?(?:\S+=\S*\s+)*([^\s=-]\S*)", first)
    return match[1] if match else ""

"""What any user can do to netmon: programs of uid 1000 that do it until they are ended, each in a cgroup of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.support.netmon_command import PROGRAMS
from tests.support.waiting import wait_until

CGROUPS = Path("/sys/fs/cgroup")
UID = 1000

# An emoji makes Python take four bytes for each character, and each \x01 is six characters of JSON.
HUGE_ARGUMENT = "\U0001f600" + "\x01" * (120 << 10)
# What terminals, pagers, browsers and line-wise readers take for more than text.
HOSTILE_ARGUMENT = (
    "\x1b]0;title\x07 \x9b8m \x7f \u202e \u2066 \u2028 \u2029 \u0085 \u200b \U000e0041\nnetmon: 1 events, 0 lost"
)


@contextmanager
def attacking(kind: str, *arguments: str, cgroup: str | None = None) -> Iterator[None]:
    """Run tests/programs/attack.c. cgroup: its path, which is created; None: this process's."""
    with ExitStack() as cleanup:
        command: Sequence[str | Path] = [PROGRAMS / "attack", kind, *arguments]
        if cgroup is not None:
            directory = cleanup.enter_context(cgroup_at(cgroup))
            # "exec" alone, not dash's own name: $0 and "$@" are the command's.
            command = ["sh", "-c", f'echo 0 > {directory}/cgroup.procs; exec "$0" "$@"', *command]
        attacker = cleanup.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        cleanup.callback(attacker.kill)
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == "begun\n"
        yield


@contextmanager
def cgroup_at(path: str) -> Iterator[Path]:
    """Create a cgroup; at the end remove it, once it is empty, and those above it that are empty then."""
    directory = CGROUPS / path.lstrip("/")
    directory.mkdir(parents=True, exist_ok=True)
    try:
        yield directory
    finally:
        (directory / "cgroup.kill").write_text("1")  # what the program has left there
        wait_until(lambda: "populated 0" in (directory / "cgroup.events").read_text(), f"{path} is empty")
        directory.rmdir()
        with suppress(OSError):  # not empty, or not a cgroup any more
            os.removedirs(directory.parent)

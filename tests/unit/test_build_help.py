"""`build.py run --help` and `build.py shell --help` print help, and install nothing for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("command", "words"),
    [("run", ("usage: netmon run", "--peer CIDR", "--seconds N")), ("shell", ("usage: build.py", "--kernel"))],
)
def test_help_comes_at_once(command: str, words: tuple[str, ...]) -> None:
    # With the standard library alone: as on a machine that has only Python.
    program = [sys.executable, "-E", "-S", str(ROOT / "build.py"), command, "--help"]
    done = subprocess.run(program, capture_output=True, text=True, env={"PATH": "/nonexistent"})
    assert (done.returncode, done.stderr) == (0, "")
    assert all(word in done.stdout for word in words)

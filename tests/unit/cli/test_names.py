"""Names of programs as people type them: links, scripts, and what runs under them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netmon.cli import names
from netmon.cli.names import Running, find_program, notices, running, with_link_targets
from tests.support.waiting import wait_until

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that puts a program into the only directory of PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}/none:{tmp_path}")
    names._target.cache_clear()

    def install(name: str, text: str = "\x7fELF", link_to: str | None = None) -> Path:
        path = tmp_path / name
        if link_to is not None:
            path.symlink_to(link_to)
        else:
            path.write_text(text)
            path.chmod(0o755)
        return path

    return install


def test_a_link_is_its_target_if_that_has_its_name(install: Install) -> None:
    install("python3.11")
    install("python3", link_to="python3.11")
    install("python", link_to="python3")
    install("busybox")
    install("wget", link_to="busybox")
    assert with_link_targets(["python3", "wget", "absent"]) == ["python3", "wget", "absent", "python3.11"]
    assert with_link_targets(["python", "python3.11"]) == ["python", "python3.11"]


def test_what_is_no_program_is_not_found(install: Install, tmp_path: Path) -> None:
    install("data").chmod(0o644)
    (tmp_path / "directory").mkdir()
    assert find_program("data") is find_program("directory") is find_program("absent") is None
    assert find_program("x" * 300) is None


def process(pid: int = 7, comm: str = "python3", executable: str = "python3.11", *words: str) -> Running:
    return Running(pid, comm, executable, ("python3", *words))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nc", ""),
        ("python3", ""),
        ("direct", ""),  # its process is called so
        ("running-script", ""),  # the kernel keeps 15 bytes, but it is called by a longer name
        (
            "tool",
            "tool: {tool} is a script, whose processes are called python3; to see the connections of this script ",
        ),
        (
            "served",
            "served: it runs as a script of python3.11, by whose name alone its processes can match; --pid 8,9 ",
        ),
        ("absent", "absent: nothing that runs, and no program in PATH, has this name; it is compared with `filename` "),
        ("a\x1b", "'a\\x1b': nothing that runs, and no program in PATH, has this name"),
    ],
)
def test_notices(name: str, expected: str, install: Install) -> None:
    install("nc.openbsd")
    install("nc", link_to="nc.openbsd")
    install("direct", "#!/usr/bin/python3\n")
    install("served", "#!/usr/bin/env -S python3 -u\n")
    tool = install("tool", "#!/usr/bin/env A=1 python3\n")
    processes = [
        process(),
        process(8, "python3", "python3.11", "served"),
        process(9, "python3", "", "served", "x"),
        process(10, "running-script", "bash"),
    ]
    found = notices([name], processes)
    assert [notice.startswith(f"--name {expected.format(tool=tool)}") for notice in found] == [True] * bool(expected)


def test_what_runs_is_read_from_proc(tmp_path: Path) -> None:
    script = tmp_path / "mytool"
    script.write_text("import sys; sys.stdin.read()")
    with subprocess.Popen([sys.executable, str(script), "x"], stdin=subprocess.PIPE) as child:
        wait_until(lambda: any("mytool" in process.words for process in running()), "the script")
        (found,) = [process for process in running() if process.pid == child.pid]
        assert found.executable == Path(os.path.realpath(sys.executable)).name
        assert found.words[1:] == ("mytool", "x")

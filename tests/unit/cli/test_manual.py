"""The manual page: mandoc finds nothing wrong with it, and it tells of what there is."""

from __future__ import annotations

import re
import subprocess

import pytest

from netmon.cli.main import main
from pack.paths import MANUAL


def render(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mandoc", *options, MANUAL], capture_output=True, text=True)


def test_it_renders_without_a_warning() -> None:
    checked = render("-T", "lint", "-W", "warning")
    assert (checked.returncode, checked.stdout) == (0, "")
    assert "NETMON(1)" in render("-T", "ascii").stdout


def test_it_names_each_command_and_no_flag_that_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    page = MANUAL.read_text()
    main(["--help"])
    commands = re.findall(r"^    (\w+)  ", capsys.readouterr().out, re.MULTILINE)
    assert commands == re.findall(r"^\.It Cm (\w+)$", page, re.MULTILINE)
    main(["run", "--help"])
    flags = {*re.findall(r"--([\w-]+)", capsys.readouterr().out), "version"}
    named = {flag for line in re.findall(r"\bFl (.*)", page) for flag in re.findall(r"-([a-z-]+)", line)}
    assert "src-ip" in named
    assert named - flags == set()

"""The manual page: mandoc accepts it, and it has the commands and the flags that exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable

import pytest

from netmon.cli.main import main
from netmon.limits import DEFAULT_BATCH_DELAY, DEFAULT_LINE_LIMIT, DEFAULT_RING_SIZE, MAX_LINE_LIMIT
from netmon.report import OPTIONS
from pack.paths import MANUAL


def render(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mandoc", *options, MANUAL], capture_output=True, text=True)


def test_it_renders_without_a_warning() -> None:
    checked = render("-T", "lint", "-W", "warning")
    assert (checked.returncode, checked.stdout) == (0, "")
    assert "NETMON(1)" in render("-T", "ascii").stdout


@pytest.fixture
def page() -> str:
    return MANUAL.read_text()


def help_of(*command: str, capsys: pytest.CaptureFixture[str]) -> str:
    main([*command, "--help"])
    return capsys.readouterr().out


def test_it_has_each_command(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^    (\w+)  ", help_of(capsys=capsys), re.MULTILINE)
    assert commands == re.findall(r"^\.It Cm (\w+)$", page, re.MULTILINE)


def flags_of_help(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Return the flags that the entries of the command's help texts begin with."""
    texts = [
        help_of(*command, capsys=capsys)
        for command in (
            [],
            ["run"],
            ["exec"],
            ["ls"],
            ["top"],
            ["learn"],
            ["replay"],
            ["status"],
            ["reload"],
            ["metrics"],
            ["forward"],
            ["check"],
            ["validate"],
            ["schema"],
            ["help"],
        )
    ]
    entries = re.findall(r"^  (-\S.*?)(?:  .*)?$", "\n".join(texts), re.MULTILINE)
    return {*re.findall(r"--[\w-]+", "\n".join(entries))}


def flags_in(lines: Iterable[str]) -> set[str]:
    """Return the flags that mdoc's macro Fl marks up."""
    return {f"-{flag}" for line in lines for flag in re.findall(r"(?<=[ ])-[a-z-]+\d?", line)}


def test_each_flag_of_the_command_has_an_entry(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    entries = flags_in(re.findall(r"^\.It Fl.*", page, re.MULTILINE))
    flags = flags_of_help(capsys)
    assert {"--src-ip", "--any-kernel", *(f"--{name}" for name in OPTIONS)} <= entries
    assert flags - entries == {"--help", "--version"}
    assert entries - flags == set()


def test_each_flag_that_it_mentions_exists(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    mentioned = flags_in(re.findall(r"\bFl .*", page))
    mentioned |= {*re.findall(r"--[a-z-]+", "\n".join(re.findall(r"^\.Dl (netmon .*)", page, re.MULTILINE)))}
    assert "--aggregate" in mentioned
    assert mentioned - flags_of_help(capsys) == set()


@pytest.mark.parametrize("name", OPTIONS)
def test_it_describes_report_options_as_the_help_does(name: str, page: str) -> None:
    heading = "not with\n.Fl -aggregate :\n"
    if OPTIONS[name].with_aggregate:
        heading = "and in aggregates:\n"
    (entries,) = re.findall(rf"{re.escape(heading)}\.Bl.*\n((?:(?!\.El).*\n)*)", page)
    (entry,) = re.findall(rf"^\.It Fl -{name}\n((?:[^.].*\n)+)", entries, re.MULTILINE)
    sentence = " ".join(entry.split())
    assert sentence == f"{OPTIONS[name].help[0].upper()}{OPTIONS[name].help[1:]}."


def test_it_has_the_defaults(page: str) -> None:
    assert f"default: {DEFAULT_RING_SIZE >> 20}M" in page
    assert f"default: {DEFAULT_BATCH_DELAY * 1000:.0f}ms" in page
    assert f"default: {DEFAULT_LINE_LIMIT >> 10}K; at most {MAX_LINE_LIMIT >> 10}K" in page

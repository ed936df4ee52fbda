"""Exit codes, and what is reported when something fails: in processes of their own, over real files and pipes."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from netmon import errors
from netmon.cli import console, validate
from netmon.cli.main import _flags_of_commands, main, make_parser
from netmon.cli.mistakes import SYNONYMS
from netmon.command import EXIT_NOT_STARTED

NETMON = (sys.executable, "-m", "netmon")
# More descriptors than the interpreter itself has open, but not one more than these.
WITHOUT_DESCRIPTORS = """
import os, resource, sys
from netmon.cli.main import main, make_parser
free = os.open("/dev/null", os.O_RDONLY)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_standard_output_is_named() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*NETMON, "schema", "event"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "netmon: standard output: No space left on device\n")


@pytest.mark.parametrize("arguments", [["schema", "event"], ["run", "--help"], ["check"]])
def test_a_reader_that_has_gone_ends_it_quietly(arguments: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([*NETMON, *arguments], stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["schema", "event"], 0), (["validate", "/dev/null"], 2), (["run", "--help"], 0), (["run", "--nonsense"], 2)],
)
def test_a_terminal_that_has_gone_does_not_change_the_exit_code(arguments: list[str], code: int) -> None:
    """Python fails to flush standard error then, and would exit with 120."""
    master, terminal = pty.openpty()
    os.close(master)
    done = subprocess.run([*NETMON, *arguments], stdout=subprocess.DEVNULL, stderr=terminal)
    os.close(terminal)
    assert done.returncode == code


def test_messages_that_standard_error_does_not_take_are_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its reader is stuck."""
    monkeypatch.setattr(console, "SAY_LIMIT", 0.1)
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 4096)
    os.set_blocking(write_end, True)
    with open(write_end, "w") as stuck:
        monkeypatch.setattr(sys, "stderr", stuck)
        assert main(["validate", str(tmp_path / "none")]) == 2
    os.close(read_end)


@pytest.mark.parametrize("arguments", [["schema", "event"], ["schema", "config"], ["validate", "/dev/null"], ["check"]])
def test_an_error_that_is_not_of_standard_output_names_what_failed(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DESCRIPTORS, *arguments], capture_output=True, text=True, cwd=Path("/")
    )
    assert done.returncode == 1
    name, _, reason = done.stderr.removeprefix("netmon: ").rpartition(": ")
    assert name.startswith("/")
    assert reason == "Too many open files\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(12, "Cannot allocate memory"), 1, "netmon: Cannot allocate memory\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "netmon: /x: Permission denied\n"),
        (errors.BpfError(12, "look for open connections"), 1, "netmon: look for open connections: "),
        (errors.ConfigError([errors.Problem("x.yaml", None, (), None, "is empty")]), 2, "netmon: x.yaml: is empty\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, "netmon: Broken pipe\n"),  # of what is not an output
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_each_error_has_its_exit_code(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_options: object) -> int:
        raise error

    monkeypatch.setattr(validate, "validate", fail)
    assert main(["validate", "x.yaml"]) == code
    assert capsys.readouterr().err.startswith(message)


def test_without_a_command_help_with_examples_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n  netmon ") == 3
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == err


@pytest.mark.parametrize("command", ["run", "exec"])
def test_the_help_of_a_command_has_examples_that_work(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    examples = capsys.readouterr().out.partition("\nexamples:\n")[2]
    lines = [line.split("   ")[0].split() for line in examples.splitlines() if line.startswith("  netmon ")]
    assert len(lines) > 1
    for _, *arguments in lines:
        make_parser(arguments).parse_args([{"alice": "root"}.get(word, word) for word in arguments])


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("rnu", "rnu: no such command; did you mean run?"),
        ("version", "version: no such command; write netmon --version"),
        (
            "zzz",
            "zzz: no such command; the commands are run, exec, ls, top, learn, replay, status, reload, metrics, "
            "forward, check, validate, rules, schema, help",
        ),
        ("a\x1b", "'a\\x1b': no such command; the commands are "),
    ],
)
def test_an_unknown_command(command: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 2
    assert capsys.readouterr().err.startswith(f"netmon: {problem}")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["run", "--nmae", "x"], "--nmae: no such flag of netmon run; did you mean --name?"),
        (["run", "--dport", "1"], "--dport: no such flag of netmon run; did you mean --peer-port?"),
        (["ls", "--json"], "--json: no such flag of netmon ls; did you mean --format json?"),
        (["run", "-p", "1"], "-p: no such flag of netmon run; did you mean --pid?"),
        (["run", "--sort=pid"], "--sort: no such flag of netmon run; it is a flag of netmon ls and top"),
        (
            ["exec", "-p", "1"],
            "-p: no such flag of netmon exec; --pid is a flag of netmon run, ls, top, learn and replay",
        ),
        (["validate", "--zzz", "f"], "--zzz: no such flag of netmon validate; netmon validate --help lists the flags"),
    ],
)
def test_an_unknown_flag(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) in (2, EXIT_NOT_STARTED)
    assert capsys.readouterr().err == f"netmon: {problem}\n"


def test_each_synonym_means_a_flag_that_there_is() -> None:
    flags = {flag for theirs in _flags_of_commands().values() for flag in theirs}
    assert {meant.partition(" ")[0] for meant in SYNONYMS.values()} <= flags
    # Of learn and forward; elsewhere an address is meant.
    assert {*SYNONYMS} & flags == {"--from", "--to"}


@pytest.mark.parametrize("flags", [["--ring-size", "5M"], ["--nmae", "x"], ["--format", "jsn"], []])
def test_exec_ends_with_its_own_code_if_it_starts_no_command(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command may use all others."""
    assert main(["exec", *flags]) == EXIT_NOT_STARTED
    assert capsys.readouterr().err.startswith("netmon: ")


def test_validate_takes_several_files_and_standard_input(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("egress:\n  enabled: true\n")
    bad.write_text("egres:\n  enabled: true\n")
    done = subprocess.run([*NETMON, "validate", good, bad, "-"], input=good.read_text(), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"netmon: {good} is valid\nnetmon: standard input is valid\n"
        f"netmon: {bad}:1: egres: unknown key; did you mean egress?\n"
    )


def test_an_output_is_named_in_its_error() -> None:
    assert str(errors.OutputError("events.jsonl", OSError(28, "No space left on device"))) == (
        "events.jsonl: No space left on device"
    )

"""Paths of flags at which no file can be made: refused at the start, with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from netmon.cli.main import main


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere/x", "nowhere/x: there is no directory nowhere; make it, or give another path"),
        ("there", "there: is a directory; give the path of a file in it"),
        ("file/x", "file/x: file is no directory; give another path"),
        ("\x1b[2J/x", r"'\x1b[2J/x': there is no directory '\x1b[2J'; make it, or give another path"),
    ],
)
@pytest.mark.parametrize(
    ("command", "flag", "prefix", "code"),
    [
        (["run"], "--record", "", 2),
        (["top", "--once"], "--record", "", 2),
        (["exec"], "--record", "", 125),
        (["run"], "--output", "file:", 2),
        (["run"], "--output", "unix:", 2),
        (["exec"], "--output", "", 125),
        (["exec", "--report", "json"], "--output", "", 125),
    ],
)
def test_impossible_paths_are_bad_usage(
    command: list[str],
    flag: str,
    prefix: str,
    code: int,
    path: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    rest = ["--", "true"] if command[0] == "exec" else []
    assert main([*command, flag, prefix + path, *rest]) == code
    assert capfd.readouterr() == ("", f"netmon: {flag}: {message}\n")


def test_a_recording_does_not_replace_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    assert main(["run", "--record", str(link)]) == 2
    assert "link: exists already; name another file, or remove it" in capfd.readouterr().err
    assert main(["run", "--record", ""]) == 2
    assert "--record: is empty; give the path of a file" in capfd.readouterr().err


def test_a_path_alone_is_told_how_to_be_an_output(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--output", "/tmp/events"]) == 2
    assert "is a path alone; write file:/tmp/events, or unix:/tmp/events for a socket" in capfd.readouterr().err

"""Messages on standard error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netmon.cli.console import say


def test_each_line_follows_the_commands_name(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\ntwo café")
    assert capsys.readouterr().err == "netmon: one\nnetmon: two café\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("unknown key \x1b[2J", "unknown key \\u001b[2J"),
        ("'a\u2028netmon: ready'", "'a\\u2028netmon: ready'"),
        ("'a\rnetmon: ready'", "'a\\u000dnetmon: ready'"),
        ("'\u202e\x9b'", "'\\u202e\\u009b'"),
    ],
)
def test_a_message_that_quotes_others_is_harmless(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(text)
    assert capsys.readouterr().err == f"netmon: {shown}\n"


SAYS = "from netmon.cli.console import ERROR, say\nsay('wrong\\nindeed', ERROR)\nsay('fine')"


@pytest.mark.parametrize(("stream", "prefix"), [("{device}:{inode}", "<3>"), ("{device}:1", ""), ("", ""), ("x", "")])
def test_the_journal_gets_priorities(stream: str, prefix: str, tmp_path: Path) -> None:
    """Where standard error is its stream, as JOURNAL_STREAM says. Elsewhere a `<3>` would only puzzle."""
    with (tmp_path / "errors").open("w+") as errors:
        found = os.fstat(errors.fileno())
        environment = {**os.environ, "JOURNAL_STREAM": stream.format(device=found.st_dev, inode=found.st_ino)}
        subprocess.run([sys.executable, "-c", SAYS], stderr=errors, env=environment, check=True)
    assert (tmp_path / "errors").read_text() == (f"{prefix}netmon: wrong\n{prefix}netmon: indeed\nnetmon: fine\n")

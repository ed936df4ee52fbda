"""Messages on standard error."""

from __future__ import annotations

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

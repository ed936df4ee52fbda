"""What docs/ls.md shows is what `netmon ls` writes about the connections in samples/open.jsonl."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from netmon.cli import ls
from netmon.cli.main import make_parser
from tests.unit.test_documents import ROOT, code_blocks

EVENTS = (Path(__file__).parent / "samples/open.jsonl").read_text().splitlines(keepends=True)
PAGE = (ROOT / "docs/ls.md").read_text()
USERS = {0: "root", 33: "www-data", 113: "postgres", 1000: "alice"}


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("netmon.cli.views.terminal_width", lambda fd: 80)
    monkeypatch.setattr("netmon.users.Users.name", lambda self, uid: USERS[uid])


@pytest.mark.parametrize("block", code_blocks(PAGE, "console"), ids=lambda block: block.partition("\n")[0])
def test_a_sample_is_what_netmon_writes(block: str) -> None:
    """It may be a part of it, in another order."""
    command, _, output = block.partition("\n")
    assert command.startswith("$ netmon ls")
    options = make_parser(["ls"]).parse_args(shlex.split(command)[2:])
    view = ls.view_of(options, on_terminal=True)
    assert view is not None
    written = "".join(view.lines(EVENTS)).splitlines()
    shown = [line for line in output.splitlines() if not line.startswith("netmon: ")]
    assert [line for line in shown if line not in written] == []
    assert all(len(line) <= 80 for line in shown)


def test_it_has_samples_and_all_keys_to_sort_by() -> None:
    assert len(code_blocks(PAGE, "console")) == 2
    assert [key for key in ls.SORT_KEYS if f"`{key}`" not in PAGE] == []

"""What docs/output.md and the README show is what netmon writes about the same connections.

The connections were recorded in a guest: `python3 build.py run --seconds 5 --outcome --statistics > FILE`.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netmon.cli.main import make_parser
from netmon.cli.views import prepare_view
from netmon.config import Config
from netmon.filters.compile import compile_filters
from tests.unit.test_documents import ROOT, code_blocks

EVENTS = (Path(__file__).parent / "samples/connections.jsonl").read_text().splitlines(keepends=True)
PAGES = ("docs/output.md",)
REPORT = {"outcome": True, "statistics": True}
CONFIG = Config.from_dict({"ingress": {"enabled": True}, "egress": {"enabled": True}, "report": REPORT})


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("NO_COLOR", "1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def blocks() -> Iterator[tuple[str, str, str]]:
    """Yield the page of each sample, the command's arguments, and what it writes."""
    for page in PAGES:
        for block in code_blocks((ROOT / page).read_text(), "console"):
            command, _, output = block.partition("\n")
            assert command.startswith("$ netmon run")
            yield page, command.removeprefix("$ netmon run"), output


def written(arguments: str) -> str:
    """Return what a person sees of the recorded connections."""
    command, *pipe = arguments.split("|")
    options = make_parser(["run"]).parse_args(["run", *shlex.split(command)])
    view = prepare_view(options, on_terminal=not pipe)(compile_filters(CONFIG).watched)
    assert view is not None
    lines = [*view.lines(EVENTS), *view.finish()]
    if not view.summary():
        return "".join(lines)
    summary = [*view.summary(), f"{len(EVENTS)} events, 0 lost"]
    return "".join(["netmon: ready\n", *lines, "^C\n", *(f"netmon: {line}\n" for line in summary)])


def test_the_readmes_event_is_one_of_them() -> None:
    """The README's picture of lines is made of these, too: tests/support/pictures.py."""
    (sample,) = code_blocks((ROOT / "README.md").read_text(), "json")
    assert json.loads(sample) in map(json.loads, EVENTS)


def test_each_page_has_a_sample() -> None:
    assert {page for page, _, _ in blocks()} == {*PAGES}


@pytest.mark.parametrize(("page", "arguments", "output"), [*blocks()], ids=lambda value: value[:40].strip())
def test_a_sample_is_what_netmon_writes(page: str, arguments: str, output: str) -> None:
    """It may be a part of it: some of the lines, in their order."""
    lines = iter(written(arguments).splitlines())
    shown = output.splitlines()
    assert [line for line in shown if line not in lines] == []  # `in` takes the lines up to the one that it finds
    assert all(len(line) <= 80 or "{" in line for line in shown)

"""`netmon help`: its topics, and what they share with the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netmon.cli.main import COMMANDS, main
from netmon.cli.topics import EXIT_CODES, FILTERS, TOPICS
from netmon.config import config_schema
from netmon.report import EVENTS
from netmon.terminal.fields import known_paths

ROOT = Path(__file__).parents[3]


def help_on(topic: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["help", topic]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_fits_a_terminal(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_on(topic, capsys)
    assert len(text.splitlines()) > 5
    assert [line for line in text.splitlines() if len(line) > 81] == []


def test_without_a_topic_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    assert re.findall(r"netmon help ([a-z-]+)", capsys.readouterr().out) == list(TOPICS)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in TOPICS])
def test_a_command_is_a_topic(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert help_on(command, capsys).startswith(f"usage: netmon {command}")


@pytest.mark.parametrize(
    ("topic", "problem"),
    [
        ("filtres", "filtres: no such topic; did you mean filters?"),
        ("zzz", "zzz: no such topic; the topics are filters, events, fields, config, outputs, rules, exit-codes"),
        ("a\x1b", "'a\\x1b': no such topic"),
    ],
)
def test_an_unknown_topic(topic: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", topic]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"netmon: {problem}")


def test_a_topic_of_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "exit", "codes"]) == 0
    assert capsys.readouterr().out.startswith("  0 ")


def test_the_filters_are_explained_as_in_the_documents() -> None:
    page = (ROOT / "docs/peers-filters.md").read_text()
    assert f"$ netmon help filters\n{FILTERS}\n```" in page


def test_the_exit_codes_are_those_of_the_manual() -> None:
    (section,) = re.findall(r"^\.Sh EXIT STATUS\n(.*?)^\.Sh", (ROOT / "docs/netmon.1").read_text(), re.M | re.S)
    assert re.findall(r"^\.It (\S+)$", section, re.M) == list(EXIT_CODES)


def test_all_keys_and_events_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    fields, config, events = (help_on(topic, capsys) for topic in ("fields", "config", "events"))
    listed = {line.split()[0] for line in fields.splitlines() if line[0] != " "}
    assert listed - {*known_paths()} == {"parent.*", "opener.*"}
    assert listed | {path for path in known_paths() if path.split(".")[0] in ("parent", "opener")} >= {
        path
        for path in known_paths()
        if "." in path and not any(other.startswith(f"{path}.") for other in known_paths())
    }
    assert {"process.pid", "network_event.daddr", "flow.peer", "lost_events.count"} <= listed
    assert {*re.findall(r"^  (\w+)(?: |$)", config, re.M)} >= config_schema()["properties"].keys()
    assert "egress.ipv4_filter.match" in config
    assert all(f"  {event} " in events for event in EVENTS)

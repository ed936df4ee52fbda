"""Which form events are written in."""

from __future__ import annotations

import argparse
import json
import os
import pty
from collections.abc import Callable
from typing import Any

import pytest

from netmon.cli.main import main, make_parser
from netmon.cli.views import choose_format, expects_utf8, prepare_view
from netmon.config import Config
from netmon.filters.compile import compile_filters
from netmon.report import Report
from netmon.terminal.view import View
from tests.support.json_lines import STATISTICS, connection_line, process


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CLICOLOR_FORCE", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LANG", "C.UTF-8")


def parse(*flags: str) -> argparse.Namespace:
    return make_parser(["run"]).parse_args(["run", *flags])


def view_of(*flags: str, on_terminal: bool = True, config: Config | None = None) -> View:
    options = parse(*flags)
    view = prepare_view(options, on_terminal=on_terminal)(compile_filters(config).watched)
    assert view is not None
    return view


@pytest.mark.parametrize(
    ("flags", "on_terminal", "in_a_pipe"),
    [
        ([], "line", "json"),
        (["--each"], "line", "json"),
        (["--fields", "type"], "table", "json"),
        (["--template", "{type}"], "template", "template"),
        (["--format", "template", "--template", "{type}"], "template", "template"),
        (["--format", "line"], "line", "line"),
        (["--format", "json"], "json", "json"),
        (["--format", "table"], "table", "table"),
    ],
)
def test_the_format(flags: list[str], on_terminal: str, in_a_pipe: str) -> None:
    assert choose_format(parse(*flags), on_terminal=True) == on_terminal
    assert choose_format(parse(*flags), on_terminal=False) == in_a_pipe


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format", "jsn"], "--format: jsn is no format; did you mean json?"),
        (["--format", "yaml\x1b"], "--format: 'yaml\\x1b' is no format; the formats are line, json, table, template"),
        (["--format", ""], "--format:  is no format; the formats are line, json, table, template"),
        (
            ["--format", "template"],
            "--format: template needs --template; write it like '{process.pid} {network_event.daddr}'",
        ),
        (
            ["--format", "json", "--template", "{type}"],
            "--template: cannot be combined with --format json; leave one or the other out",
        ),
        (
            ["--format", "line", "--fields", "type"],
            "--fields: --format line has fields of its own; use --format table, or leave --fields out",
        ),
        (
            ["--template", "{type}", "--fields", "type"],
            "--fields: --format template names its fields itself; use --format table, or leave --fields out",
        ),
        (["--fields", "process.pdi"], "--fields: process.pdi is no field of an event; did you mean process.pid?"),
        (["--fields", ""], "--fields: names no field; write it like process.pid,network_event.daddr"),
        (["--template", "{pid}"], "--template: pid is no field of an event; did you mean process.pid?"),
        (["--template", "{type"], "--template: a single { at character 1; write {{ for a brace"),
    ],
)
def test_what_is_wrong_is_said_before_the_start(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--any-kernel", *flags]) == 2
    assert capsys.readouterr() == ("", f"netmon: {message}\n")


@pytest.mark.parametrize(
    ("flags", "added"),
    [
        ([], {"outcome", "statistics"}),
        (["--egress", "--opener"], {"outcome", "statistics", "opener"}),
        (["--ingress"], {"statistics"}),
        (["--ingress", "--egress"], {"outcome", "statistics"}),
        (["--format", "table"], {"outcome", "statistics"}),
        (["--aggregate", "10s"], set()),
        (["--config", "netmon.yaml"], set()),
        (["--format", "json"], set()),
        (["--format", "json", "--fields", "type"], set()),
        (["--template", "{type}"], set()),
    ],
)
def test_lines_for_people_turn_on_what_they_are_made_of(flags: list[str], added: set[str]) -> None:
    options = parse(*flags)
    prepare_view(options, on_terminal=True)
    assert {name for name in Report._fields if getattr(options, name)} == added


def config(report: dict[str, bool], directions: tuple[str, ...] = ("ingress", "egress")) -> Config:
    return Config.from_dict({**{name: {"enabled": True} for name in directions}, "report": report})


@pytest.mark.parametrize(
    ("flags", "given", "count"),
    [
        ([], config({"outcome": True, "statistics": True}), 1),
        (["--each"], config({"outcome": True, "statistics": True}), 2),
        ([], config({"statistics": True}), 2),
        ([], config({"outcome": True}), 2),
        ([], config({"statistics": True}, ("ingress",)), 1),
        ([], None, 2),
    ],
)
def test_a_line_a_connection_where_events_say_how_it_began_and_ended(
    flags: list[str], given: Config | None, count: int
) -> None:
    view = view_of(*flags, config=given)
    assert (
        len([*view.lines([connection_line("Accept"), connection_line("Close", **STATISTICS)]), *view.finish()]) == count
    )


def coloured(view: View) -> bool:
    return "\x1b[" in "".join(view.lines([connection_line("Fail", reason="refused")]))


@pytest.mark.parametrize(
    ("flags", "environment", "on_terminal", "in_a_pipe"),
    [
        ([], {}, True, False),
        (["--format", "table"], {}, True, False),
        (["--no-color"], {}, False, False),
        (["--no-color"], {"CLICOLOR_FORCE": "1"}, False, False),
        ([], {"NO_COLOR": "1"}, False, False),
        ([], {"NO_COLOR": ""}, True, False),
        ([], {"CLICOLOR_FORCE": "1"}, True, True),
        ([], {"CLICOLOR_FORCE": "0"}, True, False),
        ([], {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, False),
        ([], {"TERM": "dumb"}, False, False),
    ],
)
def test_colours(
    flags: list[str],
    environment: dict[str, str],
    on_terminal: bool,
    in_a_pipe: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    format_ = [] if "--format" in flags else ["--format", "line"]
    assert coloured(view_of(*flags, *format_, on_terminal=True)) == on_terminal
    assert coloured(view_of(*flags, *format_, on_terminal=False)) == in_a_pipe


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "C.utf8"}, True),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "de_DE@euro"}, False),
        ({"LANG": "C.UTF-8", "LC_ALL": ""}, True),
        ({}, False),
    ],
)
def test_utf_8_is_what_the_locale_says(environment: dict[str, str], expected: bool) -> None:
    assert expects_utf8(environment) is expected


@pytest.mark.parametrize("flags", [["--format", "line"], ["--format", "table"], ["--template", "{process.filename}"]])
def test_without_utf_8_lines_are_ascii(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    event = connection_line("Fail", by=process(filename="日本語"))
    assert not "".join(view_of(*flags, on_terminal=False).lines([event])).isascii()
    monkeypatch.setenv("LANG", "C")
    assert "".join(view_of(*flags, on_terminal=False).lines([event])).isascii()


def test_a_table_of_aggregates_has_their_columns() -> None:
    assert view_of("--format", "table", "--aggregate", "10s") is not None


@pytest.mark.parametrize(
    "flags",
    [
        ("--fields", "process.pid,network_event.reason", "--format", "json"),
        ("--template", "{process.pid} {network_event.reason}"),
    ],
)
def test_a_field_that_no_event_has_is_said_with_what_it_needs(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    view_of(*flags)
    said = "netmon: network_event.reason is in no event: it needs --outcome (in a file: report.outcome)\n"
    assert capsys.readouterr().err == said
    view_of(*flags, config=Config.from_dict({"egress": {"enabled": True}, "report": {"outcome": True}}))
    assert capsys.readouterr().err == ""


def test_losses_that_no_line_shows_are_messages(capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps({"type": "LostEvents", "lost_events": {"count": 1, "ring_full": 1}, "timestamp": "x"})
    assert view_of("--template", "{process.pid}").lines([line]) == []
    assert capsys.readouterr().err == "netmon: 1 lost (1 ring full)\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a terminal of our own be asked for its width; yield a function that changes it."""
    master, slave = pty.openpty()
    ask = os.get_terminal_size
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: ask(slave))

    def resize(columns: int) -> None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))

    yield resize
    os.close(master)
    os.close(slave)


def test_the_width_of_the_terminal_is_followed(terminal: Callable[[int], None]) -> None:
    view = view_of("--no-color")
    widths = []
    for columns in (40, 80, 0, 120):
        terminal(columns)
        (line,) = view.lines([connection_line("Fail", reason="refused")])
        widths.append((line.count("\n"), line.index("->")))
    (narrow, usual, unknown, wide) = widths
    assert narrow[0] == 2
    assert usual == unknown == (1, usual[1])
    assert wide[1] > usual[1]

"""Tables, templates, and JSON with the named keys only."""

from __future__ import annotations

import json

import pytest

from netmon.terminal.cells import cells
from netmon.terminal.field_views import (
    CONNECTION_COLUMNS,
    FLOW_COLUMNS,
    WIDEST,
    JsonView,
    TableView,
    TemplateView,
    column_names,
    parse_template,
)
from netmon.terminal.fields import FieldError, parse_fields
from tests.support.json_lines import HOSTILE_TEXTS, connection_line, flow_line, loss_line, process

EVENTS = [connection_line("Establish"), connection_line("Fail", reason="refused"), flow_line(), loss_line(count=12)]


def table(fields: str, *events: str) -> list[str]:
    return [line.rstrip("\n") for text in TableView(parse_fields(fields)).lines(events) for line in text.splitlines()]


def test_a_table_has_a_header_and_a_row_for_each_event_that_has_a_field() -> None:
    assert table("process.pid,network_event.reason", *EVENTS) == [
        "pid      reason",
        "153      -",
        "153      refused",
        "153      -",
        "15:42:39 events: 12 lost",
    ]
    assert table("network_event.reason", flow_line()) == []


@pytest.mark.parametrize(("columns", "event"), [(CONNECTION_COLUMNS, EVENTS[1]), (FLOW_COLUMNS, EVENTS[2])])
def test_the_usual_columns_fit_and_have_values(columns: str, event: str) -> None:
    header, row = table(columns, event)
    assert "-" not in row.split()
    assert len(header) <= 90


def test_a_row_of_losses_if_the_table_has_their_columns() -> None:
    assert table("lost_events.count", *EVENTS) == ["count", "12"]


def test_a_table_of_what_every_event_has() -> None:
    assert [line.split()[0] for line in table("type", *EVENTS)] == [
        "type",
        "NetworkEvent",
        "NetworkEvent",
        "NetworkSummary",
        "LostEvents",
    ]


def test_headers_are_as_long_as_they_must_be() -> None:
    paths = parse_fields("process.pid,parent.pid,network_event.daddr")
    assert column_names(paths) == ["process.pid", "parent.pid", "daddr"]


def test_a_column_grows_and_nothing_is_cut() -> None:
    long, longer = "x" * 30, "y" * 200
    events = [connection_line("Close", by=process(filename=name)) for name in ("a", long, longer, "b")]
    view = TableView(parse_fields("process.filename,process.pid"))
    lines = [line for event in events for line in view.lines([event])]
    assert [line.split() for line in lines] == [["filename", "pid"], *([n, "153"] for n in ("a", long, longer, "b"))]
    assert [line.index("153") for line in lines[1:]] == [14, 32, 202, WIDEST + 2]


def test_the_rows_of_a_batch_are_aligned() -> None:
    events = [connection_line("Close", by=process(filename=name)) for name in ("a", "x" * 30)]
    header, *rows = table("process.filename,process.pid", *events)
    assert {header.index("pid"), *(row.index("153") for row in rows)} == {32}


@pytest.mark.parametrize("kind", HOSTILE_TEXTS)
def test_hostile_texts_are_harmless(kind: str) -> None:
    text = HOSTILE_TEXTS[kind]
    event = connection_line("Close", by=process(filename=text, args=text))
    for view in (
        TableView(parse_fields("process.filename,process.args,process.pid")),
        TemplateView("{process.filename} {process.args} {process}", pytest.fail),
    ):
        lines = "".join(view.lines([event])).split("\n")
        assert len(lines) == (3 if isinstance(view, TableView) else 2)
        assert all(line.isprintable() for line in lines)
    (line,) = JsonView(parse_fields("process.filename"), pytest.fail).lines([event])
    assert json.loads(line) == {"process": {"filename": text}}
    assert line.rstrip("\n").isprintable()


def test_wide_characters_are_aligned() -> None:
    events = [connection_line("Close", by=process(filename=name)) for name in ("日本", "curl")]
    _, *rows = table("process.filename,process.pid", *events)
    assert len({cells(row[: row.index("153")]) for row in rows}) == 1


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{process.pid} {network_event.daddr}", "153 192.0.2.10\n"),
        (r"{process.pid}\t{{{ process.filename }}}\\{network_event.reason}", "153\t{curl}\\-\n"),
        (r"{process.pid}\n", "153\n\n"),
    ],
)
def test_a_template(template: str, text: str) -> None:
    assert TemplateView(template, pytest.fail).lines([EVENTS[0]]) == [text]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "names no field"),
        ("process.pid", "names no field"),
        ("{process.pid", "a single { at character 1"),
        ("{process.pid}}", "a single } at character 14"),
        ("{process.pdi}", "did you mean process.pid"),
        ("{}", "is no field"),
        ("{process.pid:>8}", "did you mean process.pid"),
    ],
)
def test_a_wrong_template_is_refused(template: str, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        parse_template(template)


def test_json_has_the_named_keys_only_in_the_order_in_which_they_are_named() -> None:
    view = JsonView(parse_fields("network_event.daddr,process.pid,network_event.reason"), pytest.fail)
    assert view.lines(EVENTS[:2]) == [
        '{"network_event":{"daddr":"192.0.2.10"},"process":{"pid":153}}\n',
        '{"network_event":{"daddr":"192.0.2.10","reason":"refused"},"process":{"pid":153}}\n',
    ]
    whole = JsonView(parse_fields("flow,type"), pytest.fail).lines([flow_line()])
    assert json.loads(whole[0]) == {key: json.loads(flow_line())[key] for key in ("flow", "type")}


def test_losses_that_a_line_does_not_show_are_reported_otherwise() -> None:
    said: list[str] = []
    for view in (TemplateView("{process.pid}", said.append), JsonView(parse_fields("process.pid"), said.append)):
        assert view.lines([loss_line(count=12, ring_full=12)]) == []
    assert said == ["12 lost (12 ring full)"] * 2
    named = JsonView(parse_fields("lost_events.count,process.pid"), pytest.fail)
    assert named.lines([loss_line(count=12)]) == ['{"lost_events":{"count":12}}\n']

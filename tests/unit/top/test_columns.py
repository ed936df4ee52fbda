"""Texts of `netmon top`: they fit, and are harmless."""

from __future__ import annotations

import json
import re

import pytest

from netmon.terminal.cells import cells
from netmon.text import escape_for_terminal
from netmon.top.columns import BARS, Presenter, amount, columns_for, join, sparkline
from netmon.top.counts import DIMENSIONS, Top
from netmon.top.order import VIEWS, Choice, arrange
from netmon.top.snapshot import KEYS, snapshot_json, snapshot_text
from tests.support.json_lines import HOSTILE_TEXTS, STATISTICS, connection_line, process
from tests.support.pictures import ROOT, user_name
from tests.support.top_events import played

WIDTHS = (80, 81, 109, 110, 139, 140, 200)
PRESENTER = Presenter(lambda uid: f"user{uid}")
KNOWN = frozenset(KEYS)


def hostile(name: str) -> Top:
    top = Top(0.0, lambda _who: True)
    by = process(filename=name, binary_path=f"/{name}", args=name * 50, container_id=name or None)
    for line in (connection_line("Establish", by=by, handshake_us=9), connection_line("Close", by=by, **STATISTICS)):
        top.add(json.loads(line))
    top.tick(2.0)
    return top


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("by", DIMENSIONS)
def test_columns_fill_a_screen_and_no_more(by: str, width: int) -> None:
    columns = columns_for(by, width)
    assert sum(column.width for column in columns) + len(columns) - 1 <= width


@pytest.mark.parametrize("kind", HOSTILE_TEXTS)
@pytest.mark.parametrize("by", VIEWS)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_hostile_texts_are_harmless_and_fit(by: str, kind: str, ascii_only: bool) -> None:
    top, choice = hostile(HOSTILE_TEXTS[kind]), Choice(by)
    presenter = Presenter(lambda _uid: "root", ascii_only=ascii_only)
    for width in WIDTHS:
        columns = columns_for(choice.dimension, width)
        for line in arrange(top, choice):
            texts = presenter.cells_of(line, columns, top, choice)
            for text, column in zip(texts, columns, strict=True):
                assert cells(text) <= column.width or column is columns[0]
                assert text == escape_for_terminal(text, ascii_only)
            for text in presenter.details(line.row):
                assert text == escape_for_terminal(text, ascii_only)
    assert snapshot_json(top, choice, "now", None, KNOWN).isprintable() is False  # the line end alone
    assert snapshot_json(top, choice, "now", None, KNOWN)[:-1].isprintable()


def test_a_snapshot_in_text() -> None:
    lines = snapshot_text(played(40), Choice(), PRESENTER, 80, 2)
    assert lines[2].split() == ["PROCESS", "USER", "OPEN", "CONN/s", "FAIL/s", "SENT/s", "RECV/s", "CONNS", "TREND"]
    assert lines[3].split()[:8] == ["curl[2177]", "user1000", "1", "0", "0", "0B", "924k", "1"]
    assert lines[5:] == ["(3 more)\n"]
    assert all(cells(line.rstrip("\n")) <= 80 for line in lines)


def test_a_snapshot_in_json() -> None:
    top = played(40)
    snapshot = json.loads(snapshot_json(top, Choice("peer"), "2026-11-29T15:43:59.000Z", 1, KNOWN))
    assert snapshot["rows"] == [
        {
            "peer": "203.0.113.80",
            "open": 1,
            "connections": 1,
            "failures": 0,
            "bytes_sent": 510,
            "bytes_received": 66394651,
            "per_second": {"connections": 0.0, "failures": 0.0, "bytes_sent": 0.0, "bytes_received": 924092.0},
        }
    ]
    assert (snapshot["connections"], snapshot["open"], snapshot["rows_left_out"]) == (762, 1, 9)
    ports = json.loads(snapshot_json(top, Choice("port"), "", None, KNOWN))["rows"]
    assert {"direction": "ingress", "port": 443}.items() <= ports[1].items()
    tree = json.loads(snapshot_json(top, Choice("tree"), "", None, KNOWN))["rows"]
    assert [row["depth"] for row in tree[:3]] == [0, 1, 1]
    assert tree[1]["parent"]["pid"] == tree[0]["process"]["pid"]


def test_what_events_do_not_say_is_left_out() -> None:
    top = played(3)
    snapshot = json.loads(snapshot_json(top, Choice(), "", None, KNOWN - {"failures"}))
    assert "failures" not in {*snapshot, *snapshot["per_second"], *snapshot["rows"][0]}
    presenter = Presenter(str, knows_failures=False, knows_bytes=False)
    text = snapshot_text(top, Choice(), presenter, 80, None)
    assert text[2].split()[:7] == ["curl[2177]", "1000", "1", "0", "-", "-", "-"]


def test_an_ended_process_says_so() -> None:
    top = Top(0.0, lambda _who: False)
    for line in (connection_line("Establish"), connection_line("Close", **STATISTICS)):
        top.add(json.loads(line))
    top.tick(2.0)
    assert "ended" in snapshot_text(top, Choice(), PRESENTER, 80, None)[3]
    assert json.loads(snapshot_json(top, Choice(), "", None, KNOWN))["rows"][0]["ended"] is True


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "    "),
        ([0, 0], "  ▁▁"),
        ([0, 1, 7], f" ▁{BARS[1]}█"),
        ([9, 9, 0, 0, 0, 0], "▁▁▁▁"),
        ([10**18] * 5, "████"),
    ],
)
def test_sparklines(values: list[int], text: str) -> None:
    assert sparkline(values, 4) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (0.5, "0.5"), (3.0, "3"), (12.4, "12"), (999, "999"), (1200, "1.2k"), (123_456, "123k")],
)
def test_amounts(count: float, text: str) -> None:
    assert amount(count) == text


def test_numbers_are_aligned_at_the_right() -> None:
    columns = columns_for("peer", 80)
    assert join(["a", "1"], columns[:2]) == f"{'a':<{columns[0].width}} {'1':>{columns[1].width}}"


def test_the_sample_of_the_guide() -> None:
    (sample,) = re.findall(r"```console\n\$ netmon top --once\n(.*?)```", (ROOT / "docs/top.md").read_text(), re.DOTALL)
    assert sample == "".join(snapshot_text(played(40), Choice(), Presenter(user_name), 80, None))

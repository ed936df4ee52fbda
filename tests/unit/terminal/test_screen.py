"""Lines on a terminal's screen, as a terminal emulator (pyte) shows them."""

from __future__ import annotations

import pyte
import pytest

from netmon.terminal.line_view import LineView
from tests.support.json_lines import HOSTILE_TEXTS, STATISTICS, connection_line, process

COLUMNS, ROWS = 80, 200


@pytest.fixture
def screen() -> pyte.Screen:
    return pyte.Screen(COLUMNS, ROWS)


def show(screen: pyte.Screen, text: str) -> list[str]:
    """Show a text as a terminal does, whose driver makes two characters of a line end; return the screen's lines."""
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return [line.rstrip() for line in screen.display if line.strip()]


def lines_of(name: str) -> str:
    view = LineView(lambda _uid: "root", width=lambda: COLUMNS, coloured=True)
    by = process(filename=name, args=name * 1000)
    events = [
        connection_line("Establish", by=by, handshake_us=17_000),
        connection_line("Close", by=by, **STATISTICS),
        connection_line("Fail", by=by, reason="refused"),
    ]
    return "".join(view.lines(events))


@pytest.mark.parametrize("kind", HOSTILE_TEXTS)
def test_hostile_names_leave_the_terminal_as_it_was(kind: str, screen: pyte.Screen) -> None:
    untouched = pyte.Screen(COLUMNS, ROWS)
    name = HOSTILE_TEXTS[kind]
    shown = show(screen, lines_of(name))
    assert len(shown) == 2
    assert all(line.startswith("15:") for line in shown)
    assert all(end in line for line, end in zip(shown, ("91ms", "failed: refused"), strict=True))
    assert (screen.cursor.x, screen.cursor.y) == (0, 2)
    assert screen.cursor.attrs == untouched.cursor.attrs
    assert screen.mode == untouched.mode
    assert screen.title == ""
    assert (screen.charset, screen.margins) == (untouched.charset, untouched.margins)


def test_columns_are_aligned_on_the_screen(screen: pyte.Screen) -> None:
    text = "".join(lines_of(name) for name in ("curl", "日本語", "e\u0301te\u0301", "한국어"))
    show(screen, text)
    columns = {
        x for y in range(8) for x in range(COLUMNS) if screen.buffer[y][x].data + screen.buffer[y][x + 1].data == "->"
    }
    assert len(columns) == 1


def test_colours_are_those_of_the_outcome(screen: pyte.Screen) -> None:
    shown = show(screen, lines_of("curl"))
    first, second = shown[0].index("ok"), shown[1].index("failed")
    assert (screen.buffer[0][first].fg, screen.buffer[1][second].fg) == ("green", "red")
    assert screen.buffer[0][first + 3].fg == "default"

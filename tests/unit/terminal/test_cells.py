"""Cells that texts take, and shortened texts."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcwidth

from netmon.terminal.cells import ELLIPSIS, cells, pad, pad_left, shorten
from netmon.text import escape_for_terminal

harmless = st.text(max_size=60).map(escape_for_terminal)

# wcwidth counts these as Unicode 16 does: before that, they were narrow. The last ones are halves of flags.
NEWLY_WIDE = {
    *range(0x2630, 0x2638),
    *range(0x268A, 0x2690),
    *range(0x4DC0, 0x4E00),
    *range(0x1D300, 0x1D377),
    *range(0x1F1E6, 0x1F200),
}


def test_each_character_takes_as_many_cells_as_in_a_terminal() -> None:
    characters = filter(str.isprintable, map(chr, range(32, sys.maxunicode + 1)))
    shown = [char for char in characters if escape_for_terminal(f"a{char}") == f"a{char}"]
    assert len(shown) > 100_000
    assert [char for char in shown if cells(char) != wcwidth(char) and ord(char) not in NEWLY_WIDE] == []


@pytest.mark.parametrize(("text", "count"), [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("한", 2)])
def test_cells(text: str, count: int) -> None:
    assert cells(text) == count
    assert pad(text, 5) == text + " " * (5 - count)
    assert pad_left(text, 5) == " " * (5 - count) + text
    assert pad(text, 0) == text


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("curl", 4, "curl"),
        ("systemd-resolved", 10, "syst..lved"),
        ("日本語日本語", 9, "日本..語"),
        ("ab" + "e\u0301" * 9, 6, "ab..e\u0301e\u0301"),
    ],
)
def test_a_text_is_shortened_in_its_middle(text: str, width: int, short: str) -> None:
    assert shorten(text, width) == short


@given(harmless, st.integers(4, 30))
def test_a_shortened_text_fits(text: str, width: int) -> None:
    short = shorten(text, width)
    assert cells(short) <= width
    if cells(text) <= width:
        assert short == text
    else:
        begin, _, end = short.partition(ELLIPSIS)
        assert text.startswith(begin.rstrip(".")) and text.endswith(end.lstrip("."))
        assert not end or unicodedata.category(end[0])[0] != "M"

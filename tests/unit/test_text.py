"""Which characters are harmful to show, and how they are written."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.text import escape, is_harmless

CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1)]
# Unicode's categories: control, format, surrogate, unassigned and private characters, separators.
HARMFUL = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp", "Zs")


def test_every_control_format_and_separator_character_is_escaped() -> None:
    harmful = [char for char in CHARACTERS if unicodedata.category(char) in HARMFUL and char not in " \n"]
    assert {"\x7f", "\x9b", "\u061c", "\u200e", "\u2028", "\u202e", "\u2066", "\ufeff", "\U000e0041"} < {*harmful}
    for char in harmful:
        assert escape(char).isascii()
        assert json.loads(f'"{escape(char)}"') == char
        assert is_harmless(json.dumps(char, ensure_ascii=False)) == (char < " ")  # JSON itself escapes these


def test_letters_marks_numbers_punctuation_and_symbols_stay() -> None:
    text = " ".join(char for char in CHARACTERS if unicodedata.category(char) not in HARMFUL)
    assert escape(text) == text
    assert is_harmless(text)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain café 日本 \U0001f600", "plain café 日本 \U0001f600"),
        ("a\x7fb", "a\\u007fb"),
        ("\x1b]0;title\x07", "\\u001b]0;title\\u0007"),
        ("\x9b31m", "\\u009b31m"),
        ("curl\u202egpj.exe", "curl\\u202egpj.exe"),
        ("one\u2028two\u2029", "one\\u2028two\\u2029"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("two\nlines", "two\nlines"),
        ("\r", "\\u000d"),
        ("", ""),
    ],
)
def test_escape(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(st.text())
def test_json_says_the_same_after_escaping(text: str) -> None:
    written = json.dumps(text, ensure_ascii=False)
    assert json.loads(escape(written)) == text
    assert is_harmless(escape(written))
    assert is_harmless(written) == (escape(written) == written)


def test_a_lone_surrogate_is_escaped() -> None:
    """Python makes them of file names that are not UTF-8."""
    assert escape("caf\udce9") == "caf\\udce9"

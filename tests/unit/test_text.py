"""Which characters are harmful to show, and how they are written."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.text import escape, escape_for_terminal, is_harmless

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


# Words in the names of characters that leave no trace, though they are printable.
UNSEEN = (
    "VARIATION SELECTOR",
    "HANGUL FILLER",
    "SEONG FILLER",
    "SCRIPT FILLER",
    "GRAPHEME JOINER",
    "VOWEL INHERENT",
    "PATTERN BLANK",
    "NULL NOTEHEAD",
)


def test_a_line_of_a_terminal_gets_nothing_that_nobody_sees() -> None:
    unseen = [char for char in CHARACTERS if any(word in unicodedata.name(char, "") for word in UNSEEN)]
    assert {"\ufe0f", "\u3164", "\u034f", "\u2800", "\U000e0100"} < {*unseen}
    assigned = (char for char in CHARACTERS if unicodedata.category(char) not in ("Cn", "Co"))
    harmful = [char for char in assigned if unicodedata.category(char) in HARMFUL and char != " "]
    for char in (*unseen, *harmful):
        assert escape_for_terminal(f"a{char}b").isascii(), hex(ord(char))


def test_a_line_of_a_terminal_gets_nothing_that_is_written_from_right_to_left() -> None:
    for char in "\u05e9\u0627\u0664\U0001e900":
        assert escape_for_terminal(f"a{char}b").isascii()


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("café 日本 \U0001f600 Ελλάδα", "café 日本 \U0001f600 Ελλάδα"),
        ("two\nlines\t", "two\\u000alines\\u0009"),
        ("\u0301a", "\\u0301a"),
        ("e\u0301\u0302\u0303\u0304\u0305", "e\u0301\u0302\u0303\\u0304\\u0305"),
        ("a\x1b\u0301", "a\\u001b\\u0301"),
    ],
)
def test_escape_for_terminal(text: str, escaped: str) -> None:
    assert escape_for_terminal(text) == escaped


@given(st.text())
def test_a_terminal_without_utf_8_gets_ascii(text: str) -> None:
    assert escape_for_terminal(text, ascii_only=True).isascii()
    assert escape_for_terminal(text, ascii_only=True).isprintable()
    assert escape_for_terminal(text).isprintable()

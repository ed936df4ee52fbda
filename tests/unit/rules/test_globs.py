"""Patterns of `like` mean what regular expressions say, in linear time."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from netmon.rules.globs import matches_glob
from tests.support.rule_evaluator import glob

PATTERNS = st.lists(st.sampled_from(["*", "**", "a", "b", "/", "ab", "é"]), max_size=8).map("".join)
TEXTS = st.text("ab/é", max_size=12)


@given(PATTERNS, TEXTS, st.sampled_from(["/", ""]))
def test_it_means_what_a_regular_expression_does(pattern: str, text: str, separator: str) -> None:
    assert matches_glob(pattern, text, separator) == bool(glob(pattern, separator).fullmatch(text))


def test_no_text_takes_long() -> None:
    """The regular expression would take longer than the universe has."""
    begin = time.process_time()
    assert not matches_glob("**a*" * 100 + "b", "a" * 8192, "/")
    assert time.process_time() - begin < 2

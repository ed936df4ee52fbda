"""Patterns of names, and connections that are judged by them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.filters.compiled import NameRules
from netmon.names.patterns import NameFilter, Patterns, check_pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("example.com", ["example.com"], ["www.example.com", "com", "xexample.com", "example.com.x"]),
        ("*.example.com", ["www.example.com"], ["example.com", "a.b.example.com"]),
        ("**.example.com", ["www.example.com", "a.b.c.example.com"], ["example.com", "www.example.org"]),
        ("a.*.b", ["a.x.b"], ["a.b", "a.x.y.b"]),
        ("a.**.b", ["a.x.b", "a.x.y.b", "a.a.b.b"], ["a.b", "x.a.b"]),
        ("a.**", ["a.b", "a.b.c"], ["a", "b.a"]),
        ("**", ["a", "a.b"], []),
    ],
)
def test_a_pattern_stands_for_whole_labels(pattern: str, matching: list[str], others: list[str]) -> None:
    patterns = Patterns([pattern])
    assert all(map(patterns.match, matching))
    assert not any(map(patterns.match, others))


names = st.lists(st.sampled_from("ab"), min_size=1, max_size=6).map(".".join)
all_patterns = st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=5).map(".".join)


@given(st.lists(all_patterns, max_size=6), names)
def test_many_patterns_match_what_any_of_them_does(patterns: list[str], name: str) -> None:
    """Regular expressions do, too."""
    parts = {"*": r"[^.]+", "**": r"[^.]+(?:\.[^.]+)*"}
    expected = any(
        re.fullmatch(r"\.".join(parts.get(label, label) for label in pattern.split(".")), name) for pattern in patterns
    )
    assert Patterns(patterns).match(name) == expected


def test_patterns_that_repeat_take_no_exponential_time() -> None:
    assert not Patterns([".".join(["**", "a"] * 40) + ".b"]).match(".".join(["a"] * 127))


@pytest.mark.parametrize("text", ["API.GitHub.com", "*", "**.com", "_x.example", "xn--bcher-kva.example"])
def test_patterns(text: str) -> None:
    assert check_pattern(text) == text.lower()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://example.com/", "is a URL or an address"),
        ("::1", "is a URL or an address"),
        ("example.com.", "begins or ends with a dot"),
        (".example.com", r"put \* or \*\* before"),
        ("api-*.example.com", "within a label"),
        ("***.example.com", "within a label"),
        ("", "is no name of a host"),
        ("a..b", "is no name of a host"),
        ("b\xfccher.example", "write xn--"),
        ("a b", "is no name of a host"),
        ("x" * 64, "is no name of a host"),
        ("192.0.2.1", "a filter of addresses has addresses"),
        (".".join(["x" * 60] * 5), "can match nothing"),
    ],
)
def test_what_is_no_pattern_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_pattern(text)


def named(scope: str, name: str = "a.example") -> list[dict[str, str]]:
    return [{"name": "other.example", "scope": scope}, {"name": name, "scope": scope}]


@pytest.mark.parametrize(
    ("deny", "scope", "name", "passes"),
    [
        (False, "process", "a.example", True),
        (False, "netns", "a.example", True),
        (False, "process", "b.example", False),
        (True, "process", "a.example", False),
        (True, "ancestor", "a.example", False),
        (True, "process", "b.example", True),
        (True, "netns", "a.example", True),  # somebody else may have forged it
        (True, "cgroup", "a.example", True),
    ],
)
def test_verdicts(deny: bool, scope: str, name: str, passes: bool) -> None:
    assert NameFilter(NameRules(("a.example",), deny)).passes(named(scope, name)) == passes


@pytest.mark.parametrize("deny", [False, True])
def test_without_a_name_nothing_matches(deny: bool) -> None:
    assert NameFilter(NameRules(("**",), deny)).passes(()) == deny

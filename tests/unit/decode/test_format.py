"""The values of an event's keys, and their names in the models."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.capabilities import CAPABILITIES
from netmon.decode.format import (
    DIRECTIONS,
    ENDINGS,
    EVENT_TYPES,
    REASONS,
    fit_json,
    format_args,
    format_capabilities,
    format_json,
    format_secureexec,
    format_timestamp,
    seldom_json,
    text_json,
)
from netmon.events import ClosedBy, ConnectionEventType, FailureReason
from netmon.events import Direction as DirectionName
from netmon.text import is_harmless


@pytest.mark.parametrize(
    ("names", "literal"),
    [
        (EVENT_TYPES.values(), ConnectionEventType),
        (DIRECTIONS.values(), DirectionName),
        (ENDINGS.values(), ClosedBy),
        ({*REASONS.values(), "closed", "killed", "other"}, FailureReason),
    ],
    ids=["types", "directions", "endings", "reasons"],
)
def test_the_models_have_the_names_of_the_kernels_enums(names: Iterable[str], literal: object) -> None:
    assert set(names) == set(get_args(literal))


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_763_905_653_289_000_000, "2025-11-23T13:47:33.289Z"),
        (1_763_905_653_289_999_999, "2025-11-23T13:47:33.289Z"),  # cut, not rounded
        (1_763_905_653_999_999_999, "2025-11-23T13:47:33.999Z"),
        (1_763_905_653_007_000_000, "2025-11-23T13:47:33.007Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
    ],
)
def test_format_timestamp(ns: int, text: str) -> None:
    assert format_timestamp(ns) == text


@given(st.integers(0, 2**63))
def test_timestamps_agree_with_datetime(ns: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ns // 1_000_000)
    expected = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert format_timestamp(ns) == expected


ALL = (1 << 41) - 1


@pytest.mark.parametrize(
    ("mask", "last_cap", "text"),
    [
        (0, 40, ""),
        (ALL, 40, "ALL_CAPS"),
        (1, 40, "CAP_CHOWN"),
        (1 << 13 | 1 << 21, 40, "CAP_NET_RAW | CAP_SYS_ADMIN"),
        (1 << 40, 40, "CAP_CHECKPOINT_RESTORE"),
        (ALL >> 1, 39, "ALL_CAPS"),  # a kernel that has one less
        (1 << 41 | 1 << 63 | 2, 63, "CAP_DAC_OVERRIDE | CAP_41 | CAP_63"),  # a kernel that has more
        ((1 << 42) - 1, 41, "ALL_CAPS"),
    ],
)
def test_format_capabilities(mask: int, last_cap: int, text: str) -> None:
    assert format_capabilities(mask, last_cap) == text


@pytest.mark.parametrize("number", [0, 12, 40])
def test_all_but_one_capability_is_not_all(number: int) -> None:
    names = format_capabilities(ALL & ~(1 << number), 40).split(" | ")
    assert names == [f"CAP_{name}" for name in CAPABILITIES if name != CAPABILITIES[number]]


@given(st.sets(st.integers(0, 39)))
def test_each_capability_has_its_name(numbers: set[int]) -> None:
    text = format_capabilities(sum(1 << number for number in numbers), 40)
    expected = [f"CAP_{CAPABILITIES[number]}" for number in sorted(numbers)]
    assert [name for name in text.split(" | ") if name] == expected
    assert len(set(CAPABILITIES)) == 41


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0, ""),
        (1, "SETUID"),
        (2, "SETGID"),
        (4, "FILE_CAPS"),
        (8, "FILELESS_EXEC"),
        (9, "SETUID | FILELESS_EXEC"),
        (15, "SETUID | SETGID | FILE_CAPS | FILELESS_EXEC"),
    ],
)
def test_format_secureexec(flags: int, text: str) -> None:
    assert format_secureexec(flags) == text


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (b"", ""),
        (b"curl\0", ""),
        (b"curl", ""),
        (b"curl\0-s\0a b\0", "-s a b"),
        (b"curl\0-s\0cut off", "-s cut off"),
        (b"curl\0\0x\0", " x"),  # an empty argument
        (b"\0-s\0", "-s"),  # an empty argv[0]
        (b"nginx: worker process\0\0\0\0\0", ""),  # a title written over the arguments
        (b"x\0caf\xc3\xa9\0", "caf\u00e9"),
        (b"x\0caf\xe9\0\xff\xfe\0", "caf\\xe9 \\xff\\xfe"),
        (b'x\0say "hi"\n\0', 'say "hi"\n'),
    ],
)
def test_format_args(argv: bytes, text: str) -> None:
    assert format_args(argv) == text


@given(st.text(max_size=60), st.integers(2, 80), st.booleans())
def test_a_text_that_does_not_fit_is_cut_between_characters(text: str, limit: int, keep_end: bool) -> None:
    written, cut = fit_json(text, limit, keep_end=keep_end)
    shown = json.loads(written)
    assert len(written.encode()) <= limit
    assert is_harmless(written)
    assert text.endswith(shown) if keep_end else text.startswith(shown)
    assert cut == (shown != text)
    if cut and text.isascii():  # as much as fits: a character takes at most six bytes
        assert len(written) > limit - 6


@pytest.mark.parametrize("keep_end", [False, True])
def test_cut_text_is_not_escaped_without_need(keep_end: bool) -> None:
    assert fit_json("日本" * 100, 14, keep_end=keep_end) == ('"日本日本"', True)


@given(st.text())
def test_all_ways_to_json_write_a_text_alike(text: str) -> None:
    assert text_json(text) == seldom_json(text) == format_json(text) == fit_json(text, 1 << 20)[0]
    assert json.loads(text_json(text)) == text

"""Numbers with a unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.terminal.units import duration, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1.0k"),
        (9949, "9.9k"),
        (9951, "10k"),
        (853_000, "853k"),
        (999_499, "999k"),
        (999_501, "1.0M"),
        (1 << 33, "8.6G"),
        ((1 << 64) - 1, "18E"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0us"),
        (999, "999us"),
        (1000, "1.0ms"),
        (9949, "9.9ms"),
        (31_000, "31ms"),
        (999_499, "999ms"),
        (999_500, "1.0s"),
        (1_400_000, "1.4s"),
        (59_400_000, "59s"),
        (59_600_000, "1m00s"),
        (125_000_000, "2m05s"),
        (3 * 3_600_000_000, "3h00m"),
        (51 * 3_600_000_000, "2d03h"),
        (45 * 86_400_000_000, "45d"),
    ],
)
def test_duration(us: int, text: str) -> None:
    assert duration(us) == text


@given(st.integers(0, 2**64 - 1))
def test_they_are_short(number: int) -> None:
    assert len(size(number)) <= 5
    assert len(duration(number % (10_000 * 86_400_000_000))) <= 6

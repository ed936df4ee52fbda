"""Times and sizes as people write them."""

from __future__ import annotations

import pytest

from netmon.amounts import batch_delay, duration, learning, line_limit, period, ring_size, size, size_text


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10.0), ("500ms", 0.5), ("5m", 300.0), ("1h", 3600.0), ("1.5s", 1.5), ("0s", 0.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1e3s", "10 s", "10S", "1.s", "\u0661s", "9999999999s"])
def test_refused_durations(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 10s"):
        duration(text)


@pytest.mark.parametrize(("text", "count"), [("65536", 65536), ("64K", 65536), ("4M", 4 << 20), ("1g", 1 << 30)])
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "M", "-4M", "4MB", "4.5M", "0x10", "\u0664M"])
def test_refused_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 65536"):
        size(text)


def test_sizes_as_text() -> None:
    assert [size_text(count) for count in (4096, 1 << 20, 3 << 30, 1000)] == ["4K", "1M", "3G", "1000"]
    assert all(size(size_text(count)) == count for count in (1, 512, 4096, 1 << 30))


def test_amounts_in_their_ranges() -> None:
    assert [period("1s"), period("24h")] == [1, 86400]
    assert [batch_delay("0"), batch_delay("0ms"), batch_delay("10s")] == [0, 0, 10]
    assert [ring_size("4K"), ring_size("1G")] == [4096, 1 << 30]
    assert [learning("500ms"), learning("8784h")] == [0.5, 31_622_400]
    for text in ("0s", "8785h"):
        with pytest.raises(ValueError, match="netmon learns for up to 8784h"):
            learning(text)
    assert [line_limit("16K"), line_limit("48K")] == [16384, 49152]

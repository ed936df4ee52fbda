"""What `netmon run`'s flags say. Those that make a configuration are tested with it, in test_config.py."""

from __future__ import annotations

import argparse

import pytest

from netmon.flags import duration, size


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10.0), ("500ms", 0.5), ("5m", 300.0), ("1h", 3600.0), ("1.5s", 1.5), ("0s", 0.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1e3s", "10 s", "10S", "1.s", "\u0661s", "9999999999s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it like 10s"):
        duration(text)


@pytest.mark.parametrize(("text", "count"), [("65536", 65536), ("64K", 65536), ("4M", 4 << 20), ("1g", 1 << 30)])
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "M", "-4M", "4MB", "4.5M", "0x10", "\u0664M"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it like 65536"):
        size(text)

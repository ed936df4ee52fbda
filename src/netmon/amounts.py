"""Times and sizes as people write them, in flags and in the configuration: 10s, 4M. Each has its range.

A function here returns the number, or raises ValueError with what is wrong with the text, in the text's own units, and
how to correct it. The message does not repeat the text.
"""

from __future__ import annotations

import mmap
import re

from netmon.limits import (
    DEFAULT_LINE_LIMIT,
    MAX_ANCESTORS,
    MAX_BATCH_DELAY,
    MAX_LEARNING,
    MAX_LINE_LIMIT,
    MAX_PERIOD,
    MAX_PROGRESS,
    MAX_RING_SIZE,
    MIN_PERIOD,
    MIN_PROGRESS,
)

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)"
DIGITS = 9  # after the point
BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def duration(text: str) -> float:
    """Return the seconds of a duration like 10s, 500ms, 5m or 1h."""
    match = re.fullmatch(DURATION, text, re.ASCII)
    if not match:
        raise ValueError("is not a duration; write it like 10s, 500ms, 5m or 1h")
    return round(float(match[1]) * SECONDS[match[2]], DIGITS)


def duration_text(seconds: float) -> str:
    """Return a duration as duration() reads it."""
    return f"{seconds:.{DIGITS}f}".rstrip("0").rstrip(".") + "s"


def size(text: str) -> int:
    """Return the bytes of a size like 65536, 64K, 4M or 1G."""
    match = re.fullmatch(r"(\d{1,12})([kmg]?)", text.lower(), re.ASCII)
    if not match:
        raise ValueError("is not a size; write it like 65536, 64K or 4M")
    return int(match[1]) * BYTES[match[2]]


def size_text(count: int) -> str:
    """Return a size as people write it."""
    for unit, factor in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)


def period(text: str) -> float:
    """Return the seconds of a period of aggregation."""
    seconds = duration(text)
    if not MIN_PERIOD <= seconds <= MAX_PERIOD:
        raise ValueError(f"is out of range; a period is from {MIN_PERIOD:.0f}s to {MAX_PERIOD / 3600:.0f}h")
    return seconds


def progress(text: str, what: str = "progress is") -> float:
    """Return the seconds between two reports of what open connections have carried."""
    seconds = duration(text)
    if not MIN_PROGRESS <= seconds <= MAX_PROGRESS:
        raise ValueError(f"is out of range; {what} from {MIN_PROGRESS:.0f}s to {MAX_PROGRESS / 3600:.0f}h")
    return seconds


def ancestors(text: str) -> int:
    """Return how many ancestors of a process are reported."""
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError("is not a whole number; write it like 4")
    if not 1 <= int(text) <= MAX_ANCESTORS:
        raise ValueError(f"is out of range; give a number of ancestors from 1 to {MAX_ANCESTORS}")
    return int(text)


def interval(text: str) -> float:
    """Return the seconds of an interval of `netmon top`."""
    return progress(text, "an interval is")


def learning(text: str) -> float:
    """Return the seconds in which `netmon learn` watches."""
    seconds = duration(text)
    if not 0 < seconds <= MAX_LEARNING:
        raise ValueError(f"is out of range; netmon learns for up to {MAX_LEARNING / 3600:.0f}h")
    return seconds


def batch_delay(text: str) -> float:
    """Return the seconds that a batch waits for further events."""
    seconds = 0.0 if text == "0" else duration(text)
    if seconds > MAX_BATCH_DELAY:
        raise ValueError(f"is out of range; a batch waits from 0s to {MAX_BATCH_DELAY:.0f}s")
    return seconds


def ring_size(text: str) -> int:
    """Return the bytes of the ring buffer."""
    count = size(text)
    if not mmap.PAGESIZE <= count <= MAX_RING_SIZE:
        raise ValueError(f"is out of range; give a size from {size_text(mmap.PAGESIZE)} to {size_text(MAX_RING_SIZE)}")
    if count.bit_count() != 1:
        above = 1 << count.bit_length()
        raise ValueError(f"is not a power of two; did you mean {size_text(above >> 1)} or {size_text(above)}?")
    return count


def line_limit(text: str) -> int:
    """Return the bytes that a line may have."""
    count = size(text)
    if not DEFAULT_LINE_LIMIT <= count <= MAX_LINE_LIMIT:
        low, high = size_text(DEFAULT_LINE_LIMIT), size_text(MAX_LINE_LIMIT)
        raise ValueError(f"is out of range; a line may have from {low} to {high}")
    return count

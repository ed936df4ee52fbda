"""Durations as users write them: 500ms, 10s, 5m, 1h."""

from __future__ import annotations

import re

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DIGITS = 9  # after the point
PATTERN = r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)"


def parse_duration(text: str) -> float:
    """Return the seconds of a duration. Raises ValueError, which says how to write one."""
    match = re.fullmatch(PATTERN, text, re.ASCII)
    if not match:
        raise ValueError("is not a duration; write it like 10s, 500ms, 5m or 1h")
    return round(float(match[1]) * SECONDS[match[2]], DIGITS)  # as format_duration() writes it


def format_duration(seconds: float) -> str:
    """Return a duration as parse_duration() reads it."""
    return f"{seconds:.{DIGITS}f}".rstrip("0").rstrip(".") + "s"

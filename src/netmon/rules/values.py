"""Numbers as conditions write them: 443, 0x1bb, 64K, 10s."""

from __future__ import annotations

import re

MAX_DIGITS = 20  # those of the largest number that a value can be
MICROSECONDS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}

_INTEGER = re.compile(rf"0[xX][0-9a-fA-F]{{1,{MAX_DIGITS}}}|[0-9]{{1,{MAX_DIGITS}}}", re.ASCII)
_DURATION = re.compile(rf"([0-9]{{1,{MAX_DIGITS}}})(?:\.([0-9]{{1,6}}))?(us|ms|s|m|h|d)", re.ASCII)
_SIZE = re.compile(rf"([0-9]{{1,{MAX_DIGITS}}})([kKmMgGtT]?)", re.ASCII)


def number_of(text: str, form: str) -> int:
    """Return a number.

    Args:
        text: As it is written.
        form: `number`, `duration` (in microseconds) or `size` (in bytes).

    Raises:
        ValueError: With what is wrong with it.
    """
    if form == "duration":
        match = _DURATION.fullmatch(text)
        if not match:
            raise ValueError("has no unit" if _INTEGER.fullmatch(text) else "is no duration")
        unit = MICROSECONDS[match[3]]
        return int(match[1]) * unit + int((match[2] or "0").ljust(6, "0")) * unit // 1_000_000
    if form == "size" and (match := _SIZE.fullmatch(text)):
        return int(match[1]) * BYTES[match[2].lower()]
    if not _INTEGER.fullmatch(text):
        raise ValueError("is too large" if text.isdigit() else "is no number")
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)

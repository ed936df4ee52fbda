"""Numbers as a person reads them: short, with a unit."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds


def size(count: int) -> str:
    """Return a number of bytes in at most five characters: 853B, 1.2k, 14k, 1.2M."""
    if count < 1000:
        return f"{count}B"
    value = float(count)
    for unit in "kMGTPE":
        value /= 1000
        if value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 999.5:
            break
    return f"{value:.0f}{unit}"


def duration(us: int) -> str:
    """Return microseconds in at most six characters: 850us, 31ms, 1.4s, 12s, 2m05s, 3h12m, 2d03h, 45d."""
    if us < 1000:
        return f"{us}us"
    if us < 999_500:
        return f"{us / 1000:.1f}ms" if us < 9_950 else f"{us / 1000:.0f}ms"
    if us < 9_950_000:
        return f"{us / 1e6:.1f}s"
    seconds = round(us / 1e6)
    if seconds < MINUTE:
        return f"{seconds}s"
    if seconds < HOUR:
        return f"{seconds // MINUTE}m{seconds % MINUTE:02d}s"
    if seconds < DAY:
        return f"{seconds // HOUR}h{seconds % HOUR // MINUTE:02d}m"
    if seconds < 10 * DAY:
        return f"{seconds // DAY}d{seconds % DAY // HOUR:02d}h"
    return f"{seconds // DAY}d"

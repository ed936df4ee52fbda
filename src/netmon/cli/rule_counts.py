"""What a run says of its rules at its end, and when they are replaced."""

from __future__ import annotations

from collections.abc import Mapping

LISTED = 20  # rules


def describe_counts(counts: Mapping[str, int]) -> str:
    """Return how many connections rules have matched: `rules: ssh-out 3, tor 1`. counts: by the rules' names."""
    matched = sorted(((name, count) for name, count in counts.items() if count), key=lambda item: -item[1])
    listed = ", ".join(f"{name} {count}" for name, count in matched[:LISTED])
    more = f", and {len(matched) - LISTED} more" if len(matched) > LISTED else ""
    return f"rules: {listed}{more}" if matched else f"rules: none of {len(counts)} has matched"

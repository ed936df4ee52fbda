"""Which of a peer's names, as events have them, are no guesses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The scopes of names that the process itself was told, or one that it descends from.
CERTAIN = ("process", "ancestor")


def certain_name(connection: Mapping[str, Any]) -> str | None:
    """Return the first name that the process, or an ancestor of it, was told for the peer; None without one.

    Args:
        connection: The keys of a network_event.
    """
    return next((name["name"] for name in connection.get("names", ()) if name["scope"] in CERTAIN), None)

"""Which of a peer's names, as events have them, are no guesses, and in which order they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# The scopes of names that the process itself was told, or one that it descends from, or that the client has announced
# on this very connection. The last is a claim: the client may announce what it likes.
CERTAIN = ("process", "ancestor", "connection")
SNI = "sni"  # the source of a name that a TLS client has announced


def certain_name(connection: Mapping[str, Any]) -> str | None:
    """Return the first name that is no guess about other processes; None without one.

    Args:
        connection: The keys of a network_event.
    """
    return next((name["name"] for name in connection.get("names", ()) if name["scope"] in CERTAIN), None)


def announced_name(connection: Mapping[str, Any]) -> str | None:
    """Return the name that a TLS client has announced; None without one. connection: as of certain_name()."""
    return next((name["name"] for name in connection.get("names", ()) if name["source"] == SNI), None)


def ordered(told: Sequence[dict[str, Any]], announced: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the names of a connection, the likeliest first.

    What the process was told comes before what it has announced, and that before guesses. Of what it was told, the one
    that it has announced comes first.

    Args:
        told: Those that name servers have told; a name that was announced before is left out.
        announced: The one that the client has announced now.
    """

    def rank(name: dict[str, Any]) -> int:
        return (name["name"] != announced["name"]) if name["scope"] in CERTAIN else 3

    known = [name for name in told if name["source"] != SNI]
    return sorted([*known, announced], key=lambda name: 2 if name is announced else rank(name))

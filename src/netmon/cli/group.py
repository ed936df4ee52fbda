"""The group of a socket."""

from __future__ import annotations

from netmon.cli.flag_names import flag_error
from netmon.errors import shown


def group_of(text: str, flag: str) -> int:
    """Return a group's id, given by name or number. flag: names what has it. Raises ConfigError."""
    if text.isascii() and text.isdigit() and len(text) < 11:
        return int(text)
    import grp

    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise flag_error(flag, f"{shown(text)} is no group of this host; give a group's name or id") from None

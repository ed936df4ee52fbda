"""Reads what /proc says of a process."""

from __future__ import annotations

from pathlib import Path


def status_of(pid: int | str = "self") -> dict[str, list[str]]:
    """Return /proc/PID/status: key to its words."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def auid_of(pid: int | str = "self") -> int:
    """Return the audit (login) user id."""
    return int(Path(f"/proc/{pid}/loginuid").read_text())

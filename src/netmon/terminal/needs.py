"""Which report options a field needs: without them it is in no event."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netmon.report import Report
    from netmon.terminal.fields import Path

# By the field, or what it is in: the options that it needs, or one of them, if several are separated by `or`.
_OF_CONNECTIONS = {
    **dict.fromkeys(("handshake_us", "errno", "reason"), "outcome"),
    **dict.fromkeys(("duration_us", "bytes_sent", "bytes_received"), "statistics or progress"),
    **dict.fromkeys(("segments_retransmitted", "rtt_us"), "statistics or progress"),
    **dict.fromkeys(("interval_us", "interval_bytes_sent", "interval_bytes_received", "sampled"), "progress"),
    **dict.fromkeys(("netns", "ifindex", "mark"), "context"),
    "names": "names or sni",
    "closed_by": "statistics",
    "direction": "existing",
    "state": "existing and statistics",
    "idle_ms": "existing and statistics",
}
_OF_PROCESSES = {"cgroup": "context", "foreign": "exec", "exec": "exec"}
NEEDS = {
    **{f"network_event.{key}": needed for key, needed in _OF_CONNECTIONS.items()},
    **{f"process.{key}": key for key in ("workload", "ancestors")},
    **{f"{who}.id": "id" for who in ("process", "parent", "opener")},
    **{f"{who}.{key}": needed for who in ("process", "parent", "opener") for key, needed in _OF_PROCESSES.items()},
    "parent": "parent",
    "opener": "opener",
}


def missing_for(path: Path, report: Report) -> str:
    """Return what a field needs that is not reported: flags, and the keys of a file; "" if nothing is missing."""
    needed = dict.fromkeys(NEEDS[part] for end in range(1, len(path) + 1) if (part := ".".join(path[:end])) in NEEDS)
    missing = [option for one in needed if (option := _missing_of(one, report))]
    if not missing:
        return ""
    flags = " and ".join(missing)
    return f"{_each(flags, '--')} (in a file: {_each(flags, 'report.')})"


def _missing_of(needed: str, report: Report) -> str:
    """Return the options of NEEDS that are not chosen, in its form."""
    chosen = {option: bool(getattr(report, option)) for option in needed.split() if option not in ("or", "and")}
    if " or " in needed:
        return "" if any(chosen.values()) else needed
    return " and ".join(option for option, is_chosen in chosen.items() if not is_chosen)


def _each(text: str, prefix: str) -> str:
    return " ".join(word if word in ("or", "and") else prefix + word for word in text.split())

"""Makes lines of JSON as `netmon run` writes them, of any values, by the models of the events."""

from __future__ import annotations

from typing import Any

from netmon.events import Flow, LostCounts, LostEvents, NetworkEvent, NetworkSummary, Process, TcpConnection
from netmon.losses import EVENT_REASONS

TIME = "2026-11-29T15:42:39.832Z"
CLIENT, SERVER = "10.0.0.5", "192.0.2.10"
STATISTICS: dict[str, Any] = {
    "duration_us": 91_000,
    "bytes_sent": 137,
    "bytes_received": 853_000,
    "segments_retransmitted": 0,
    "rtt_us": 1000,
    "closed_by": "local",
}
PROGRESS: dict[str, Any] = {
    "duration_us": 20_000_000,
    "interval_us": 2_000_000,
    "bytes_sent": 2_100_000,
    "bytes_received": 30_000,
    "interval_bytes_sent": 2_000_000,
    "interval_bytes_received": 30_000,
    "segments_retransmitted": 0,
    "rtt_us": 1000,
    "sampled": True,
}


def process(**changes: Any) -> Process:
    """Return a curl of root."""
    fields: dict[str, Any] = {
        **dict.fromkeys(("uid", "euid", "gid", "egid"), 0),
        **dict.fromkeys(("cap_inheritable", "cap_permitted", "cap_effective", "secureexec"), ""),
        "start_time": TIME,
        "pid": 153,
        "tid": 153,
        "ppid": 1,
        "auid": 4294967295,
        "filename": "curl",
        "binary_path": "/usr/bin/curl",
        "args": "http://192.0.2.10/",
        **changes,
    }
    return Process(**fields)


def connection_line(kind: str, cookie: int = 1, *, by: Process | None = None, time: str = TIME, **changes: Any) -> str:
    """Return the line of a NetworkEvent.

    Args:
        kind: The type without its prefix: Establish.
        cookie: The socket's.
        by: The process; None: a curl of root.
        time: The event's.
        changes: Further keys of network_event, and other values.
    """
    network = {"saddr": CLIENT, "daddr": SERVER, "sport": 40122, "dport": 443, **changes}
    event = NetworkEvent(
        process=by or process(),
        network_event=TcpConnection(type=f"TcpConnection{kind}", cookie=cookie, **network),  # type: ignore[arg-type]
        timestamp=time,
    )
    return event.model_dump_json() + "\n"


def loss_line(**counts: Any) -> str:
    """Return the line of a LostEvents."""
    zeros = dict.fromkeys(("count", *EVENT_REASONS, "missed"), 0)
    event = LostEvents(lost_events=LostCounts(**{**zeros, **counts}), timestamp=TIME)
    return event.model_dump_json() + "\n"


def flow_line(by: Process | None = None, **changes: Any) -> str:
    """Return the line of a NetworkSummary."""
    totals: dict[str, Any] = {
        "direction": "egress",
        "peer": SERVER,
        "port": 443,
        "opened": 12,
        "closed": 11,
        "failed": 0,
        "bytes_sent": 12_000,
        "bytes_received": 1_200,
        "duration_us": 1_000_000,
        **changes,
    }
    event = NetworkSummary(process=by or process(), flow=Flow(**totals), period_start=TIME, timestamp=TIME)
    return event.model_dump_json() + "\n"


HOSTILE_TEXTS = {
    "escape sequences": "\x1b[31m\x1b]0;title\x07\x1b[2J\x1b[?1049h",
    "8-bit controls": "\x9b31m\x90q\x9c",
    "line ends": "one\ntwo\r\nthree\x0b\x0c\x85\u2028\u2029",
    "backspaces": "root\x08\x08\x08\x08evil",
    "right to left": "curl\u202egpj.exe\u2066\u200f",
    "right-to-left letters": "\u05e9\u05dc 10.0.0.1 \u0627\u0664",
    "unseen": "a\u200bb\ufeffc\ufe0fd\u3164e\u115ff\U000e0041g\u2800h\U000e0100",
    "combining marks": "\u0301a" + "\u0301" * 40,
    "not UTF-8": "caf\\xe9",
    "wide": "日本語のプログラム",
    "long": "x" * 255,
    "long and wide": "語" * 85,
    "empty": "",
    "spaces": "   ",
    "nothing but a bracket": "]",
}

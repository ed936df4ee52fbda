"""What logs show of an event: a sentence, and how urgent it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netmon.text import escape

WARNING, NOTICE, INFORMATIONAL = 4, 5, 6
# Of rules.
_PRIORITIES = {"critical": 2, "high": 3, "medium": WARNING, "low": NOTICE, "info": INFORMATIONAL}
_VERBS = {
    "Establish": "connects to",
    "Accept": "accepted",
    "Close": "closed its connection with",
    "Fail": "failed to connect to",
    "Existing": "has a connection with",
    "Progress": "goes on with",
    "Name": "announced a name to",
}
MAX_NAME = 64  # characters of a program's name


def priority_of(event: Mapping[str, Any]) -> int:
    """Return an event's priority, of syslog's: that of its rules, if it has some."""
    if event["type"] == "LostEvents":
        return WARNING
    return _PRIORITIES.get(event.get("severity", ""), INFORMATIONAL)


def message_of(event: Mapping[str, Any]) -> str:
    """Return a sentence about an event, harmless."""
    if event["type"] == "LostEvents":
        return f"{event['lost_events']['count']} events lost"
    process = event["process"]
    who = f"{process['filename'][:MAX_NAME]}[{process['pid']}]"
    if event["type"] == "NetworkEvent":
        details = event["network_event"]
        verb = _VERBS.get(details["type"].removeprefix("TcpConnection"), "has an event with")
        what = f"{verb} {_end(details['daddr'], details['dport'])}"
        if "reason" in details:
            what += f": {details['reason']}"
    else:
        flow = event["flow"]
        what = f"had {flow['opened']} connections, {flow['direction']}, with {_end(flow['peer'], flow['port'])}"
    rules = f" ({event.get('severity')}: {', '.join(event['rules'])})" if event.get("rules") else ""
    return escape(f"{who} {what}{rules}").replace("\n", "\\n")


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

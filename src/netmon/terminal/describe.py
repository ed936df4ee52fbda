"""What a line says about an event: short words for the JSON's values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from netmon.decode.format import EVENT_TYPES
from netmon.layout import RecordType
from netmon.losses import describe_losses
from netmon.peer_names import CERTAIN, announced_name
from netmon.terminal.cells import shorten
from netmon.terminal.row import IN, MAX_NAME, MAX_USER, OUT, UNKNOWN, Row
from netmon.terminal.style import GREEN, RED, YELLOW
from netmon.terminal.units import duration, size
from netmon.text import escape_for_terminal

Json = Mapping[str, Any]

ESTABLISH, ACCEPT, CLOSE, FAIL, EXISTING, PROGRESS, NAME = (
    EVENT_TYPES[RecordType[name]] for name in ("ESTABLISH", "ACCEPT", "CLOSE", "FAIL", "EXISTING", "PROGRESS", "NAME")
)
ARROWS = {"egress": OUT, "ingress": IN}
_ARROW_OF_TYPE = {ESTABLISH: OUT, FAIL: OUT, NAME: OUT, ACCEPT: IN}
_BAD_ENDINGS = ("reset", "timeout")
MAX_PEER_NAME = 48  # cells
INFERRED = "~"


class Describer:
    """Makes rows of events, as dicts with the JSON's keys."""

    def __init__(self, user_name: Callable[[int], str], ascii_only: bool = False) -> None:
        """Make it.

        Args:
            user_name: Returns a user's name, harmless, by the number.
            ascii_only: See escape_for_terminal().
        """
        self._user_name = user_name
        self._ascii_only = ascii_only

    def row(self, event: Json, arrow: str, outcome: str, style: str) -> Row:
        """Return the row of a NetworkEvent."""
        network = event["network_event"]
        if arrow == IN:
            peer = serving(network["daddr"], network["sport"])
        else:
            peer = endpoint(network["daddr"], network["dport"], name_of(network))
        return self._row(event, arrow, peer, outcome, style)

    def flow_row(self, event: Json) -> Row:
        """Return the row of a NetworkSummary."""
        flow = event["flow"]
        arrow = ARROWS.get(flow["direction"], UNKNOWN)
        peer = (serving if arrow == IN else endpoint)(flow["peer"], flow["port"])
        counts = " ".join(f"{flow[key]} {key}" for key in ("opened", "closed", "failed") if flow[key])
        outcome = f"{counts or '0 opened'} {traffic(flow)}"
        return self._row(event, arrow, peer, outcome, RED if flow["failed"] and not flow["closed"] else "")

    def _row(self, event: Json, arrow: str, peer: str, outcome: str, style: str) -> Row:
        process = event["process"]
        name = short_name(process["filename"], MAX_NAME, self._ascii_only)
        user = shorten(workload_name(process, self._ascii_only) or self._user_name(process["uid"]), MAX_USER)
        if rules := event.get("rules"):
            outcome += f" ({event['severity']}: {escape_for_terminal(', '.join(rules), self._ascii_only)})"
        if event.get("expected") is False:
            outcome += " (not expected)"
        return Row(local_time(event["timestamp"]), name, process["pid"], user, arrow, peer, outcome, style)


@lru_cache(maxsize=1024)
def short_name(name: str, width: int, ascii_only: bool) -> str:
    """Return a process's name, harmless and not too long."""
    return shorten(escape_for_terminal(name, ascii_only), width) or "?"


def name_of(network: Json) -> str:
    """Return the likeliest name of the peer; "" without one. `~` before it: another process was told it."""
    names = network.get("names")
    if not names:
        return ""
    inferred = names[0]["scope"] not in CERTAIN
    return f"{INFERRED * inferred}{shorten(names[0]['name'], MAX_PEER_NAME)}"


def workload_name(process: Json, ascii_only: bool) -> str:
    """Return what a process's container is called, harmless: NAMESPACE/POD, or its own name; "" if it is not known."""
    names = process.get("workload", {})
    name = f"{names.get('namespace', '')}/{names['pod']}".lstrip("/") if "pod" in names else names.get("container", "")
    return escape_for_terminal(name, ascii_only)


def endpoint(address: str, port: int, name: str = "") -> str:
    """Return a peer that this host has connected to: 10.0.0.1:80, [::1]:80, example.com (10.0.0.1):80."""
    if name:
        return f"{name} ({address}):{port}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def serving(address: str, port: int) -> str:
    """Return a peer that has connected to this host's port. The peer's own port says little."""
    return f"{address} on :{port}"


@lru_cache(maxsize=64)
def _local_time(seconds: str) -> str:
    from datetime import datetime  # slow to import

    return datetime.fromisoformat(f"{seconds}+00:00").astimezone().strftime("%H:%M:%S")


def local_time(timestamp: str) -> str:
    """Return an event's time as the time of day here: 14:47:33 of 2025-11-23T13:47:33.289Z."""
    return _local_time(timestamp[:19])


def arrow_of(network: Json, opening: str) -> str:
    """Return the direction of a connection. opening: the direction of a close's opening, if that was seen."""
    return _ARROW_OF_TYPE.get(network["type"]) or ARROWS.get(network.get("direction", ""), opening)


def opened(network: Json) -> tuple[str, str]:
    """Return what an opening's line says, and its style."""
    if network["type"] == ACCEPT:
        return "accepted", ""
    if network["type"] == EXISTING:
        return f"open already {traffic(network)}" if "bytes_sent" in network else "open already", ""
    if "handshake_us" in network:
        return f"open {duration(network['handshake_us'])}", ""
    return "connecting", ""


def failed(network: Json) -> tuple[str, str]:
    """Return why a connection attempt failed, and the style."""
    reason = network.get("reason", "other")
    return f"failed: {network.get('errno', reason) if reason == 'other' else reason}", RED


def closed(network: Json, handshake_us: int | None, good: str) -> tuple[str, str]:
    """Return what a close's line says, and its style.

    Args:
        network: The close.
        handshake_us: How long the handshake took, if that is known.
        good: The word for a connection that has ended as connections do.
    """
    ending = network.get("closed_by", "")
    words = [ending if ending in _BAD_ENDINGS else good]
    if handshake_us is not None:
        words.append(duration(handshake_us))
    if "bytes_sent" in network:
        words.append(traffic(network))
    if "duration_us" in network:
        words.append(duration(network["duration_us"]))
    if again := network.get("segments_retransmitted"):
        words.append(f"{again} resent")
    return " ".join(words), YELLOW if ending in _BAD_ENDINGS else GREEN if good == "ok" else ""


def progressed(network: Json) -> tuple[str, str]:
    """Return what the line of a connection that is open says, and its style: how much it carries in a second."""
    if not network.get("interval_us"):
        return "open", ""
    per_second = 1e6 / network["interval_us"]
    sent, received = (size(round(network[f"interval_bytes_{way}"] * per_second)) for way in ("sent", "received"))
    age = f" {duration(network['duration_us'])}" if "duration_us" in network else ""
    return f"open >{sent}/s <{received}/s{age}", ""


def announced(network: Json) -> tuple[str, str]:
    """Return what the line of a connection says whose client has announced a name, and its style."""
    return f"announced {shorten(announced_name(network) or UNKNOWN, MAX_PEER_NAME)}", ""


def traffic(counts: Json) -> str:
    """Return how many bytes were sent and received."""
    return f">{size(counts['bytes_sent'])} <{size(counts['bytes_received'])}"


def lost(counts: Json) -> str:
    """Return what a LostEvents says, in the words of the summary: `12 lost (12 ring full)`."""
    others = ("count", "blind_ms")
    reasons = {name: count for name, count in counts.items() if isinstance(count, int) and name not in others}
    offenders, outputs = (counts.get(name) or {} for name in ("offenders", "outputs"))
    return describe_losses(counts["count"], reasons, counts.get("blind_ms") or 0, offenders, outputs)

"""What the schemas have in common: who asked whom, when, and ids that events do not have."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import socket
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from hashlib import blake2b, sha1
from typing import Any, NamedTuple

from netmon.capabilities import CAPABILITIES
from netmon.report import DIRECTION_OF
from netmon.schemas.host import Host

Event = Mapping[str, Any]

TCP = 6  # IANA's number of the protocol
ID_SIZE = 16  # bytes
ALL_CAPABILITIES = "ALL_CAPS"
# The keys of network_event that each schema has a place for. All others are netmon's own.
KEYS = frozenset("type timestamp process parent opener network_event flow period_start lost_events".split())
FLOW_KEYS = ("direction", "peer", "port", "bytes_sent", "bytes_received")
WORKLOAD_KEYS = ("pod", "namespace", "pod_uid", "container", "image")
ENDS = ("type", "saddr", "daddr", "sport", "dport", "cookie", "direction")


class Endpoint(NamedTuple):
    """An end of a connection, without a port where it is not known."""

    address: str
    port: int | None


class Connection(NamedTuple):
    """A connection of an event.

    Attributes:
        local: This host's end.
        peer: The peer's end.
        direction: Who asked for it: this host (egress), the peer (ingress), or "" if that is not known.
    """

    local: Endpoint
    peer: Endpoint
    direction: str

    @property
    def source(self) -> Endpoint:
        """The end that asked; this host's, if that is not known."""
        return self.peer if self.direction == "ingress" else self.local

    @property
    def destination(self) -> Endpoint:
        """The end that was asked."""
        return self.local if self.direction == "ingress" else self.peer

    def by_end(self, sent: int, received: int) -> tuple[int, int]:
        """Return the bytes that the source has sent, and the destination."""
        return (received, sent) if self.direction == "ingress" else (sent, received)

    @property
    def version(self) -> int:
        """The version of IP."""
        return 6 if ":" in self.peer.address else 4


class Context(NamedTuple):
    """What events lack.

    Attributes:
        host: The host that they come from.
        version: netmon's.
        direction_of: Returns who opened the connection with a cookie: egress, ingress, or "".
    """

    host: Host
    version: str
    direction_of: Callable[[int], str]

    def connection(self, details: Event) -> Connection:
        """Return the connection of a network_event."""
        return Connection(
            Endpoint(details["saddr"], details["sport"]),
            Endpoint(details["daddr"], details["dport"]),
            direction_of_type(details) or self.direction_of(details["cookie"]),
        )

    def event_id(self, line: str) -> str:
        """Return an id of an event: the same one for the same event, whatever it is written to.

        It is a hash of the line and of the boot, so two events of a boot have one id only if nothing tells them apart.
        """
        return _hash(self.host.boot_id, line.rstrip("\n"))

    def process_id(self, process: Event) -> str:
        """Return an id of a process that no other process of any host has; "" if the boot is not known."""
        boot = self.host.boot_id
        return _hash(boot, str(process["pid"]), process["start_time"]) if boot else ""


def _hash(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=ID_SIZE).hexdigest()


def direction_of_type(details: Event) -> str:
    """Return the direction that an event itself tells; "" if it tells none."""
    direction: str = DIRECTION_OF.get(_short_type(details)) or details.get("direction", "")
    return direction


def _short_type(details: Event) -> str:
    """Return the type of a network_event without its prefix: establish, close."""
    name: str = details["type"].removeprefix("TcpConnection").lower()
    return name


def kind_of(event: Event) -> str:
    """Return the short name of an event: establish, close, lost, summary."""
    if event["type"] == "NetworkEvent":
        return _short_type(event["network_event"])
    return "lost" if event["type"] == "LostEvents" else "summary"


def is_established(details: Event) -> bool | None:
    """Return whether a connection was established; None if the event does not tell.

    Without the option `outcome`, an Establish is a connect() that the kernel has taken.
    """
    if details["type"] == "TcpConnectionFail":
        return False
    if details["type"] == "TcpConnectionAccept" or "handshake_us" in details:
        return True
    return True if details.get("state") == "established" else None


def own_details(details: Event, *without: str) -> dict[str, Any]:
    """Return the keys of a network_event that are netmon's own."""
    return {key: value for key, value in details.items() if key not in ENDS and key not in without}


def own_workload(workload: Event) -> dict[str, Any]:
    """Return the names of a workload that the schemas have no place for."""
    mapped = WORKLOAD_KEYS if "pod" in workload else ("container", "image")
    return {key: value for key, value in workload.items() if key not in mapped}


def further_keys(event: Event) -> dict[str, Any]:
    """Return the keys of an event beyond those that the schemas know: nothing is dropped in silence."""
    return {key: value for key, value in event.items() if key not in KEYS}


def flow_totals(flow: Event) -> dict[str, Any]:
    """Return the keys of a flow that are netmon's own."""
    return {key: value for key, value in flow.items() if key not in FLOW_KEYS}


def milliseconds(timestamp: str) -> int:
    """Return a time of netmon's as milliseconds since the epoch."""
    return _seconds(timestamp[:19]) * 1000 + int(timestamp[20:23])


@lru_cache(maxsize=64)
def _seconds(text: str) -> int:
    """Return 2025-11-23T13:47:33 as seconds since the epoch."""
    parts = (text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19])
    return int(datetime(*map(int, parts), tzinfo=timezone.utc).timestamp())  # type: ignore[misc,arg-type]


def capability_names(text: str, host: Host) -> list[str]:
    """Return the names of capabilities as an event has them, ALL_CAPS as those that the kernel knows."""
    if text == ALL_CAPABILITIES:
        return [f"CAP_{name}" for name in CAPABILITIES[: host.last_cap + 1]]
    return text.split(" | ") if text else []


def community_id(source: Endpoint, destination: Endpoint) -> str:
    """Return the Community ID of a TCP connection, version 1 with seed 0: the same for both directions."""
    ends = sorted(
        (socket.inet_pton(socket.AF_INET6 if ":" in end.address else socket.AF_INET, end.address), end.port or 0)
        for end in (source, destination)
    )
    addresses, ports = b"".join(address for address, _ in ends), b"".join(port.to_bytes(2, "big") for _, port in ends)
    digest = sha1(b"\0\0" + addresses + bytes((TCP, 0)) + ports, usedforsecurity=False).digest()
    return "1:" + b64encode(digest).decode()


def without_empty(fields: Event) -> dict[str, Any]:
    """Return fields without those that are None, or empty text, lists or mappings: what is not known is left out."""
    return {key: value for key, value in fields.items() if value or value == 0}

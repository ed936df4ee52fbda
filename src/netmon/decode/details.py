"""What detailed events tell beyond the plain ones: the further keys of a network_event."""

from __future__ import annotations

import errno
from typing import Any

from netmon.layout import (
    DETAILED_EVENT,
    EVENT_CONTEXT,
    DetailedEvent,
    Direction,
    Ending,
    EventContext,
    Family,
    RecordType,
)

IPV4_LENGTH = 4
NSEC_PER_USEC = 1000
DIRECTIONS = {int(direction): direction.name.lower() for direction in Direction}
ENDINGS = {int(ending): ending.name.lower() for ending in Ending}

REASONS = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.ECONNRESET: "reset",
    **dict.fromkeys(
        (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ENONET), "unreachable"
    ),
    **dict.fromkeys((errno.EADDRNOTAVAIL, errno.EADDRINUSE), "address"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "permission"),
}


def unpack_detailed(data: bytes, at: int) -> tuple[DetailedEvent, bytes]:
    """Return the detailed event in data and both of its addresses in one piece, as a plain event has them."""
    event = DetailedEvent._make(DETAILED_EVENT.unpack_from(data, at))
    if event.family == Family.IPV4:
        return event, event.saddr[:IPV4_LENGTH] + event.daddr[:IPV4_LENGTH]
    return event, event.saddr + event.daddr


def unpack_context(data: bytes, at: int) -> EventContext:
    """Return what follows a detailed event in data."""
    return EventContext._make(EVENT_CONTEXT.unpack_from(data, at))


def context_of(context: EventContext) -> dict[str, Any]:
    """Return the keys that tell where a connection lives, if they are asked for. It may have no interface by now."""
    if not context.netns:
        return {}
    interface = {"ifindex": context.ifindex} if context.ifindex else {}
    return {"netns": context.netns, **interface, "mark": context.mark}


def details_of(event: DetailedEvent) -> dict[str, Any]:
    """Return its further keys."""
    if event.type == RecordType.ESTABLISH:
        return {"handshake_us": event.handshake_ns // NSEC_PER_USEC}
    if event.type == RecordType.EXISTING:
        return {"direction": DIRECTIONS[event.direction]}
    if event.type == RecordType.FAIL:
        return _failure_of(event)
    if event.type == RecordType.CLOSE:
        return {
            "duration_us": event.duration_ns // NSEC_PER_USEC,
            "bytes_sent": event.bytes_sent,
            "bytes_received": event.bytes_received,
            "segments_retransmitted": event.segments_retransmitted,
            "rtt_us": event.rtt_us,
            "closed_by": ENDINGS[event.closed_by],
        }
    return {}


def _failure_of(event: DetailedEvent) -> dict[str, Any]:
    """A process that gave up has seen no error."""
    if not event.error:
        return {"reason": "killed" if event.killed else "closed"}
    name = errno.errorcode.get(event.error, str(event.error))
    return {"errno": name, "reason": REASONS.get(event.error, "other")}

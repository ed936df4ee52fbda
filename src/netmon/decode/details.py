"""The further keys of a network_event: what a detailed record holds beyond a plain one."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from netmon.decode.format import DIRECTIONS, ENDINGS, IPV4_LENGTH, NSEC_PER_USEC, REASONS, STATES
from netmon.layout import (
    DETAILED_EVENT,
    EVENT_CONTEXT,
    PROGRESS_EVENT,
    DetailedEvent,
    EventContext,
    Family,
    ProgressEvent,
    RecordType,
)

if TYPE_CHECKING:
    from netmon.events import FailureReason


def unpack_detailed(data: bytes, at: int) -> tuple[DetailedEvent, bytes]:
    """Return the detailed event at this offset of data, and both of its addresses in one piece, as in a plain event."""
    event = DetailedEvent._make(DETAILED_EVENT.unpack_from(data, at))
    if event.family == Family.IPV4:
        return event, event.saddr[:IPV4_LENGTH] + event.daddr[:IPV4_LENGTH]
    return event, event.saddr + event.daddr


def unpack_context(data: bytes, at: int) -> EventContext:
    """Return the context at this offset of data: where it follows a detailed event."""
    return EventContext._make(EVENT_CONTEXT.unpack_from(data, at))


def details_at(data: bytes, at: int, event: DetailedEvent) -> dict[str, Any]:
    """Return the keys that the detailed event at this offset of data has beyond those of a plain one."""
    if event.type == RecordType.PROGRESS:
        return _progress_of(ProgressEvent._make(PROGRESS_EVENT.unpack_from(data, at)))
    return details_of(event)


def details_of(event: DetailedEvent) -> dict[str, Any]:
    """Return the keys that an event of this type has beyond those of a plain one."""
    if event.type == RecordType.ESTABLISH:
        return {"handshake_us": event.handshake_ns // NSEC_PER_USEC}
    if event.type == RecordType.EXISTING:
        return {"direction": DIRECTIONS[event.direction], **(_statistics_so_far(event) if event.state else {})}
    if event.type == RecordType.FAIL:
        return _failure_of(event)
    if event.type == RecordType.CLOSE:
        return {**_counts_of(event), "closed_by": ENDINGS[event.closed_by]}
    return {}


def _duration_of(event: DetailedEvent | ProgressEvent) -> dict[str, Any]:
    """Return how long a connection was open, if that is known."""
    return {"duration_us": event.duration_ns // NSEC_PER_USEC} if event.duration_ns else {}


def _counts_of(event: DetailedEvent) -> dict[str, Any]:
    """Return how long a connection was open, if that is known, and what it has carried."""
    return {
        **_duration_of(event),
        "bytes_sent": event.bytes_sent,
        "bytes_received": event.bytes_received,
        "segments_retransmitted": event.segments_retransmitted,
        "rtt_us": event.rtt_us,
    }


def _statistics_so_far(event: DetailedEvent) -> dict[str, Any]:
    idle = {"idle_ms": event.idle_ms} if event.is_idle_known else {}
    return {**_counts_of(event), "state": STATES[event.state], **idle}


def _progress_of(event: ProgressEvent) -> dict[str, Any]:
    return {
        **_duration_of(event),
        "interval_us": event.interval_ns // NSEC_PER_USEC,
        "bytes_sent": event.bytes_sent,
        "bytes_received": event.bytes_received,
        "interval_bytes_sent": event.interval_bytes_sent,
        "interval_bytes_received": event.interval_bytes_received,
        "segments_retransmitted": event.segments_retransmitted,
        "rtt_us": event.rtt_us,
        "sampled": True,
    }


def _failure_of(event: DetailedEvent) -> dict[str, Any]:
    reason: FailureReason
    if not event.error:  # the process gave up before the kernel had an error for it
        reason = "killed" if event.killed else "closed"
        return {"reason": reason}
    reason = REASONS.get(event.error, "other")
    return {"errno": errno.errorcode.get(event.error, str(event.error)), "reason": reason}


def context_of(context: EventContext) -> dict[str, Any]:
    """Return the keys of the option `context`: none without that option, no `ifindex` without an interface."""
    if not context.netns:
        return {}
    interface = {"ifindex": context.ifindex} if context.ifindex else {}
    return {"netns": context.netns, **interface, "mark": context.mark}

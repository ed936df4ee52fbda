"""A second, slow implementation of the details of events, with which the compiled one is compared."""

from __future__ import annotations

import errno
from typing import Any

from netmon.decode.format import REASONS
from netmon.layout import (
    DETAILED_EVENT,
    EVENT_CONTEXT,
    PROGRESS_EVENT,
    DetailedEvent,
    Direction,
    Ending,
    EventContext,
    ProgressEvent,
    RecordType,
    TcpState,
)


def details_of(record: bytes) -> dict[str, Any]:
    """Return the keys that a detailed record has beyond those of each event, in order."""
    context = None
    if len(record) > DETAILED_EVENT.size:
        context = EventContext._make(EVENT_CONTEXT.unpack_from(record, DETAILED_EVENT.size))
    details = _details_of(record) if context is None or context.has_details else {}
    if context and context.netns:
        details["netns"] = context.netns
        if context.ifindex:
            details["ifindex"] = context.ifindex
        details["mark"] = context.mark
    return details


def _details_of(record: bytes) -> dict[str, Any]:
    event = DetailedEvent._make(DETAILED_EVENT.unpack_from(record))
    if event.type == RecordType.ESTABLISH:
        return {"handshake_us": event.handshake_ns // 1000}
    if event.type == RecordType.CLOSE:
        return {**_counts_of(event), "closed_by": Ending(event.closed_by).name.lower()}
    if event.type == RecordType.FAIL:
        if not event.error:
            return {"reason": "killed" if event.killed else "closed"}
        name = errno.errorcode.get(event.error, str(event.error))
        return {"errno": name, "reason": REASONS.get(event.error, "other")}
    if event.type == RecordType.EXISTING:
        details: dict[str, Any] = {"direction": Direction(event.direction).name.lower()}
        if event.state:
            details |= {**_counts_of(event), "state": TcpState(event.state).name.lower()}
            if event.is_idle_known:
                details["idle_ms"] = event.idle_ms
        return details
    if event.type == RecordType.PROGRESS:
        return _progress_of(ProgressEvent._make(PROGRESS_EVENT.unpack_from(record)))
    return {}


def _counts_of(event: DetailedEvent) -> dict[str, Any]:
    return {
        **({"duration_us": event.duration_ns // 1000} if event.duration_ns else {}),
        "bytes_sent": event.bytes_sent,
        "bytes_received": event.bytes_received,
        "segments_retransmitted": event.segments_retransmitted,
        "rtt_us": event.rtt_us,
    }


def _progress_of(event: ProgressEvent) -> dict[str, Any]:
    return {
        **({"duration_us": event.duration_ns // 1000} if event.duration_ns else {}),
        "interval_us": event.interval_ns // 1000,
        "bytes_sent": event.bytes_sent,
        "bytes_received": event.bytes_received,
        "interval_bytes_sent": event.interval_bytes_sent,
        "interval_bytes_received": event.interval_bytes_received,
        "segments_retransmitted": event.segments_retransmitted,
        "rtt_us": event.rtt_us,
        "sampled": True,
    }

"""Hypothesis strategies: records of processes and events with any values that the kernel may write."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from netmon.layout import (
    DETAILED_EVENT,
    EVENT_CONTEXT,
    PROCESS_RECORD,
    PROGRESS_EVENT,
    DetailedEvent,
    Direction,
    Ending,
    EventContext,
    Family,
    Foreign,
    ProcessRecord,
    ProgressEvent,
    RecordType,
    Secureexec,
    TcpState,
)
from tests.support.records import detailed_event, event_context, ipv4_event, ipv6_event, process_record, progress_event
from tests.support.strategies import ID

texts = st.binary(max_size=40)
packed_addresses = st.binary(min_size=16, max_size=16) | st.sampled_from(
    [bytes(16), bytes(10) + b"\xff\xff\x0a\0\0\1", bytes(12) + b"\x0a\0\0\1", b"\xfe\x80" + bytes(14)]
)
times = st.integers(0, 2**60) | st.integers(2_000_000_000, 2_002_000_000)
PROCESS_IDS = (1, 2, 3)
process_ids = st.sampled_from(PROCESS_IDS)
plain_types = st.sampled_from([RecordType.ESTABLISH, RecordType.ACCEPT, RecordType.CLOSE])
detailed_types = st.sampled_from([RecordType.ESTABLISH, RecordType.CLOSE, RecordType.FAIL, RecordType.EXISTING])


def numbers(layout: struct.Struct, names: Sequence[str]) -> dict[str, st.SearchStrategy[int]]:
    """Return a strategy for each number of a struct: all values of its width. It includes fields added later."""
    formats = re.findall(r"\d*[BHIQs]", layout.format)
    return {
        name: st.integers(0, 256 ** struct.calcsize(f"={format_}") - 1)
        for name, format_ in zip(names, formats, strict=True)
        if not format_.endswith("s")
    }


@st.composite
def process_records(draw: st.DrawFn, process_id: int) -> bytes:
    """Draw a process, whose parent and image may be those of one of those with lower ids."""
    sources = st.just(0) | st.integers(0, process_id - 1)
    fields = {
        **numbers(PROCESS_RECORD, ProcessRecord._fields),
        "type": st.just(RecordType.PROCESS),
        "flags": st.just(0),
        "image_source": sources,
        "cgroup_source": sources,
        "exec_id": st.sampled_from([0, 3, 4]),
        "foreign": st.integers(0, sum(Foreign)),
        "process_id": st.just(process_id),
        "start_time_ns": times,
        "pid": st.just(process_id),
        "ppid": st.just(process_id - 1),
        "parent_id": st.integers(0, process_id - 1),
        "secureexec": st.integers(0, sum(Secureexec)),
    }
    changes: dict[str, Any] = {name: draw(numbers) for name, numbers in fields.items() if not name.endswith("_length")}
    return process_record(
        container_id=ID.encode() if draw(st.booleans()) else b"",
        path=b"/" + draw(texts).replace(b"\0", b""),
        argv=b"\0".join([b"argv0", *draw(st.lists(texts))]) + b"\0",
        **changes,
    )


@st.composite
def event_records(draw: st.DrawFn) -> bytes:
    """Draw a plain event of one of PROCESS_IDS."""
    make, size = draw(st.sampled_from([(ipv4_event, 4), (ipv6_event, 16)]))
    ports = st.integers(0, 2**16 - 1)
    return make(
        type=draw(plain_types),
        process_id=draw(process_ids),
        tid=draw(st.integers(0, 2**32 - 1)),
        sport=draw(ports),
        dport=draw(ports),
        cookie=draw(st.integers(0, 2**64 - 1)),
        timestamp_ns=draw(times),
        saddr=draw(packed_addresses)[:size],
        daddr=draw(packed_addresses)[:size],
    )


@st.composite
def detailed_records(draw: st.DrawFn) -> bytes:
    """Draw a detailed event of one of PROCESS_IDS, with or without a context."""
    of_process = {"family": st.sampled_from(Family), "process_id": process_ids, "timestamp_ns": times}
    fields: dict[str, st.SearchStrategy[int]] = {
        **numbers(DETAILED_EVENT, DetailedEvent._fields),
        **of_process,
        "type": detailed_types,
        "duration_ns": st.just(0) | st.integers(0, 2**64 - 1),
        "is_idle_known": st.integers(0, 1),
        "error": st.just(0) | st.integers(0, 600),
        "killed": st.integers(0, 1),
        "direction": st.sampled_from(Direction),
        "closed_by": st.sampled_from([ending for ending in Ending if ending != Ending.NONE]),
        "state": st.sampled_from([0, *TcpState]),
    }
    context = {
        **numbers(EVENT_CONTEXT, EventContext._fields),
        "opener_id": st.integers(0, max(PROCESS_IDS) + 1),
        "has_details": st.integers(0, 1),
        "netns": st.just(0) | st.integers(0, 2**32 - 1),
        "ifindex": st.just(0) | st.integers(0, 2**32 - 1),
    }
    progress = {
        **numbers(PROGRESS_EVENT, ProgressEvent._fields),
        **of_process,
        "type": st.just(RecordType.PROGRESS),
        "duration_ns": st.just(0) | st.integers(0, 2**64 - 1),
    }
    make: Callable[..., bytes]
    make, values = draw(st.sampled_from([(detailed_event, fields), (progress_event, progress)]))
    event = make(
        saddr=draw(packed_addresses),
        daddr=draw(packed_addresses),
        **{name: draw(numbers) for name, numbers in values.items()},
    )
    return event + event_context(**{name: draw(numbers) for name, numbers in context.items()}) * draw(st.booleans())

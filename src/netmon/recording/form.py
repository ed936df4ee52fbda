"""The form of a recording: a header, then frames.

    MAGIC, FORM_VERSION   a header, which is JSON   frame   frame   ...   a frame of kind END

The header and each frame begin with a HEAD: the kind, the length of what follows, and its CRC-32. What the decoder asks
the host while it decodes a batch is in the frames behind that batch, in the order of the questions. So it decodes the
same again, wherever that is.
"""

from __future__ import annotations

import re
import struct
import sys
import zlib
from enum import IntEnum
from typing import Any, NamedTuple

from netmon import layout
from netmon.errors import DecodeError
from netmon.filters.compiled import NameRules
from netmon.limits import DEFAULT_LINE_LIMIT, MAX_ANCESTORS, MAX_LINE_LIMIT, MAX_PROGRESS, MIN_PROGRESS
from netmon.losses import BY_NAME, Losses
from netmon.report import EVENTS, OPTIONS, Report

MAGIC = b"\x89netmon recording\r\n\x1a\n"  # a transfer as text, or with seven bits, damages it
FORM_VERSION = 1
START = struct.Struct(f"<{len(MAGIC)}sI")
HEAD = struct.Struct("<B3xII")  # kind, length, CRC-32
MAX_FRAME = 4 << 20  # bytes: a batch has 256 KiB, and one record more
STEP = struct.Struct("<Qq")  # of the clock: when (the kernel's CLOCK_BOOTTIME), and UTC's offset from then on
WAITING = struct.Struct("<Q")

MAX_TIME = 1 << 62  # nanoseconds
LAST_CAP_LIMIT = 63
MAX_VERSION = 40  # characters
MAX_COUNT = 1 << 44  # of lost events; sums of such counts are no longer than 64 bits


# What a frame of kind HOST_NAMES answers: the value is null, if nothing was found in time.
CONTAINER, AGAIN, USER = "container", "again", "user"


class Kind(IntEnum):
    """What a frame holds."""

    HEADER = 1
    CLOCK = 2  # a STEP: UTC was set, before the next batch was decoded
    BATCH = 3  # records as they were in the ring buffer, with their headers
    CMDLINE = 4  # the arguments of a process as they were read from /proc: nothing, or NUL and the arguments
    WAITING = 5  # how many bytes of records were waiting in the ring buffer
    REPORT = 6  # a report of lost events, as JSON
    END = 7  # what the kernel half lost, and whether the run's records are all here, as JSON
    NAMES = 8  # which names of peers pass from the next batch on, as JSON; before the first one: all
    HOST_NAMES = 9  # how a container or a user is called, as JSON: an object with one key, CONTAINER, AGAIN or USER


class Header(NamedTuple):
    """What decoding needs to know of the host and of the run.

    Attributes:
        netmon: The version of netmon that has recorded.
        kernel: The kernel's release and machine, for readers of bug reports.
        last_cap: The number of the kernel's last capability.
        offset_ns: UTC's offset from the kernel's CLOCK_BOOTTIME.
        line_limit: As of Monitor.
        ingress: Whether accepted connections are reported.
        egress: Whether connections that processes open are reported.
        report: The report options.
        boot_id: The boot id, with the option id.
    """

    netmon: str
    kernel: str
    last_cap: int
    offset_ns: int
    line_limit: int
    ingress: bool
    egress: bool
    report: Report
    boot_id: str = ""


def layout_id() -> str:
    """Return what tells the layout of this version's records from others. A further kind of record belongs here."""
    structs = (
        *(layout.PROCESS_RECORD, layout.IPV4_EVENT, layout.IPV6_EVENT),
        *(layout.DETAILED_EVENT, layout.EVENT_CONTEXT, layout.PROGRESS_EVENT, layout.EXEC_RECORD),
        *(layout.ANSWER_RECORD, layout.HELLO_RECORD),
        *(layout.ANCESTORS_HEAD, layout.ANCESTOR),
    )
    fields = (
        *(layout.ProcessRecord, layout.Ipv4Event, layout.Ipv6Event),
        *(layout.DetailedEvent, layout.EventContext, layout.ProgressEvent, layout.ExecRecord),
        *(layout.AnswerRecord, layout.HelloRecord),
        *(layout.AncestorsHead, layout.Ancestor),
    )
    enums = (
        *(layout.RecordType, layout.Family, layout.Direction, layout.Ending),
        *(layout.Secureexec, layout.ProcessFlag, layout.ExecFlag, layout.Foreign),
    )
    parts = (
        [each.format for each in structs],
        [each._fields for each in fields],
        [[(member.name, int(member)) for member in enum] for enum in enums],
    )
    return f"{zlib.crc32(repr(parts).encode()):08x}"


def pack_frame(kind: Kind, payload: bytes) -> bytes:
    """Return a frame."""
    return HEAD.pack(kind, len(payload), zlib.crc32(payload)) + payload


def pack_header(header: Header) -> bytes:
    """Return the beginning of a recording."""
    report = {name: value for name, value in header.report._asdict().items() if value is not None}
    fields = {**header._asdict(), "report": report, "layout": layout_id(), "byteorder": sys.byteorder}
    return START.pack(MAGIC, FORM_VERSION) + pack_frame(Kind.HEADER, pack_json(fields))


def pack_json(value: Any) -> bytes:
    """Return a value as JSON."""
    import json  # seldom needed

    return json.dumps(value, separators=(",", ":")).encode()


def unpack_json(payload: bytes) -> dict[str, Any]:
    """Return the keys and values of a JSON object. Raises DecodeError."""
    import json

    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        raise DecodeError("it has no JSON where it should") from None
    if not isinstance(value, dict):
        raise DecodeError("its JSON is no object")
    return value


def unpack_header(payload: bytes) -> Header:
    """Return the header. Raises DecodeError if this version of netmon cannot use it."""
    fields = unpack_json(payload)
    version = fields.get("netmon")
    version = (
        version if isinstance(version, str) and version.isprintable() and len(version) <= 40 else "another version"
    )
    if (fields.get("layout"), fields.get("byteorder")) != (layout_id(), sys.byteorder):
        raise DecodeError(
            f"netmon {version} has recorded it, whose records have another layout; replay it with that version"
        )
    kernel, report = fields.get("kernel"), fields.get("report")
    if not isinstance(kernel, str) or not isinstance(report, dict):
        raise DecodeError("its header has no kernel or no report")
    enabled = {direction: fields.get(direction) is True for direction in ("ingress", "egress")}
    options = _report(report)
    if not any(enabled.values()) or options.without_direction(enabled) or options.impossible_events(enabled):
        raise DecodeError("its header has options that no run has")
    return Header(
        netmon=version,
        kernel=kernel,
        last_cap=_integer(fields, "last_cap", 0, LAST_CAP_LIMIT),
        offset_ns=_integer(fields, "offset_ns", -MAX_TIME, MAX_TIME),
        line_limit=_integer(fields, "line_limit", DEFAULT_LINE_LIMIT, MAX_LINE_LIMIT),
        **enabled,
        report=options,
        boot_id=_boot_id(fields.get("boot_id")) if options.id else "",
    )


def _report(fields: dict[str, Any]) -> Report:
    events = fields.get("events")
    if not isinstance(events, list) or not all(isinstance(event, str) and event in EVENTS for event in events):
        events = None
    return Report(
        **{name: fields.get(name) is True for name in OPTIONS},
        ancestors=_ancestors(fields.get("ancestors")),
        progress=_progress(fields.get("progress")),
        events=tuple(events) if events is not None else None,
    )


def _boot_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{32}", value):
        raise DecodeError("its header has no boot id")
    return value


def _ancestors(count: object) -> int | None:
    return count if type(count) is int and 1 <= count <= MAX_ANCESTORS else None


def _progress(seconds: object) -> float | None:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    return seconds if MIN_PROGRESS <= seconds <= MAX_PROGRESS else None  # NaN is in no range


def _integer(fields: dict[str, Any], key: str, least: int, most: int) -> int:
    value = fields.get(key)
    if type(value) is not int or not least <= value <= most:
        raise DecodeError(f"{key} is no number from {least} to {most}")
    return value


def pack_losses(losses: Losses) -> dict[str, Any]:
    """Return losses as values of JSON: those that are not 0."""
    values = {name: value for name, value in losses._asdict().items() if value}
    return {name: dict(value) if name in BY_NAME else value for name, value in values.items()}


def unpack_losses(value: object) -> Losses:
    """Return what pack_losses() was given. Raises DecodeError."""
    if not isinstance(value, dict) or not value.keys() <= {*Losses._fields}:
        raise DecodeError("its losses have unknown keys")
    for name, count in value.items():
        counts = count if name in BY_NAME else {name: count}
        if not isinstance(counts, dict) or not all(
            type(number) is int and 0 <= number <= MAX_COUNT for number in counts.values()
        ):
            raise DecodeError(f"its losses have no counts in {name}")
    return Losses(**value)


def pack_names(rules: NameRules | None) -> dict[str, Any]:
    """Return a filter of names as values of JSON."""
    return {} if rules is None else {"domain": rules.patterns, "deny_list": rules.deny}


def unpack_names(fields: dict[str, Any]) -> NameRules | None:
    """Return what pack_names() was given. Raises DecodeError."""
    patterns, deny = fields.get("domain"), fields.get("deny_list")
    if not fields:
        return None
    from netmon.names.patterns import check_pattern  # seldom needed

    try:
        if isinstance(patterns, list) and isinstance(deny, bool):
            return NameRules(tuple(check_pattern(pattern) for pattern in patterns if isinstance(pattern, str)), deny)
    except ValueError:
        pass
    raise DecodeError("its filter of names is none")


def unpack_step(payload: bytes) -> tuple[int, int]:
    """Return a step of the clock. Raises DecodeError."""
    since, offset = _unpack(STEP, payload)
    if not -MAX_TIME <= offset <= MAX_TIME:
        raise DecodeError("it has an impossible time")
    return since, offset


def unpack_waiting(payload: bytes) -> int:
    """Return how many bytes were waiting. Raises DecodeError."""
    (waiting,) = _unpack(WAITING, payload)
    return int(waiting)


def _unpack(form: struct.Struct, payload: bytes) -> tuple[Any, ...]:
    if len(payload) != form.size:
        raise DecodeError(f"a frame has {len(payload)} bytes, not {form.size}")
    return form.unpack(payload)

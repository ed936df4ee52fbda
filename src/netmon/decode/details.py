"""The further keys of a network_event: what a detailed record holds beyond a plain one."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from netmon.batch import HEADER
from netmon.decode.format import DIRECTIONS, ENDINGS, NSEC_PER_USEC, REASONS, STATES
from netmon.decode.templates import Key, Maker, make, offset_of
from netmon.layout import DETAILED_EVENT, EVENT_CONTEXT, FIELDS, PROGRESS_EVENT, Family, RecordType

if TYPE_CHECKING:
    from netmon.decode.templates import Writer
    from netmon.events import FailureReason


def _reason(error: int, killed: int) -> FailureReason:
    """Return why a connection attempt failed."""
    if error:
        return REASONS.get(error, "other")
    return "killed" if killed else "closed"  # the process gave up before the kernel had an error for it


def _errno_name(error: int) -> str:
    return errno.errorcode.get(error, str(error))


def _number(name: str, given: tuple[str, ...] = ()) -> Key:
    return Key(name, (name,), given=given)


def _microseconds(name: str, field: str, given: tuple[str, ...] = ()) -> Key:
    return Key(name, (field,), NSEC_PER_USEC, given=given)


def _duration(*given: str) -> Key:
    """Return the key for how long a connection was open, if that is known."""
    return _microseconds("duration_us", "duration_ns", (*given, "duration_ns"))


def _counts(*given: str) -> tuple[Key, ...]:
    """Return the keys for how long a connection was open, and what it has carried."""
    return (
        _duration(*given),
        _number("bytes_sent", given),
        _number("bytes_received", given),
        _number("segments_retransmitted", given),
        _number("rtt_us", given),
    )


# By the type of the event, in the order of the model's fields.
DETAILS: dict[int, tuple[Key, ...]] = {
    RecordType.ESTABLISH: (_microseconds("handshake_us", "handshake_ns"),),
    RecordType.ACCEPT: (),
    RecordType.CLOSE: (*_counts(), Key("closed_by", ("closed_by",), text=ENDINGS.__getitem__)),
    RecordType.FAIL: (
        Key("errno", ("error",), text=_errno_name, given=("error",)),
        Key("reason", ("error", "killed"), text=_reason),
    ),
    RecordType.EXISTING: (
        Key("direction", ("direction",), text=DIRECTIONS.__getitem__),
        *_counts("state"),
        Key("state", ("state",), text=STATES.__getitem__, given=("state",)),
        _number("idle_ms", ("state", "is_idle_known")),
    ),
    RecordType.PROGRESS: (
        _duration(),
        _microseconds("interval_us", "interval_ns"),
        _number("bytes_sent"),
        _number("bytes_received"),
        _number("interval_bytes_sent"),
        _number("interval_bytes_received"),
        _number("segments_retransmitted"),
        _number("rtt_us"),
        Key("sampled", ()),
    ),
}
# Of the option `context`: none without that option, no `ifindex` without an interface.
CONTEXT = (
    _number("netns", ("netns",)),
    _number("ifindex", ("netns", "ifindex")),
    _number("mark", ("netns",)),
)

_FAMILIES = frozenset(map(int, Family))
DETAILED_SIZE = DETAILED_EVENT.size
CONTEXT_SIZE = DETAILED_SIZE + EVENT_CONTEXT.size  # of a detailed event with its context
_CONTEXT_LAYOUT = (EVENT_CONTEXT.format, FIELDS["EventContext"])
HAS_DETAILS_AT = HEADER.size + DETAILED_SIZE + offset_of("has_details", _CONTEXT_LAYOUT)  # behind a header's offset


class Makers(dict[tuple[int, int, int, bool], Maker]):
    """The functions that read detailed events, each made on first use.

    Their keys: the event's type, its family, has_details of its context (1 without one), whether a context follows.
    """

    def __init__(self, write: Writer) -> None:
        """Make none yet. write: writes how details are made."""
        super().__init__()
        self._write = write

    def __missing__(self, key: tuple[int, int, int, bool]) -> Maker:
        """Make a function. Raises KeyError if there is no such type or family."""
        type_, family, has_details, has_context = key
        if family not in _FAMILIES:
            raise KeyError(family)
        format_, names = _layout_of(type_)
        keys = DETAILS[type_] if has_details else ()
        if has_context:
            format_, names, keys = format_ + _CONTEXT_LAYOUT[0], names + _CONTEXT_LAYOUT[1], keys + CONTEXT
        made = self[key] = make(
            keys, (format_, names), HEADER.size, self._write, ipv4=family == Family.IPV4, has_opener=has_context
        )
        return made


def _layout_of(type_: int) -> tuple[str, tuple[str, ...]]:
    """Return the format of the record of an event of this type, and the names of its fields."""
    if type_ == RecordType.PROGRESS:
        return PROGRESS_EVENT.format, FIELDS["ProgressEvent"]
    return DETAILED_EVENT.format, FIELDS["DetailedEvent"]

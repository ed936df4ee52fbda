"""One connection event, and how it is rendered: as a line of JSON, or as a NetworkEvent.

This is the hot path, so it has two renderers. The keys that they have in common are written in both; `details`, the
further keys, come ready made from details.py.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from netmon.decode.format import ADDRESSES_KEPT, EVENT_TYPES, format_address, plain_json
from netmon.decode.known_process import KnownProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from netmon.events import NetworkEvent

    T = TypeVar("T")
    # A renderer takes the fields of a RawEvent one by one. So the decoder need not make a RawEvent first: that would
    # take a third of the time that rendering takes.
    Renderer = Callable[[KnownProcess, int, int, int, int, int, bytes, str, int, dict[str, Any], "Opener | None"], T]


class Opener(NamedTuple):
    """The thread that opened a connection which another process closes."""

    process: KnownProcess
    tid: int


class RawEvent(NamedTuple):
    """A connection event as the kernel's record holds it: much cheaper than a NetworkEvent."""

    process: KnownProcess  # the same object for all events of a process
    tid: int
    type: int  # a RecordType
    sport: int
    dport: int
    cookie: int
    addresses: bytes  # saddr and daddr, packed, in one piece
    timestamp: str  # UTC, in milliseconds
    timestamp_ns: int  # since the epoch
    details: dict[str, Any]  # the further keys of network_event
    opener: Opener | None  # of a close by another process than the one that opened the connection

    @property
    def type_name(self) -> str:
        """The type as a NetworkEvent has it: `TcpConnectionEstablish`."""
        return EVENT_TYPES[self.type]

    @property
    def saddr(self) -> str:
        """This host's address."""
        return _format_addresses(self.addresses)[0]

    @property
    def daddr(self) -> str:
        """The peer's address."""
        return _format_addresses(self.addresses)[1]

    def json(self) -> str:
        """Return the event as `netmon run` writes it: a line of JSON, ended by a newline."""
        return render_json(*self)

    def model(self) -> "NetworkEvent":
        """Return the event as the pydantic model."""
        return model_renderer()(*self)


def render_json(
    process: KnownProcess,
    tid: int,
    type_: int,
    sport: int,
    dport: int,
    cookie: int,
    addresses: bytes,
    timestamp: str,
    _timestamp_ns: int,
    details: dict[str, Any],
    opener: Opener | None,
) -> str:
    """Return a line of JSON. The keys have the order of the models' fields."""
    further = f",{plain_json(details)[1:-1]}" if details else ""
    opened_by = f',"opener":{opener.process.json(opener.tid)}' if opener else ""
    tail = process.json_tail or process.tail
    return (
        f'{process.json_head}{tid}{tail}{opened_by},"network_event":{{"type":"{EVENT_TYPES[type_]}",'
        f'{_json_addresses(addresses)},"sport":{sport},"dport":{dport},"cookie":{cookie}{further}}},"timestamp":"{timestamp}"}}\n'
    )


@lru_cache(maxsize=1)
def model_renderer() -> "Renderer[NetworkEvent]":
    """Return the function that renders a model. It is made on first use, as importing pydantic takes long."""
    from pydantic import TypeAdapter

    from netmon.events import NetworkEvent

    validate = TypeAdapter(NetworkEvent).validator.validate_python

    def render_model(
        process: KnownProcess,
        tid: int,
        type_: int,
        sport: int,
        dport: int,
        cookie: int,
        addresses: bytes,
        timestamp: str,
        _timestamp_ns: int,
        details: dict[str, Any],
        opener: Opener | None,
    ) -> NetworkEvent:
        saddr, daddr = _format_addresses(addresses)
        fields = {
            "type": "NetworkEvent",
            "process": process.model(tid),
            "network_event": {
                "type": EVENT_TYPES[type_],
                "saddr": saddr,
                "daddr": daddr,
                "sport": sport,
                "dport": dport,
                "cookie": cookie,
                **details,
            },
            "timestamp": timestamp,
        }
        if process.has_parent:
            fields["parent"] = process.parent_model
        if opener:
            fields["opener"] = opener.process.model(opener.tid)
        event: NetworkEvent = validate(fields)
        return event

    return render_model


def make_raw_event(*fields: Any) -> RawEvent:
    """Return a RawEvent, in half the time that its own constructor takes."""
    return tuple.__new__(RawEvent, fields)


@lru_cache(maxsize=ADDRESSES_KEPT)
def _format_addresses(packed: bytes) -> tuple[str, str]:
    """Return both addresses as text."""
    half = len(packed) // 2
    return format_address(packed[:half]), format_address(packed[half:])


@lru_cache(maxsize=ADDRESSES_KEPT)
def _json_addresses(packed: bytes) -> str:
    half = len(packed) // 2
    return f'"saddr":"{format_address(packed[:half])}","daddr":"{format_address(packed[half:])}"'

"""One connection event, and how it is rendered: as a line of JSON, or as a NetworkEvent.

This is the hot path, so it has two renderers. The keys that each event has are written in both. `details`, the further
keys, come ready made by functions that details.py makes for each form: text for JSON, a dict for a model.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from netmon.decode.format import ADDRESSES_KEPT, EVENT_TYPES, format_address, plain_json
from netmon.decode.known_process import KnownProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netmon.decode.templates import Code, Key, Reader, Writer
    from netmon.events import NetworkEvent

T = TypeVar("T")

if TYPE_CHECKING:
    # A renderer takes the fields of a RawEvent one by one, with details of its form; its time in two parts, which most
    # forms need not add up. So the decoder need not make a RawEvent first: that would take a third of the time that
    # rendering takes.
    Renderer = Callable[[KnownProcess, int, int, int, int, int, bytes, str, int, int, Any, "Opener | None"], T]


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
        return JSON_FORM.of_raw(self)

    def model(self) -> "NetworkEvent":
        """Return the event as the pydantic model."""
        return model_form().of_raw(self)


class Readers(dict[tuple[int, int, int, bool], "Reader"]):
    """The functions that read detailed events, each made on first use: a run without report options imports no table.

    Their keys: the event's type, its family, has_details of its context (1 without one), whether a context follows.
    """

    def __init__(self, write: "Writer") -> None:
        """Make none yet. write: writes how details are made."""
        super().__init__()
        self._write = write

    def __missing__(self, key: tuple[int, int, int, bool]) -> "Reader":
        """Make a function. Raises KeyError if there is no such type or family."""
        from netmon.decode.details import make_reader

        type_, family, has_details, has_context = key
        reader = make_reader(type_, family, self._write, has_details=bool(has_details), has_context=has_context)
        self[key] = reader
        return reader


class Form(Generic[T]):
    """A form in which events are reported: what is made of their details, and how they are rendered with them."""

    def __init__(
        self, render: "Renderer[T]", plain: Any, write: "Writer", convert: "Callable[[dict[str, Any]], Any]"
    ) -> None:
        """Make a form.

        Args:
            render: Renders an event with its details.
            plain: The details of an event that has none.
            write: Writes how the details of records are made.
            convert: Makes them of a RawEvent's.
        """
        self.render = render
        self.plain = plain
        self._convert = convert
        self.readers = Readers(write)

    def of_raw(self, event: RawEvent) -> T:
        """Return a RawEvent in this form."""
        return self.render(*event[:-2], 0, self._convert(event.details), event.opener)


def _json_details(details: dict[str, Any]) -> str:
    return f",{plain_json(details)[1:-1]}" if details else ""


def _render_json(
    process: KnownProcess,
    tid: int,
    type_: int,
    sport: int,
    dport: int,
    cookie: int,
    addresses: bytes,
    timestamp: str,
    _time: int,
    _offset: int,
    details: str,
    opener: Opener | None,
) -> str:
    """Return a line of JSON. The keys have the order of the models' fields."""
    opened_by = f',"opener":{opener.process.json(opener.tid)}' if opener else ""
    tail = process.json_tail or process.tail
    return (
        f'{process.json_head}{tid}{tail}{opened_by},"network_event":{{"type":"{EVENT_TYPES[type_]}",'
        f'{_json_addresses[addresses]},"sport":{sport},"dport":{dport},"cookie":{cookie}{details}}},"timestamp":"{timestamp}"}}\n'
    )


def _write_json(keys: "Sequence[Key]") -> "Code":
    from netmon.decode.templates import write_json

    return write_json(keys)


def _write_dict(keys: "Sequence[Key]") -> "Code":
    from netmon.decode.templates import write_dict

    return write_dict(keys)


JSON_FORM = Form(_render_json, "", _write_json, _json_details)


@lru_cache(maxsize=1)
def model_form() -> "Form[NetworkEvent]":
    """Return the form of models. It is made on first use, as importing pydantic takes long."""
    from netmon.decode.models import model_maker
    from netmon.decode.templates import dict_writer
    from netmon.events import NetworkEvent, PeerName, TcpConnection

    make_event, make_connection = model_maker(NetworkEvent), model_maker(TcpConnection)
    make_name, no_name = model_maker(PeerName), dict.fromkeys(PeerName.model_fields)
    no_details: dict[str, Any] = dict.fromkeys(TcpConnection.model_fields)
    no_rules = dict.fromkeys(("rules", "severity", "tags", "message", "expected"))  # added later, if at all

    def render_model(
        process: KnownProcess,
        tid: int,
        type_: int,
        sport: int,
        dport: int,
        cookie: int,
        addresses: bytes,
        timestamp: str,
        _time: int,
        _offset: int,
        details: dict[str, Any],
        opener: Opener | None,
    ) -> NetworkEvent:
        connection = details or no_details.copy()  # with all keys, in order
        connection["type"] = EVENT_TYPES[type_]
        connection["saddr"], connection["daddr"] = _format_addresses(addresses)
        connection["sport"] = sport
        connection["dport"] = dport
        connection["cookie"] = cookie
        return make_event(
            {
                "type": "NetworkEvent",
                "process": process.model(tid),
                "parent": process.parent_model,
                "opener": opener.process.model(opener.tid) if opener else None,
                "network_event": make_connection(connection),
                "timestamp": timestamp,
                **no_rules,
            }
        )

    def with_models(details: dict[str, Any]) -> dict[str, Any]:
        """Return the details of a RawEvent with all keys, in order."""
        names = details.get("names")
        return no_details | details | ({"names": [make_name(no_name | name) for name in names]} if names else {})

    return Form(render_model, {}, dict_writer(no_details), with_models)


def make_raw_event(
    process: KnownProcess,
    tid: int,
    type_: int,
    sport: int,
    dport: int,
    cookie: int,
    addresses: bytes,
    timestamp: str,
    time: int,
    offset: int,
    details: dict[str, Any],
    opener: Opener | None,
) -> RawEvent:
    """Return a RawEvent, in half the time that its own constructor takes."""
    return tuple.__new__(
        RawEvent, (process, tid, type_, sport, dport, cookie, addresses, timestamp, time + offset, details, opener)
    )


RAW_FORM: Form[RawEvent] = Form(make_raw_event, {}, _write_dict, dict)


@lru_cache(maxsize=ADDRESSES_KEPT)
def _format_addresses(packed: bytes) -> tuple[str, str]:
    """Return both addresses as text."""
    half = len(packed) // 2
    return format_address(packed[:half]), format_address(packed[half:])


class _JsonAddresses(dict[bytes, str]):
    """Both addresses as members of JSON, by their bytes; made on first use, and forgotten together when there are many.

    To look one up takes a fifth of what lru_cache() takes, which is a tenth of an event.
    """

    def __missing__(self, packed: bytes) -> str:
        if len(self) >= ADDRESSES_KEPT:
            self.clear()
        half = len(packed) // 2
        text = self[packed] = f'"saddr":"{format_address(packed[:half])}","daddr":"{format_address(packed[half:])}"'
        return text


_json_addresses = _JsonAddresses()

"""Events as entries of journald, by its native protocol: each key is a field that `journalctl FIELD=VALUE` finds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from netmon.outputs.message import message_of, priority_of

SOCKET = "/run/systemd/journal/socket"
MAX_NAME = 64  # characters of a field's name: journald refuses longer ones
_PREFIXES = {"network_event": "", "lost_events": "LOST_"}  # of a mapping's keys, if it is not its own name
_NO_NAME = re.compile("[^A-Z0-9_]")


def to_entry(line: bytes) -> bytes:
    """Return the datagram of an event. line: of netmon's JSON."""
    from orjson import loads  # slow to import

    event = loads(line)
    fields = [
        ("MESSAGE", message_of(event)),
        ("PRIORITY", str(priority_of(event))),
        ("SYSLOG_IDENTIFIER", "netmon"),
        *_fields(event, "NETMON_"),
    ]
    return b"".join(_field(name, value) for name, value in fields)


def _fields(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of a mapping: those of mappings in it by longer names, those of lists several times."""
    for key, value in values.items():
        name = f"{prefix}{_NO_NAME.sub('_', key.upper())}"[:MAX_NAME]
        if key == "type" and prefix == "NETMON_" and str(value).startswith("TcpConnection"):
            name = "NETMON_EVENT"
        if isinstance(value, dict) and key in ("outputs", "offenders"):  # whose keys are others' texts
            yield name, _json(value)
        elif isinstance(value, dict):
            yield from _fields(value, f"{prefix}{_PREFIXES.get(key, f'{key.upper()}_')}")
        elif isinstance(value, list):
            yield from ((name, item if isinstance(item, str) else _json(item)) for item in value)
        else:
            yield name, value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    from netmon.decode.format import format_json

    return format_json(value)


def _field(name: str, value: str) -> bytes:
    """Return a field: a value with a line end is written with its length, so that it cannot begin another field."""
    data = value.encode(errors="replace")
    if b"\n" in data:
        return b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
    return b"%s=%s\n" % (name.encode(), data)

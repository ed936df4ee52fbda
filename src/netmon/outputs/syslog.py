"""Events as messages of syslog, RFC 5424: each key is a parameter of the structured data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from netmon.outputs.message import message_of, priority_of
from netmon.text import escape

SOCKET = "/dev/log"
FACILITY = 3  # daemons
# netmon has no enterprise number of its own: this one is for examples (RFC 5612).
ELEMENT = "netmon@32473"
MAX_MESSAGE = 8192  # bytes: what rsyslog and syslog-ng take without a change of their settings
MAX_NAME = 32  # characters of a parameter's name
_NO_NAME = re.compile("[^a-z0-9_.]")
_ESCAPED = re.compile(r'(["\\\]])')


class SyslogEncoder:
    """Makes messages."""

    def __init__(self) -> None:
        self._host = _NO_NAME.sub("-", os.uname().nodename.lower())[:255] or "-"
        self._pid = os.getpid()

    def encode(self, line: bytes) -> bytes:
        """Return the message of an event, with the parameters that it has room for. line: of netmon's JSON."""
        from orjson import loads  # slow to import

        event = loads(line)
        priority = FACILITY * 8 + priority_of(event)
        head = f"<{priority}>1 {event['timestamp']} {self._host} netmon {self._pid} {event['type']} [{ELEMENT}"
        tail = f"] {message_of(event)}".encode(errors="replace")
        parts, size, left_out = [head.encode()], len(head) + len(tail) + len(' cut="1"'), False
        for name, value in _parameters(event):
            shown = _ESCAPED.sub(lambda match: f"\\{match[0]}", escape(value).replace("\n", "\\n"))
            part = f' {name}="{shown}"'.encode(errors="replace")
            if size + len(part) > MAX_MESSAGE:
                left_out = True
                continue
            parts.append(part)
            size += len(part)
        return b"".join([*parts, b' cut="1"' * left_out, tail])


def _parameters(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = _NO_NAME.sub("_", f"{prefix}{key}")[:MAX_NAME]
        if isinstance(value, dict) and key not in ("outputs", "offenders"):
            yield from _parameters(value, "event." if key == "network_event" else f"{key}.")
        elif isinstance(value, str):
            yield name, value
        else:
            from netmon.decode.format import format_json

            yield name, format_json(value)

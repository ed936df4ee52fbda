"""Ports and ranges of ports as configurations write them: 443, "8000-8999"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from netmon.layout import Limit

LAST_PORT = Limit.PORT_COUNT - 1
OUT_OF_RANGE = f"is out of range; ports go from 0 to {LAST_PORT}"

NOT_A_PORT = "is not a port or a range of ports; write it like 443 or 8000-8999"

_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")

PORT_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": LAST_PORT},
        {"type": "string", "pattern": "^[0-9]+-[0-9]+$"},
    ]
}


def check_port(value: Any) -> int | str:
    """Return a port, or a range as text. Raises ValueError with what is wrong with it."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= LAST_PORT:
            raise ValueError(OUT_OF_RANGE)
        return value
    match = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(_explain(value))
    first, last = int(match[1]), int(match[2])
    if max(first, last) > LAST_PORT:
        raise ValueError(OUT_OF_RANGE)
    if first > last:
        raise ValueError(f"runs backwards; did you mean {last}-{first}?")
    return match[0]


def _explain(value: Any) -> str:
    if isinstance(value, str) and value.isdecimal():
        return "is text, not a number; write it like 443, without quotes and without leading zeros"
    return (explain_service(value) if isinstance(value, str) else None) or NOT_A_PORT


def explain_service(name: str) -> str | None:
    """Return what is wrong with the name of a service that this host knows; None if it knows none."""
    number = _port_of(name)
    return f"is a service, not a port; did you mean {number}?" if number is not None else None


def _port_of(service: str) -> int | None:
    """Return the port of a service that this host knows."""
    from _socket import getservbyname  # socket itself takes long to import

    try:
        return getservbyname(service, "tcp")
    except (OSError, ValueError):
        return None


def port_bits(ports: Iterable[int | str]) -> bytes:
    """Return a bit for each port, set for those that are listed. Port 0 is the lowest bit of the first byte."""
    binary = bytearray(b"0" * Limit.PORT_COUNT)  # as digits of a number: port 0 last
    for port in ports:
        first, last = (port, port) if isinstance(port, int) else map(int, port.split("-"))
        binary[LAST_PORT - last : Limit.PORT_COUNT - first] = b"1" * (last - first + 1)
    return int(binary, 2).to_bytes(Limit.PORT_COUNT // 8, "little")

"""The values of an event's keys: names and texts for the kernel's numbers and bytes."""

from __future__ import annotations

import errno
import time
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from netmon.capabilities import CAPABILITIES
from netmon.layout import Direction, Ending, RecordType, Secureexec, TcpState
from netmon.text import is_harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from netmon.events import FailureReason

IPV4_LENGTH = 4  # bytes of an address
NSEC_PER_USEC = 1000

# The records that are no events of connections.
RECORDS_OF_PROCESSES = (RecordType.PROCESS, RecordType.EXEC, RecordType.ANSWER, RecordType.ANCESTORS)
# By plain numbers: members of an enum are slow to look up.
EVENT_TYPES = {
    int(kind): f"TcpConnection{kind.name.title()}" for kind in RecordType if kind not in RECORDS_OF_PROCESSES
}
DIRECTIONS = {int(direction): direction.name.lower() for direction in Direction}
ENDINGS = {int(ending): ending.name.lower() for ending in Ending if ending != Ending.NONE}
STATES = {int(state): state.name.lower() for state in TcpState}

# Why a connect attempt failed, by errno. All others are "other"; without an errno it is "closed" or "killed".
REASONS: dict[int, FailureReason] = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.ECONNRESET: "reset",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENONET: "unreachable",
    errno.EADDRNOTAVAIL: "address",
    errno.EADDRINUSE: "address",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
}

ADDRESSES_KEPT = 8192  # some 350 bytes each


@lru_cache(maxsize=64)
def _format_seconds(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))


def _dump_ascii(value: object) -> bytes:
    """Return a value as JSON in ASCII: the fastest way to escape texts that may be nothing but harmful characters."""
    import json  # imported late: rarely needed

    return json.dumps(value, separators=(",", ":")).encode()


def plain_json(value: object) -> str:
    """Return a value as JSON. Its texts are netmon's own: for those of others there is format_json()."""
    import orjson  # imported late: slow, and start-up does not need it

    return orjson.dumps(value).decode()


def format_json(value: object) -> str:
    """Return a value as JSON, harmless to whatever shows it."""
    json = plain_json(value)
    return json if is_harmless(json) else _dump_ascii(value).decode()


def seldom_json(value: object) -> str:
    """Return the same as format_json(), for what is seldom written: json is slower than orjson, but not to import."""
    from json import dumps  # imported late: rarely needed

    json = dumps(value, ensure_ascii=False, separators=(",", ":"))
    return json if is_harmless(json) else _dump_ascii(value).decode()


def byte_size(json: str) -> int:
    """Return how many bytes JSON takes when it is written."""
    return len(json) if json.isascii() else len(json.encode())


def text_json(text: str) -> str:
    """Return a text as JSON, harmless to whatever shows it."""
    return _quote(text) if text.isprintable() else format_json(text)


def _quote(text: str) -> str:
    """Return a text of printable characters as JSON."""
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def fit_json(text: str, limit: int, *, keep_end: bool = False) -> tuple[str, bool]:
    """Return a text as harmless JSON of a bounded length.

    Args:
        text: Of any length.
        limit: Bytes, at least 2.
        keep_end: Whether to cut a longer text at its beginning, not at its end.

    Returns:
        The JSON of as many whole characters as fit, and whether some were cut.
    """
    if len(text) <= limit and text.isprintable():  # as nearly all are
        json = _quote(text)
        if byte_size(json) <= limit:
            return json, False
    import orjson  # imported late: slow, takes a MB, and few runs need it

    json, cut = "", False
    for dump in (orjson.dumps, _dump_ascii):  # the second one for what the first one leaves harmful
        data = dump(text[:limit])  # no more characters fit, as each takes at least a byte
        cut = len(data) > limit or len(text) > limit
        if cut:
            data = _last_fitting(text, limit, dump) if keep_end else _first_fitting(data, limit)
        json = data.decode()
        if is_harmless(json):
            break
    return json, cut


def _first_fitting(json: bytes, limit: int) -> bytes:
    """Return a text's JSON without the last characters: as many as fit."""
    import orjson

    if len(json) <= limit:
        return json
    for end in range(limit - 1, 0, -1):  # a character takes at most twelve bytes: soon none is cut in two
        try:
            orjson.loads(json[:end] + b'"')
        except ValueError:
            continue
        return json[:end] + b'"'
    return b'""'


def _last_fitting(text: str, limit: int, dump: Callable[[str], bytes]) -> bytes:
    """Return the last characters of a text as JSON: as many as fit."""

    def render(count: int) -> bytes:
        return dump(text[len(text) - count :])

    most = min(len(text), limit)
    return render(bisect_right(range(most + 1), limit, key=lambda count: len(render(count))) - 1)


def json_members(fields: dict[str, Any]) -> str:
    """Return fields as members of a JSON object, each preceded by a comma; harmless as of format_json()."""
    return f",{format_json(fields)[1:-1]}" if fields else ""


def format_timestamp(ns: int) -> str:
    """Return nanoseconds since the epoch as 2025-11-23T13:47:33.289Z, cut to the millisecond."""
    seconds, milliseconds = divmod(ns // 1_000_000, 1000)
    return f"{_format_seconds(seconds)}{milliseconds:03d}Z"


@lru_cache(maxsize=ADDRESSES_KEPT)
def format_address(packed: bytes) -> str:
    """Return an IPv4 (4 bytes) or IPv6 (16 bytes) address as text."""
    import socket  # imported late: slow, and start-up does not need it

    return socket.inet_ntop(socket.AF_INET if len(packed) == IPV4_LENGTH else socket.AF_INET6, packed)


@lru_cache(maxsize=256)
def format_capabilities(mask: int, last_cap: int) -> str:
    """Return the names of the capabilities in mask; ALL_CAPS if it has all up to last_cap, the kernel's last one."""
    everything = (1 << (last_cap + 1)) - 1
    if mask & everything == everything:
        return "ALL_CAPS"
    numbers = (number for number in range(mask.bit_length()) if mask >> number & 1)
    return " | ".join(f"CAP_{CAPABILITIES[number] if number < len(CAPABILITIES) else number}" for number in numbers)


@lru_cache(maxsize=16)
def format_secureexec(flags: int) -> str:
    """Return the names of a process record's secureexec flags."""
    return " | ".join(flag.name for flag in Secureexec if flags & flag)


def format_args(argv: bytes, limit: int | None = None) -> str:
    """Return the arguments after the first, joined by spaces. In argv a NUL ends each of them.

    Bytes that are not UTF-8 are escaped (\\xff). NULs at the end are dropped: a program that overwrites its arguments
    with a title (nginx, sshd) leaves a run of them. Bytes beyond limit are left out.
    """
    _, _, rest = argv.partition(b"\0")
    return rest.rstrip(b"\0")[:limit].replace(b"\0", b" ").decode(errors="backslashreplace")

"""The outputs of a run, `run.outputs` and `--output`: their keys, and which of these go together.

A check returns the value, or raises ValueError with what is wrong with it and how to correct it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netmon.amounts import period, size, size_text
from netmon.errors import shown
from netmon.report import EVENTS
from netmon.schemas import SCHEMAS

TYPES = ("stdout", "file", "unix", "journald", "syslog")
WITHOUT_PATH = ("stdout", "journald", "syslog")
OUTPUT_FORMATS = ("json", *SCHEMAS)
OUTPUT_EVENTS = (*EVENTS, "summary", "lost")
COMPRESSIONS = ("gzip", "zstd")

MIN_ROTATE_SIZE = 64 << 10
MAX_KEEP = 1000
MAX_PATH = 4095
MAX_SOCKET_PATH = 107  # bytes: what struct sockaddr_un holds
TOO_LONG_FOR_SOCKET = f"is longer than the {MAX_SOCKET_PATH} bytes that the path of a socket may have"

# The keys that go with some types only.
_NEEDS: dict[str, tuple[str, ...]] = {
    "path": ("file", "unix", "journald", "syslog"),
    "format": ("file", "unix"),
    "rotate_size": ("file",),
    "rotate_every": ("file",),
    "keep": ("file",),
    "compress": ("file",),
    "mode": ("unix",),
    "group": ("unix",),
}


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not (isinstance(value, str) and value in choices):
            raise ValueError(f"must be {', '.join(choices[:-1])} or {choices[-1]}")
        return value

    return check


def _check_path(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("is no path; write it like /var/log/netmon/events.jsonl")
    if "\0" in value or value.endswith("/"):
        raise ValueError("is not the path of a file; write it like /var/log/netmon/events.jsonl")
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("cannot be written as UTF-8") from None
    if length > MAX_PATH:
        raise ValueError(f"is longer than the {MAX_PATH} bytes that a path may have")
    return value


def check_socket_path(value: Any) -> str:
    path = _check_path(value)
    if len(path.encode()) > MAX_SOCKET_PATH:
        raise ValueError(TOO_LONG_FOR_SOCKET)
    return path


def check_output_event(value: Any) -> str:
    if value not in OUTPUT_EVENTS:
        raise ValueError(f"is no event; they are {', '.join(OUTPUT_EVENTS)}")
    return str(value)


def _check_events(value: Any) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ValueError(f"must be a list with some of {', '.join(OUTPUT_EVENTS)}")
    return [check_output_event(item) for item in value]


def _check_rotate_size(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise ValueError("must be a size like 100M")
    if size(text) < MIN_ROTATE_SIZE:
        raise ValueError(f"is less than a file may have, {size_text(MIN_ROTATE_SIZE)}")
    return text


def _check_rotate_every(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a duration like 1h or 24h")
    period(value)
    return value


def _check_keep(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_KEEP:
        raise ValueError(f"must be a number from 1 to {MAX_KEEP}")
    return value


def _check_mode(value: Any) -> str:
    if not isinstance(value, str) or not 3 <= len(value) <= 4 or not {*value} <= {*"01234567"} or int(value, 8) > 0o777:
        raise ValueError("must be an octal mode like '0660'")
    return value


def _check_group(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError("must be the name of a group")
    return text


# The check of each key's value.
CHECKS: dict[str, Callable[[Any], Any]] = {
    "type": _one_of(*TYPES),
    "path": _check_path,
    "format": _one_of(*OUTPUT_FORMATS),
    "events": _check_events,
    "rotate_size": _check_rotate_size,
    "rotate_every": _check_rotate_every,
    "keep": _check_keep,
    "compress": _one_of(*COMPRESSIONS),
    "mode": _check_mode,
    "group": _check_group,
}


def problem_of(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return which key does not go with the others, and why; None if all do. fields: each checked by itself."""
    if (kind := fields.get("type")) is None:
        return "type", f"is missing; give one of {', '.join(TYPES)}"
    for key, kinds in _NEEDS.items():
        if fields.get(key) is not None and kind not in kinds:
            remedy = "; it has the format that `format` names" if (key, kind) == ("format", "stdout") else ""
            return key, f"does not go with {kind}, but with {' and '.join(kinds)}{remedy}"
    if kind not in WITHOUT_PATH and fields.get("path") is None:
        return "path", f"is missing, which {kind} needs"
    if kind in ("unix", "journald", "syslog") and len(str(fields.get("path", "")).encode()) > MAX_SOCKET_PATH:
        return "path", TOO_LONG_FOR_SOCKET
    rotates = fields.get("rotate_size") is not None or fields.get("rotate_every") is not None
    for key in ("keep", "compress"):
        if fields.get(key) is not None and not rotates:
            return key, "needs rotate_size or rotate_every"
    return None


def check_output(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return an output's keys, checked. Raises ValueError."""
    checked = {}
    for key, value in fields.items():
        if key not in CHECKS:
            raise ValueError(f"{shown(key)} is no key of an output; they are {', '.join(CHECKS)}")
        try:
            checked[key] = CHECKS[key](value)
        except ValueError as error:
            raise ValueError(f"{key}: {shown(str(value))} {error}") from None
    if (problem := problem_of(checked)) is not None:
        raise ValueError(": ".join(problem).replace(": ", " ", 1))
    return checked


def parse_output(text: str) -> dict[str, Any]:
    """Return the output that a flag describes: TYPE[:PATH][,KEY=VALUE]..., like file:/tmp/a,events=close+fail.

    Raises:
        ValueError: It has another form, or a value is wrong.
    """
    begin, *settings = _split(text)
    kind, colon, path = begin.partition(":")
    if "/" in kind:
        raise ValueError(f"is a path alone; write file:{shown(text)}, or unix:{shown(text)} for a socket")
    fields: dict[str, Any] = {"type": "stdout" if kind == "-" else kind, **({"path": path} if colon else {})}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key in fields:
            raise ValueError(f"{shown(key)} is there twice")
        fields[key] = value.split("+") if key == "events" else value
        if key == "keep" and value.isascii() and value.isdigit():
            fields[key] = int(value[:9])
    return check_output(fields)


def _split(text: str) -> list[str]:
    """Return the parts of a flag's value: a comma ends one only if a key follows, for a path may have commas."""
    parts: list[str] = []
    for part in text.split(","):
        if parts and part.partition("=")[0] not in CHECKS:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts

"""Compiled filters on their way from the process that reads a configuration to the one that puts them in force.

The former parses what anybody may have written, so the latter believes nothing that it finds: sizes are bounded,
numbers are in their ranges, and nothing is code. What it takes over are at most other filters than those of the file.

    magic | size of the head | head: JSON | struct settings | process ids | keys of each map, one map after the other

In place of filters there can be the problems of the configuration, or why it could not be read.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from struct import Struct
from typing import Any

import orjson

from netmon.errors import ConfigError, NetmonError, Problem
from netmon.filters.compiled import KEY_MAPS, PORTS, CompiledFilters, StoredFilters, StoredKeys, Watched
from netmon.layout import (
    ID_KEY,
    IPV4_CIDR_KEY,
    IPV6_CIDR_KEY,
    PREFIX_KEY,
    SETTINGS,
    FilterMode,
    Limit,
    Settings,
)
from netmon.report import EVENTS, OPTIONS, Report

MAGIC = b"netmon\0\1"  # the last byte is the version of the form
BEGIN = Struct("=8sI")
MAX_HEAD = 4 << 20  # bytes: more than the problems of any configuration take
MAX_SIZE = 1 << 30  # bytes, of all
MAX_PID = 1 << 22  # the kernel's PID_MAX_LIMIT
PIECE = 1 << 20  # bytes that are written at once

# The size of each map's keys.
KEY_SIZES = {
    "ipv4_cidrs": IPV4_CIDR_KEY.size,
    "ipv6_cidrs": IPV6_CIDR_KEY.size,
    "ids": ID_KEY.size,
    "binary_names": int(Limit.NAME_SIZE),
    "binary_paths": int(Limit.BINARY_PATH_SIZE),
    "binary_prefixes": PREFIX_KEY.size,
    "cgroups": PREFIX_KEY.size,
    "container_ids": PREFIX_KEY.size,
}
PORT_SETS_SIZE = 4 * Limit.PORT_COUNT // 8  # struct port_sets
PIDS = ("pids", "trees")
SECTIONS = (*PIDS, *KEY_MAPS, PORTS)


def _damaged(reason: str) -> NetmonError:
    return NetmonError(f"the process that reads the configuration has answered nonsense: {reason}")


def write_filters(filters: CompiledFilters, fd: int) -> None:
    """Write filters to an empty file. Raises OSError."""
    watched = filters.watched
    parts = {"pids": _pack_ids(watched.pids), "trees": _pack_ids(watched.trees)}
    parts |= {name: getattr(filters, name) for name in (*KEY_MAPS, PORTS)}
    _write_head(
        fd,
        {
            "ingress": watched.ingress,
            "egress": watched.egress,
            "report": watched.report._asdict(),
            "sizes": [len(parts[name]) for name in SECTIONS],
        },
    )
    _write_all(fd, filters.settings)
    for name in SECTIONS:
        _write_all(fd, parts[name])


def write_problems(problems: list[Problem], fd: int) -> None:
    """Write, in place of filters, what is wrong with the configuration. Raises OSError."""
    _write_head(fd, {"problems": [list(problem) for problem in problems]})


def write_failure(reason: str, fd: int) -> None:
    """Write, in place of filters, why there are none. Raises OSError."""
    _write_head(fd, {"failure": reason})


def _pack_ids(numbers: tuple[int, ...]) -> bytes:
    return array("I", numbers).tobytes()


def _write_head(fd: int, head: dict[str, Any]) -> None:
    text = orjson.dumps(head)
    _write_all(fd, BEGIN.pack(MAGIC, len(text)) + text)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:PIECE]) :]


def read_filters(fd: int) -> CompiledFilters:
    """Read what the other process has written.

    Args:
        fd: The file, which is closed by CompiledFilters.release(), and when this raises.

    Returns:
        The filters; the keys of their maps stay in the file until they are needed.

    Raises:
        ConfigError: The configuration has problems.
        NetmonError: There is no configuration, or the file is not of this form.
    """
    file = StoredFilters(fd)
    try:
        size = os.fstat(fd).st_size
        if not BEGIN.size <= size <= MAX_SIZE:
            raise _damaged(f"{size} bytes")
        magic, head_size = BEGIN.unpack(file.read(0, BEGIN.size))
        if magic != MAGIC or head_size > MAX_HEAD:
            raise _damaged("it is of another form")
        head = _load(file.read(BEGIN.size, head_size))
        _raise_problems(head)
        return _filters_of(head, file, BEGIN.size + head_size, size)
    except BaseException:
        file.close()
        raise


def _load(text: bytes) -> dict[str, Any]:
    try:
        head = orjson.loads(text)
    except orjson.JSONDecodeError:
        head = None
    if not isinstance(head, dict):
        raise _damaged("its head is no JSON")
    return head


def _raise_problems(head: dict[str, Any]) -> None:
    if isinstance(failure := head.get("failure"), str):
        raise NetmonError(failure)
    if (problems := head.get("problems")) is not None:
        raise ConfigError(list(_problems_of(problems)))


def _problems_of(found: Any) -> Iterator[Problem]:
    for item in _checked(found, list):
        if not isinstance(item, list) or len(item) != len(Problem._fields):
            raise _damaged("a problem is none")
        source, line, location, value, message, column = item
        for number in (line, column):
            _checked(number, int, type(None))
        yield Problem(
            source=_checked(source, str),
            line=line,
            location=tuple(_checked(part, int, str) for part in _checked(location, list)),
            value=_checked(value, str, type(None)),
            message=_checked(message, str),
            column=column,
        )


def _checked(value: Any, *types: type[Any]) -> Any:
    """Return a value of one of these types, and of no subclass. Raises NetmonError for another one."""
    if type(value) not in types:
        raise _damaged(f"{type(value).__name__} in place of {types[0].__name__}")
    return value


def _filters_of(head: dict[str, Any], file: StoredFilters, position: int, size: int) -> CompiledFilters:
    """Return the filters. position: where the settings begin; size: of the file."""
    settings = file.read(position, SETTINGS.size)
    _check_settings(settings)
    position += SETTINGS.size
    sizes = [_checked(number, int) for number in _checked(head.get("sizes"), list)]
    if len(sizes) != len(SECTIONS) or min(sizes) < 0 or position + sum(sizes) != size:
        raise _damaged("its parts have not the size of the whole")
    parts = {}
    for name, part in zip(SECTIONS, sizes, strict=True):
        parts[name] = StoredKeys(file, position, part)
        position += part
        if part % KEY_SIZES.get(name, 1):
            raise _damaged(f"{name} has a part of a key")
    if len(parts[PORTS]) not in (0, PORT_SETS_SIZE):
        raise _damaged(f"{PORTS} has {len(parts[PORTS])} bytes")
    pids, trees = (_unpack_ids(parts.pop(name)[:]) for name in PIDS)
    watched = Watched(
        ingress=_checked(head.get("ingress"), bool),
        egress=_checked(head.get("egress"), bool),
        report=_report_of(_checked(head.get("report"), dict)),
        pids=pids,
        trees=trees,
    )
    ports = parts.pop(PORTS)[:]
    return CompiledFilters(watched, settings, configured=True, ports=ports, stored=file, **parts)


def _report_of(values: dict[str, Any]) -> Report:
    if values.keys() != {*Report._fields}:
        raise _damaged("other report options than these")
    options = {name: _checked(values[name], bool) for name in OPTIONS}
    events = values["events"]
    if events is not None and not (events and all(_checked(event, str) in EVENTS for event in _checked(events, list))):
        raise _damaged("an event is none")
    return Report(**options, events=None if events is None else tuple(events))


def _unpack_ids(data: bytes) -> tuple[int, ...]:
    if len(data) % array("I").itemsize:
        raise _damaged("a part of a process id")
    numbers = tuple(array("I", data))
    if numbers and not 1 <= min(numbers) <= max(numbers) <= MAX_PID:
        raise _damaged("a process id is out of range")
    return numbers


def _check_settings(settings: bytes) -> None:
    """Refuse settings that no configuration compiles to: modes that there are not."""
    values = Settings._make(SETTINGS.unpack(settings))._asdict()
    modes = [value for name, value in values.items() if name.endswith("_mode")]
    if not {*modes} <= {*map(int, FilterMode)}:
        raise _damaged("a filter is neither off nor a list")

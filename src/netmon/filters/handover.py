"""Compiled filters on their way from the process that reads a configuration to the one that puts them in force.

The former parses what anybody may have written, so the latter believes nothing that it finds: sizes are bounded,
numbers are in their ranges, and nothing is code. What it takes over are at most other filters and settings than those
of the file.

    BEGIN | JSON | HEAD | struct settings | process ids | patterns of names | keys of each map, one map after the other,
    with the rules, and what their keys have, among them: see SECTIONS

The JSON has the values of the section `run:`; without any, it has no bytes, and nothing reads JSON. In place of filters
there can be the problems of the configuration, or why it could not be read: BEGIN | JSON.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Any

from netmon.errors import ConfigError, NetmonError, Problem
from netmon.filters.compiled import (
    KEY_MAPS,
    MET_MAPS,
    PORTS,
    RULE_MAPS,
    RULE_PORTS,
    RULES,
    CompiledFilters,
    NameRules,
    StoredFilters,
    StoredKeys,
    Watched,
)
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
from netmon.limits import MAX_ANCESTORS, MAX_PROGRESS, MIN_PROGRESS
from netmon.report import EVENTS, OPTIONS, Report

MAGIC = b"netmon\0\1"  # the last byte is the version of the form
BEGIN = Struct("=8sB3xI")  # the magic number, what follows, and the size of the JSON
FILTERS, PROBLEMS, FAILURE = range(3)
MAX_JSON = 4 << 20  # bytes: more than the problems of any configuration take
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
    "rule_numbers": IPV4_CIDR_KEY.size,
    "rule_ipv6": IPV6_CIDR_KEY.size,
    "rule_texts": int(Limit.BINARY_PATH_SIZE),
    "rule_prefixes": PREFIX_KEY.size,
}
MET_SIZE = 8  # of the set of alternatives that a key has
PORT_SETS_SIZE = 4 * Limit.PORT_COUNT // 8  # struct port_sets
RULE_PORTS_SIZE = 2 * (Limit.PORT_COUNT + MET_SIZE * Limit.RULE_PORT_CLASSES)  # struct rule_ports
PIDS = ("pids", "trees")
NAMES = "names"  # the patterns, a line each, behind a byte that says whether they are denied
KEPT = (*KEY_MAPS, PORTS, RULES, *RULE_MAPS, *MET_MAPS, RULE_PORTS)  # as CompiledFilters has them
SECTIONS = (*PIDS, NAMES, *KEPT)

FLAGS = ("ingress", "egress", *OPTIONS)
EVENT_NAMES = tuple(EVENTS)
ALL_EVENTS = 255  # as the number of the events that are sent: all of them
NO_PROGRESS = 0.0  # as the seconds between two reports of what open connections have carried
DIGEST_SIZE = 32  # bytes of a SHA-256
NO_ANCESTORS = 0  # as how many of a process are reported
# A byte for each of FLAGS; the number of the events that are sent, and which these are; the seconds of `progress`; the
# number of ancestors; the digest of the file; the size of each of SECTIONS.
HEAD = Struct(f"={len(FLAGS)}BB{len(EVENTS)}BdB{DIGEST_SIZE}s{len(SECTIONS)}Q")


def _damaged(reason: str) -> NetmonError:
    return NetmonError(f"the process that reads the configuration has answered nonsense: {reason}")


def write_filters(filters: CompiledFilters, settings: Mapping[str, Any], fd: int) -> None:
    """Write filters, and the values of the section `run:`, to an empty file. Raises OSError."""
    watched = filters.watched
    parts = {"pids": _pack_ids(watched.pids), "trees": _pack_ids(watched.trees)}
    parts |= {name: getattr(filters, name) for name in KEPT}
    parts[NAMES] = _pack_names(filters.names)
    flags = {"ingress": watched.ingress, "egress": watched.egress, **watched.report._asdict()}
    chosen = watched.report.events
    events = [EVENT_NAMES.index(event) for event in dict.fromkeys(chosen or ())]
    head = HEAD.pack(
        *(flags[name] for name in FLAGS),
        ALL_EVENTS if chosen is None else len(events),
        *(events + [0] * (len(EVENTS) - len(events))),
        watched.report.progress or NO_PROGRESS,
        watched.report.ancestors or NO_ANCESTORS,
        filters.digest,
        *(len(parts[name]) for name in SECTIONS),
    )
    text = _json_of(settings) if settings else b""
    _write_all(fd, BEGIN.pack(MAGIC, FILTERS, len(text)) + text + head + filters.settings)
    for name in SECTIONS:
        _write_all(fd, parts[name])


def write_problems(problems: list[Problem], fd: int) -> None:
    """Write, in place of filters, what is wrong with the configuration. Raises OSError."""
    _write_json(fd, PROBLEMS, problems)


def write_failure(reason: str, fd: int) -> None:
    """Write, in place of filters, why there are none. Raises OSError."""
    _write_json(fd, FAILURE, reason)


def _pack_ids(numbers: tuple[int, ...]) -> bytes:
    return array("I", numbers).tobytes()


def _pack_names(rules: NameRules | None) -> bytes:
    return b"" if rules is None else bytes([rules.deny]) + "\n".join(rules.patterns).encode()


def _json_of(value: Any) -> bytes:
    import json  # slow to import, and seldom needed

    return json.dumps(value).encode()


def _write_json(fd: int, kind: int, value: Any) -> None:
    text = _json_of(value)
    _write_all(fd, BEGIN.pack(MAGIC, kind, len(text)) + text)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:PIECE]) :]


def read_filters(fd: int) -> tuple[CompiledFilters, dict[str, Any]]:
    """Read what the other process has written.

    Args:
        fd: The file, which is closed by CompiledFilters.release(), and when this raises.

    Returns:
        The filters, the keys of whose maps stay in the file until they are needed; and the values of the section
        `run:` that are given, by their names.

    Raises:
        ConfigError: The configuration has problems.
        NetmonError: There is no configuration, or the file is not of this form.
    """
    file = StoredFilters(fd)
    try:
        size = os.fstat(fd).st_size
        if not BEGIN.size <= size <= MAX_SIZE:
            raise _damaged(f"{size} bytes")
        magic, kind, json_size = BEGIN.unpack(file.read(0, BEGIN.size))
        if magic != MAGIC or json_size > MAX_JSON:
            raise _damaged("it is of another form")
        text = file.read(BEGIN.size, json_size)
        if kind != FILTERS:
            raise _error_of(kind, text)
        return _filters_of(file, BEGIN.size + json_size, size), _settings_of(text) if text else {}
    except BaseException:
        file.close()
        raise


def _error_of(kind: int, text: bytes) -> NetmonError:
    """Return the error that is there in place of filters. Raises NetmonError if there is none either."""
    value = _value_of(text)
    if kind == PROBLEMS:
        return ConfigError(list(_problems_of(value)))
    return NetmonError(_checked(value, str))


def _value_of(text: bytes) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged("it is no JSON") from None


def _settings_of(text: bytes) -> dict[str, Any]:
    """Return the values of the section `run:`. Who uses one refuses what is out of its range, as it does a flag."""
    from netmon.config.run_values import TYPES

    settings: dict[str, Any] = _checked(_value_of(text), dict)
    for name, value in settings.items():
        if name not in TYPES:
            raise _damaged("a setting is none")
        _checked(value, TYPES[name])
        if isinstance(value, str) and not _is_text(value):
            raise _damaged("a setting is no text")
    return settings


def _is_text(value: str) -> bool:
    """Return whether it can be the name of a file or a user: JSON can write more."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


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


def _filters_of(file: StoredFilters, position: int, size: int) -> CompiledFilters:
    """Return the filters. position: of the head; size: of the file."""
    values = HEAD.unpack(file.read(position, HEAD.size))
    position += HEAD.size
    settings = file.read(position, SETTINGS.size)
    _check_settings(settings)
    position += SETTINGS.size
    *numbers, digest = values[: -len(SECTIONS)]
    sizes = values[-len(SECTIONS) :]
    if position + sum(sizes) != size:
        raise _damaged("its parts have not the size of the whole")
    parts = {}
    for name, part in zip(SECTIONS, sizes, strict=True):
        parts[name] = StoredKeys(file, position, part)
        position += part
        if part % KEY_SIZES.get(name, 1):
            raise _damaged(f"{name} has a part of a key")
    for name, whole in ((PORTS, PORT_SETS_SIZE), (RULE_PORTS, RULE_PORTS_SIZE)):
        if len(parts[name]) not in (0, whole):
            raise _damaged(f"{name} has {len(parts[name])} bytes")
    for name, met in zip(RULE_MAPS, MET_MAPS, strict=True):
        if len(parts[met]) * KEY_SIZES[name] != len(parts[name]) * MET_SIZE:
            raise _damaged(f"{name} has keys without a set")
    pids, trees = (_unpack_ids(parts.pop(name)[:]) for name in PIDS)
    ports, rules, rule_ports = (parts.pop(name)[:] for name in (PORTS, RULES, RULE_PORTS))
    names = _unpack_names(parts.pop(NAMES)[:])
    watched = _watched_of(numbers)._replace(pids=pids, trees=trees)
    return CompiledFilters(
        watched,
        settings,
        configured=True,
        ports=ports,
        names=names,
        rules=rules,
        rule_ports=rule_ports,
        digest=digest,
        stored=file,
        **parts,
    )


def _watched_of(numbers: Sequence[Any]) -> Watched:
    """Return what is watched, by the numbers of the head."""
    flags = dict(zip(FLAGS, numbers, strict=False))
    count, *events, progress, ancestors = numbers[len(FLAGS) :]
    if not {*flags.values()} <= {0, 1}:
        raise _damaged("a flag is neither on nor off")
    if count != ALL_EVENTS and (count > len(events) or max(events) >= len(EVENT_NAMES)):
        raise _damaged("an event is none")
    if ancestors > MAX_ANCESTORS:
        raise _damaged("ancestors is out of range")
    if progress != NO_PROGRESS and not MIN_PROGRESS <= progress <= MAX_PROGRESS:
        raise _damaged("progress is out of range")
    chosen = None if count == ALL_EVENTS else tuple(EVENT_NAMES[event] for event in events[:count])
    on = {name: bool(flag) for name, flag in flags.items()}
    ingress, egress = (on.pop(name) for name in ("ingress", "egress"))
    report = Report(**on, ancestors=ancestors or None, progress=progress or None, events=chosen)
    return Watched(ingress, egress, report)


def _unpack_names(data: bytes) -> NameRules | None:
    if not data:
        return None
    from netmon.names.patterns import check_pattern  # seldom needed

    try:
        patterns = tuple(map(check_pattern, data[1:].decode("ascii").split("\n")))
    except ValueError:
        raise _damaged("a pattern of names is none") from None
    if data[0] not in (False, True):
        raise _damaged("names are neither allowed nor denied")
    return NameRules(patterns, bool(data[0]))


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

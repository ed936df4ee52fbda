"""A YAML file as plain data, with the lines its keys stand on, for errors that name them.

Scalars are read as YAML 1.2 does, as far as configurations need them: true and false, decimal integers, null, and
text. YAML 1.1's surprises (`yes`, 010 for 8, 1:30 for 90, dates) are text, which the checks then refuse or take.
Aliases and merges are refused, a few lines of which could stand for gigabytes, and so are tags, but for those that say
of a value what it is anyway.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from netmon.config.problems import Location, Problems
from netmon.errors import ConfigError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

MAX_SIZE = 256 << 20  # bytes of a file: five million CIDRs of the longest
MAX_DEPTH = 20  # of mappings and lists in each other: a configuration needs 4
MAX_SKIPPED_DEPTH = 100  # of what is refused: without libyaml, time goes by the square of it

_TEXT, _INT, _BOOL, _NULL, _SEQUENCE, _MAPPING = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "bool", "null", "seq", "map")
)
_UNTAGGED = (None, "!")

# What stands for itself without quotes; all else is text.
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", "")),
}
# No more digits than int() takes: what is longer stays text, and is refused as that.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})\Z")


class Refused:
    """Stands in place of what was refused as YAML, and told."""


REFUSED = Refused()


@dataclass(frozen=True)
class Lines:
    """The lines, from 1, on which a file's keys and its lists' items stand. Of a key that stands twice, the last's."""

    keys: dict[Location, int] = field(default_factory=dict)
    items: dict[Location, array[int]] = field(default_factory=dict)  # by the list's location

    def find(self, location: Location) -> int | None:
        """Return the line of a location, or of what is nearest around it."""
        for end in range(len(location), 0, -1):
            *outer, part = location[:end]
            lines = self.items.get(tuple(outer))
            if isinstance(part, int) and lines is not None and part < len(lines):
                return lines[part]
            if line := self.keys.get(location[:end]):
                return line
        return None


@dataclass(frozen=True)
class Document:
    """Data and where it came from.

    problems: what is wrong with it; lines: of the file that it came from, if it did.
    """

    source: str
    data: Any
    problems: Problems = field(default_factory=Problems)
    lines: Lines = field(default_factory=Lines)

    def line_of(self, location: Location) -> int | None:
        """Return the number of the line on which a location stands; None for the whole, and without a file."""
        return self.lines.find(location)


def _line(event: Any) -> int:
    return event.start_mark.line + 1  # type: ignore[no-any-return]


def _error(what: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)


class _Reader:
    """Makes plain data of YAML's events as they come, and collects what must not stand in it (REFUSED in its place).

    A syntax tree of the events would take many times their data's memory.
    """

    def __init__(self, content: bytes) -> None:
        self.problems = Problems()
        self.lines = Lines()
        self._get_event = SafeLoader(content).get_event
        self._anchors: set[str] = set()

    def read(self) -> Any:
        """Return the only document. Raises EOFError when there is none, yaml.YAMLError."""
        self._next()  # the stream's start
        start: Any = self._next()
        if isinstance(start, StreamEndEvent):
            raise EOFError
        data = self._read_node(self._next(), (), None)
        self._next()  # the document's end
        another: Any = self._next()
        if not isinstance(another, StreamEndEvent):
            raise _error("expected a single document in the stream: but found another document", another)
        return data

    def _next(self) -> Any:
        event = self._get_event()
        if isinstance(event, NodeEvent) and event.anchor is not None:
            self._check_anchor(event)
        return event

    def _check_anchor(self, event: Any) -> None:
        if isinstance(event, AliasEvent):
            if event.anchor not in self._anchors:
                raise _error("found undefined alias", event)
        elif event.anchor in self._anchors:
            raise _error("found duplicate anchor", event)
        else:
            self._anchors.add(event.anchor)

    def _refuse(self, location: Location, text: str, line: int | None) -> Refused:
        self.problems.add(location, lambda: text, line)
        return REFUSED

    def _read_node(self, event: Any, location: Location, line: int | None) -> Any:
        """Return what begins with an event. line: of what it is the value of."""
        if isinstance(event, ScalarEvent):
            return self._read_scalar(event, location, line)
        if isinstance(event, AliasEvent):
            return self._refuse(location, "is an alias (*), which is not taken; write it out", line)
        if len(location) >= MAX_DEPTH:
            self._refuse(location, "is nested too deeply", line)
        elif isinstance(event, MappingStartEvent) and event.tag in (*_UNTAGGED, _MAPPING):
            return self._read_mapping(location)
        elif isinstance(event, SequenceStartEvent) and event.tag in (*_UNTAGGED, _SEQUENCE):
            return self._read_list(location)
        else:
            self._refuse(location, _explain_tag(event), line)
        self._skip(event)
        return REFUSED

    def _skip(self, event: Any) -> None:
        """Pass over the rest of what begins with an event."""
        depth = 0
        while True:
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if not depth:
                return
            if depth > MAX_SKIPPED_DEPTH:
                raise _error("is nested too deeply", event)
            event = self._next()

    def _read_scalar(self, event: ScalarEvent, location: Location, line: int | None) -> Any:
        text: str = event.value
        tag = event.tag
        if tag in _UNTAGGED:
            return _read_untagged(event)
        if tag == _TEXT:
            return text
        if tag == _NULL:
            return None
        if tag == _BOOL and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if tag == _INT and _INTEGER.match(text):
            return int(text)
        return self._refuse(location, _explain_tag(event), line)

    def _read_list(self, location: Location) -> list[Any]:
        data: list[Any] = []
        lines = self.lines.items[location] = array("I")
        while not isinstance(event := self._next(), SequenceEndEvent):
            line = _line(event)
            lines.append(line)
            if isinstance(event, ScalarEvent) and event.tag is None:  # nearly all: the short way
                data.append(_read_untagged(event))
            else:
                data.append(self._read_node(event, (*location, len(data)), line))
        return data

    def _read_mapping(self, location: Location) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            line = _line(event)
            key = self._read_key(event, location, line)
            if key is None:
                self._skip(self._next())
                continue
            inside = (*location, key)
            if key in data:
                self._refuse(inside, f"stands twice, first on line {first[key]}; keep one", line)
            first.setdefault(key, line)
            self.lines.keys[inside] = line
            data[key] = self._read_node(self._next(), inside, line)
        return data

    def _read_key(self, event: Any, location: Location, line: int) -> str | None:
        """Return a key's text, None when it is refused."""
        if isinstance(event, ScalarEvent):
            is_text = event.tag == _TEXT or (event.tag in _UNTAGGED and isinstance(_read_untagged(event), str))
            if is_text:
                return str(event.value)
            self._refuse(location, f"{event.value!r} is a key, but not text; put it in quotes", line)
        elif isinstance(event, AliasEvent):
            self._refuse(location, "has an alias (*) for a key, which is not taken; write it out", line)
        else:
            self._skip(event)
            self._refuse(location, "'a list or mapping' is a key, but not text; put it in quotes", line)
        return None


def _read_untagged(event: ScalarEvent) -> str | int | bool | None:
    text: str = event.value
    if not event.implicit[0]:  # in quotes, or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _INTEGER.match(text) else text


def _explain_tag(event: Any) -> str:
    return f"has the tag {event.tag!r}, which is not taken; leave it out"


def load_yaml(path: Path) -> Document:
    """Read a YAML file. Raises ConfigError when it cannot be read or has no data; its other problems are in it."""
    content = _read_file(path)
    try:
        reader = _Reader(content)
        data = reader.read()
    except yaml.YAMLError as error:
        raise ConfigError([_explain(path, content, error)]) from None
    except (ValueError, OverflowError) as error:  # without libyaml: of numbers that are none
        raise ConfigError([f"{path}: is not YAML: {error}"]) from None
    except EOFError:
        raise ConfigError([f"{path}: is empty; enable ingress, egress or both"]) from None
    return Document(str(path), data, reader.problems, reader.lines)


def _read_file(path: Path) -> bytes:
    """Return what is UTF-8, no longer than MAX_SIZE: the file may be a pipe, or a device without an end."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
        if len(content) > MAX_SIZE:
            raise ConfigError([f"{path}: is larger than {MAX_SIZE >> 20} MiB, which no configuration needs"])
        content.decode()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8"]) from None
    except ValueError as error:  # a NUL in the path, which only Python can give
        raise ConfigError([f"{str(path)!r}: cannot be read: {error}"]) from None
    return content


def _explain(path: Path, content: bytes, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        what = ": ".join(filter(None, [error.context, error.problem]))
        lines = content.decode().splitlines()
        if mark.line < len(lines) and "::" in lines[mark.line].partition("[")[2]:
            what += "; IPv6 addresses in [ ] go in quotes"
        return f"{path}:{mark.line + 1}:{mark.column + 1}: is not YAML: {what}"
    return f"{path}: is not YAML: {str(error).splitlines()[0]}"

"""Reads a YAML file into plain data and keeps the lines of its keys, for error messages.

Scalars are read as in YAML 1.2, as far as configurations need it: true and false, decimal integers, null, and text.
What YAML 1.1 reads differently (`yes`, 010 as 8, 1:30 as 90, dates) is text, which the checks then refuse or accept.
Aliases and merges are refused, since a few lines of them could expand to gigabytes. Tags are refused too, except those
that match the value's type.
"""

from __future__ import annotations

import re
from array import array
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

from netmon.config.document import REFUSED, Document, Lines, Refused
from netmon.config.places import Scalar
from netmon.config.problems import Problems
from netmon.errors import ConfigError, Location, Problem, shorten

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

MAX_SIZE = 256 << 20  # bytes of a file: room for five million CIDRs
MAX_DEPTH = 20  # nested mappings and lists: a configuration needs 4
MAX_EVENTS = 6_000_000  # the parser's events; nearly each item of a list is one
MAX_PARTS = 100_000  # keys of mappings, and lists: a configuration needs less than 100
CONDITIONS = ("when", "scope", "event", "condition")  # the keys of texts whose parts have a line and a column
MAX_TEXT = 200  # characters of a message of PyYAML's
MAX_SKIPPED_DEPTH = 100  # in a value that is skipped: without libyaml, the time grows with the square of the depth

_TEXT, _INT, _BOOL, _NULL, _SEQUENCE, _MAPPING = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "bool", "null", "seq", "map")
)
_UNTAGGED = (None, "!")

# Words that are not text when they are without quotes.
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", "")),
}
# Longer numbers than int() accepts stay text, and the checks refuse them.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})\Z")


def _line(event: Any) -> int:
    return event.start_mark.line + 1  # type: ignore[no-any-return]


def _error(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


class _TooLargeError(Exception):
    """The file has more in it than a configuration needs."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Reader:
    """Builds plain data from YAML events as they arrive, with REFUSED in place of refused values.

    A syntax tree of the events would take many times the memory of their data.
    """

    def __init__(self, content: bytes) -> None:
        self.problems = Problems()
        self.lines = Lines(content)
        self._get_event = SafeLoader(content).get_event
        self._anchors: set[str] = set()
        self._events = self._parts = 0

    def read(self) -> Any:
        """Return the data of the only document. Raises EOFError without a document, and yaml.YAMLError."""
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
        self._events += 1
        if self._events > MAX_EVENTS:
            raise _TooLargeError(f"has more than {MAX_EVENTS:,} values, the maximum; shorten its lists", _line(event))
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

    def _count_part(self, event: Any) -> None:
        """Count a key or a list. Their locations and lines are kept, and take much more memory than an item."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _TooLargeError(f"has more than {MAX_PARTS:,} keys and lists; is it a configuration?", _line(event))

    def _refuse(self, location: Location, message: str, line: int | None) -> Refused:
        self.problems.add(location, message, line=line)
        return REFUSED

    def _read_node(self, event: Any, location: Location, line: int | None) -> Any:
        """Return the value that begins with an event. line: the line of the value's key or item."""
        if isinstance(event, ScalarEvent):
            return self._read_scalar(event, location, line)
        if isinstance(event, AliasEvent):
            return self._refuse(location, "is an alias (*), which is not supported; write the value out", line)
        self._count_part(event)
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
        """Skip the rest of the value that begins with an event."""
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
            if isinstance(event, ScalarEvent) and event.tag is None:  # nearly all items
                data.append(_read_untagged(event))
            else:
                data.append(self._read_node(event, (*location, len(data)), line))
        return data

    def _read_mapping(self, location: Location) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            self._count_part(event)
            line = _line(event)
            key = self._read_key(event, location, line)
            if key is None:
                self._skip(self._next())
                continue
            inside = (*location, key)
            if key in data:
                self._refuse(inside, f"is repeated, first on line {first[key]}; keep one", line)
            first.setdefault(key, line)
            self.lines.keys[inside] = line
            value = self._next()
            if key in CONDITIONS and isinstance(value, ScalarEvent) and (mark := value.start_mark) is not None:
                self.lines.conditions[inside] = Scalar(mark.line, mark.column, value.style)
            data[key] = self._read_node(value, inside, line)
        return data

    def _read_key(self, event: Any, location: Location, line: int) -> str | None:
        """Return a key's text; None when it is refused."""
        if isinstance(event, ScalarEvent):
            is_text = event.tag == _TEXT or (event.tag in _UNTAGGED and isinstance(_read_untagged(event), str))
            if is_text:
                return str(event.value)
            key = shorten(event.value)
            self._refuse(location, f"has the key {key}, which is not text; put the key in quotes", line)
        elif isinstance(event, AliasEvent):
            self._refuse(location, "has an alias (*) as a key, which is not supported; write the key out", line)
        else:
            self._skip(event)
            self._refuse(location, "has a list or a mapping as a key; write the key as text", line)
        return None


def _read_untagged(event: ScalarEvent) -> str | int | bool | None:
    text: str = event.value
    if not event.implicit[0]:  # in quotes, or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _INTEGER.match(text) else text


def _explain_tag(event: Any) -> str:
    return f"has the tag {shorten(event.tag)}, which is not supported; remove the tag"


def load_yaml(path: str) -> Document:
    """Read a YAML file, as read_file() and parse_yaml() do. Raises ConfigError."""
    return parse_yaml(path, read_file(path))


def parse_yaml(path: str, content: bytes) -> Document:
    """Read YAML.

    Args:
        path: The file that it comes from, for messages.
        content: What read_file() has returned.

    Returns:
        The data. Problems of single values are in the document's problems.

    Raises:
        ConfigError: It is not YAML, or has no data.
    """
    try:
        reader = _Reader(content)
        data = reader.read()
    except yaml.YAMLError as error:
        raise ConfigError([_explain(path, content, error)]) from None
    except _TooLargeError as error:
        raise ConfigError([Problem(path, error.line, (), None, str(error))]) from None
    except (ValueError, OverflowError) as error:  # without libyaml: a malformed number in a directive or an escape
        raise _unusable(path, f"is not YAML: {_cut(str(error))}") from None
    except EOFError:
        raise _unusable(path, "is empty; enable ingress, egress or both") from None
    return Document(path, data, reader.problems, reader.lines)


def _unusable(path: str, message: str) -> ConfigError:
    return ConfigError([Problem(path, None, (), None, message)])


def read_file(path: str) -> bytes:
    """Return a file's content, UTF-8 of at most MAX_SIZE bytes: the file may be a pipe or an endless device.

    Raises ConfigError.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_SIZE + 1)
        if len(content) > MAX_SIZE:
            raise _unusable(path, f"is larger than {MAX_SIZE >> 20} MiB, the maximum; shorten its lists")
        content.decode()
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _unusable(path, f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except ValueError as error:  # a NUL in the path, which only Python code can give
        raise _unusable(repr(path), f"cannot be read: {error}") from None
    return content


def _cut(message: str) -> str:
    """Return a message of PyYAML's, which may repeat text of the file, without control characters and cut short."""
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in message[:MAX_TEXT])
    return text if len(message) <= MAX_TEXT else f"{text}..."


def _explain(path: str, content: bytes, error: yaml.YAMLError) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError) or not error.problem_mark:
        return Problem(path, None, (), None, f"is not YAML: {_cut(str(error).splitlines()[0])}")
    mark = error.problem_mark
    message = f"is not YAML: {_cut(': '.join(filter(None, [error.context, error.problem])))}"
    lines = content.split(b"\n", mark.line + 1)
    line = lines[mark.line] if mark.line < len(lines) else b""
    if b"::" in line.partition(b"[")[2]:
        message += "; IPv6 addresses in [ ] need quotes"
    elif re.search(rb"::\s*(#|$)", line):
        message += "; an IPv6 address that ends with ':' needs quotes"
    elif re.search(rb"^\s*(- )?\w+:\s*[\"'\[{].* (==|!=|in|AND|OR) ", line):
        message += "; a condition that begins with a quote or a bracket goes into '...', or below `>`"
    return Problem(path, mark.line + 1, (), None, message, mark.column + 1)

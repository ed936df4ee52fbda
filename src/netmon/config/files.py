"""The files of a configuration: the file itself, its drop-ins, and lists of addresses in files of their own.

read_files() reads all of them, and understands none: whoever parses them may have given up all rights by then.
"""

from __future__ import annotations

import os
import re
import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from netmon.config import yaml_reader
from netmon.config.document import Document, Lines, Place
from netmon.config.problems import Problems
from netmon.errors import ConfigError, Location, Problem, shown

ENDINGS = (".yaml", ".yml")
INCLUDE = "file:"  # begins an item of a list that stands for the lines of a file
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_FILES = 100  # drop-ins, and lists
FAMILIES = {"ipv4_filter": "IPv4", "ipv6_filter": "IPv6"}
ADDRESS_KEYS = ("src_ip", "dst_ip")
DIRECTIONS = ("ingress", "egress")

# A path as it is found in YAML without parsing it: in quotes or not, without blanks.
_PATH = re.compile(rb"file:(/[^\s\"'\[\]{},#]{1,4094})")
_NOTHING = re.compile(rb"(?:\s|#[^\n]*|---)*\Z")
_COMMENT = re.compile("[#;]")


class Files(NamedTuple):
    """The files of a configuration.

    Attributes:
        parts: The path and the content of each YAML file, in their order.
        lists: The content of each list, or why it cannot be read, by the path.
    """

    parts: list[tuple[str, bytes]]
    lists: dict[str, bytes | str]

    @property
    def contents(self) -> list[tuple[str, bytes]]:
        """All that was read: the path and the content of each."""
        lists = [(path, content) for path, content in self.lists.items() if isinstance(content, bytes)]
        return [*self.parts, *lists]


def load_config(path: str) -> Document:
    """Read and parse a configuration. Raises ConfigError."""
    return parse_files(path, read_files(path))


def read_files(path: str) -> Files:
    """Read the files of a configuration.

    Args:
        path: A file, whose drop-ins are in the directory of its name with `.d` in place of `.yaml`; or a directory,
            whose files are one configuration.

    Raises:
        ConfigError: One of them cannot be read, or there are too many.
    """
    parts = [(name, yaml_reader.read_file(name)) for name in _paths(path)]
    lists: dict[str, bytes | str] = {}
    room = yaml_reader.MAX_SIZE
    for found in dict.fromkeys(match[1] for _, content in parts for match in _PATH.finditer(content)):
        name = os.fsdecode(found)
        if len(lists) == MAX_FILES:
            lists[name] = f"is one list too many: {MAX_FILES} is the maximum"
            break
        content = lists[name] = _read_list(name, room)
        room -= len(content) if isinstance(content, bytes) else 0
    return Files(parts, lists)


def _paths(path: str) -> list[str]:
    if os.path.isdir(path):
        if not (names := _names_in(path)):
            raise _unusable(path, f"has no file that ends with {' or '.join(ENDINGS)}")
        return names
    stem, ending = os.path.splitext(path)
    directory = f"{stem}.d"
    return [path, *(_names_in(directory) if ending in ENDINGS and os.path.isdir(directory) else [])]


def _names_in(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise _unusable(directory, f"cannot be read: {error.strerror}") from None
    found = [name for name in names if name.endswith(ENDINGS) and not name.startswith(".")]
    if len(found) > MAX_FILES:
        raise _unusable(directory, f"has {len(found)} files; {MAX_FILES} is the maximum")
    return [os.path.join(directory, name) for name in found]


def _unusable(path: str, message: str) -> ConfigError:
    return ConfigError([Problem(shown(path), None, (), None, message)])


def _read_list(path: str, room: int) -> bytes | str:
    """Return a list's content, or why it cannot be used. room: bytes that it may have."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return "is no regular file"
            with open(fd, "rb", closefd=False) as file:
                content = file.read(room + 1)
        finally:
            os.close(fd)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return content if len(content) <= room else "is too large: lists may have 256 MiB together"


# What follows reads no file.


def parse_files(path: str, files: Files) -> Document:
    """Parse what read_files() has returned.

    Args:
        path: What messages about the whole call the configuration.
        files: The files.

    Returns:
        The data of all of them, merged.

    Raises:
        ConfigError: One is no YAML, a list cannot be used, or they contradict each other.
    """
    single = len(files.parts) == 1
    filled = [part for part in files.parts if single or not _NOTHING.match(part[1])]
    documents = [yaml_reader.parse_yaml(name, content) for name, content in filled or files.parts[:1]]
    if not single and (problems := [problem for document in documents for problem in document.problems]):
        raise ConfigError(problems)  # merged, they would have no file and no line
    if any(INCLUDE.encode() in content for _, content in files.parts):
        documents = [_with_lists(document, files.lists) for document in documents]
    return documents[0] if len(documents) == 1 else _merged(path, documents)


class _Segment(NamedTuple):
    """Items of a list that have the same origin.

    Attributes:
        start: The index of the first one.
        source: The file.
        lines: The lines of the file's keys and items; None: it is a list.
        first: The index of the first one in that file's own list.
        numbers: Of a list: the line of each.
    """

    start: int
    source: str
    lines: Lines | None
    first: int = 0
    numbers: Sequence[int] = ()


class _ManyLines(Lines):
    """Where keys and items are that come from several files."""

    def __init__(self, base: tuple[str, Lines] | None = None) -> None:
        """Begin without any. base: the file of all that is not listed, and its lines."""
        super().__init__()
        self.segments: dict[Location, list[_Segment]] = {}
        self.owners: dict[Location, tuple[str, Lines]] = {(): base} if base is not None else {}

    def _translated(self, location: Location) -> tuple[str, Lines | None, Location, int | None]:
        """Return whose a location is: the file, its lines, what the location is there, and the line if it is a list."""
        for at, part in enumerate(location):
            if isinstance(part, int) and (segments := self.segments.get(location[:at])):
                segment = next(one for one in reversed(segments) if one.start <= part)
                index = segment.first + part - segment.start
                number = segment.numbers[index] if segment.lines is None else None
                return segment.source, segment.lines, (*location[:at], index, *location[at + 1 :]), number
        for end in range(len(location), -1, -1):
            if (owner := self.owners.get(location[:end])) is not None:
                return *owner, location, None
        return "", None, location, None

    def place(self, location: Location) -> Place:
        """Return the file, the line, and whether it is a list."""
        source, lines, inside, number = self._translated(location)
        if lines is None:
            return Place(source, number, of_list=number is not None)
        found = lines.place(inside)
        return found._replace(source=found.source or source)

    def find(self, location: Location) -> int | None:
        """Return the line of a location, or of the nearest location around it."""
        return self.place(location).line

    def find_in(self, location: Location, text: str, at: int) -> tuple[int | None, int | None]:
        """Return the line and the column of a character in the text of a condition; None if they are unknown."""
        _, lines, inside, _ = self._translated(location)
        return lines.find_in(inside, text, at) if lines is not None else (None, None)


def _with_lists(document: Document, lists: Mapping[str, bytes | str]) -> Document:
    """Return a document with the lines of lists in place of items that name them. Raises ConfigError."""
    if not isinstance(document.data, Mapping):
        return document
    lines = _ManyLines((document.source, document.lines))
    problems = []
    for location, items, family in _lists_in(document.data):
        if not any(_is_include(item) for item in items):
            continue
        expanded: list[Any] = []
        segments: list[_Segment] = []
        for i, item in enumerate(items):
            if not _is_include(item):
                segments.append(_Segment(len(expanded), document.source, document.lines, i))
                expanded.append(item)
                continue
            path = item.removeprefix(INCLUDE)
            texts, numbers, reason = _items_of(lists.get(path), family)
            if reason:
                line = document.lines.find((*location, i))
                problems.append(Problem(document.source, line, (*location, i), None, f"{shown(path)} {reason}"))
                continue
            segments.append(_Segment(len(expanded), path, None, 0, numbers))
            expanded += texts
        items[:] = expanded
        lines.segments[location] = segments
    if problems:
        raise ConfigError([*document.problems, *problems])
    return document._replace(lines=lines) if lines.segments else document


def _is_include(item: object) -> bool:
    return isinstance(item, str) and item.startswith(INCLUDE)


def _lists_in(data: Mapping[str, Any]) -> Iterator[tuple[Location, list[Any], str]]:
    """Yield the lists whose items may be files: where, the items, and the family of their addresses, or ""."""
    for direction in DIRECTIONS:
        for filter_, family in FAMILIES.items():
            for key in ADDRESS_KEYS:
                location = (direction, filter_, key)
                found: Any = data
                for part in location:
                    found = found.get(part) if isinstance(found, Mapping) else None
                if isinstance(found, list):
                    yield location, found, family
    named = data.get("lists")
    for i, one in enumerate(named if isinstance(named, list) else ()):
        if isinstance(one, Mapping) and isinstance(one.get("items"), list):
            yield ("lists", i, "items"), one["items"], ""


def _items_of(content: bytes | str | None, family: str) -> tuple[list[str], array[int], str]:
    """Return a list's items, their lines, and why it cannot be used, or ""."""
    texts: list[str] = []
    numbers = array("I")
    if not isinstance(content, bytes):
        return texts, numbers, content or "cannot be read: write an absolute path without blanks, as file:/etc/list.txt"
    try:
        lines = content.removeprefix(BYTE_ORDER_MARK).decode().split("\n")
    except UnicodeDecodeError as error:
        return texts, numbers, f"is not UTF-8 (line {content.count(bytes([10]), 0, error.start) + 1})"
    for number, line in enumerate(lines, 1):
        text = _COMMENT.split(line, maxsplit=1)[0].strip()
        if text and (not family or (":" in text) == (family == "IPv6")):
            texts.append(text)
            numbers.append(number)
    return texts, numbers, "" if texts else f"has no {family or 'item'}{' address' if family else ''}"


def _merged(path: str, documents: Sequence[Document]) -> Document:
    """Return documents as one: mappings are merged key by key, lists go one behind the other. Raises ConfigError."""
    problems = [
        Problem(document.source, None, (), None, "must be a mapping with keys like ingress and egress")
        for document in documents
        if not isinstance(document.data, Mapping)
    ]
    lines = _ManyLines((documents[0].source, documents[0].lines))
    data: dict[str, Any] = {}
    if not problems:
        for document in documents:
            _merge(data, document.data, (), document, lines, problems)
    if problems:
        raise ConfigError(problems)
    return Document(path, data, Problems(), lines)


def _merge(
    data: dict[str, Any],
    added: Mapping[str, Any],
    location: Location,
    document: Document,
    lines: _ManyLines,
    problems: list[Problem],
) -> None:
    """Add a document's mapping to the one that there is so far."""
    for key, value in added.items():
        inside = (*location, key)
        there = data.get(key)
        if key not in data:
            lines.owners[inside] = document.source, document.lines
            there = data[key] = {} if isinstance(value, Mapping) else [] if isinstance(value, list) else value
        if isinstance(there, dict) and isinstance(value, Mapping):
            _merge(there, value, inside, document, lines, problems)
        elif isinstance(there, list) and isinstance(value, list):
            segment = _Segment(len(there), document.source, document.lines)
            lines.segments.setdefault(inside, []).append(segment)
            there += value
        elif type(there) is not type(value) or there != value:
            other = lines.place(inside)
            message = f"is also in {other.source}:{other.line}, with another value; keep one of the two"
            problems.append(Problem(document.source, document.lines.find(inside), inside, None, message))

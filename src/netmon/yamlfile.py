"""A YAML file as plain data, with the lines its keys stand on, for errors that name them.

Scalars are read as YAML 1.2 does, as far as configurations need them: true and false, decimal integers, null, and
text. YAML 1.1's surprises (`yes`, 010 for 8, 1:30 for 90, dates) are text, which the checks then refuse or take.
Aliases and merges are refused, a few lines of which could stand for gigabytes, and so are tags, but for those that say
of a value what it is anyway.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from netmon.errors import ConfigError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

Location = tuple[int | str, ...]  # keys, and indexes in lists

MAX_DEPTH = 20  # of mappings and lists in each other: a configuration needs 4

_TEXT, _INT, _BOOL, _NULL, _SEQUENCE, _MAPPING = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "bool", "null", "seq", "map")
)


class _Loader(SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  none of YAML 1.1's


# No more digits than int() takes: what is longer stays text, and is refused as that.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})\Z")
_Loader.add_implicit_resolver(_INT, _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver(_BOOL, re.compile(r"([Tt]rue|TRUE|[Ff]alse|FALSE)\Z"), list("tTfF"))
_Loader.add_implicit_resolver(_NULL, re.compile(r"(~|[Nn]ull|NULL|)\Z"), ["~", "n", "N", ""])


class Problem(NamedTuple):
    """What is wrong at a place in a document."""

    location: Location
    text: str
    line: int | None = None  # from 1; None: the location's own


@dataclass(frozen=True)
class Document:
    """Data and where it came from.

    problems: what is wrong with it as YAML; root: the YAML's syntax tree, None when it came from no file.
    """

    source: str
    data: Any
    problems: tuple[Problem, ...] = ()
    root: yaml.Node | None = None

    def line_of(self, location: Location) -> int | None:
        """Return the number of the line on which a location stands; None for the whole, and without a file."""
        if self.root is None or not location:
            return None
        node, line = self.root, _line(self.root)
        for part in location:
            child = _child(node, part)
            if child is None:
                break
            node, line = child
        return line


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _child(node: yaml.Node, part: int | str) -> tuple[yaml.Node, int] | None:
    """Return what stands under a key or index, and its line: the key's, where there is one."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return node.value[part], _line(node.value[part])
    if isinstance(node, yaml.MappingNode):
        # From the end: of a key that stands twice, the last one counts.
        for key, value in reversed(node.value):
            if key.value == part:
                return value, _line(key)
    return None


class _Reader:
    """Makes plain data of a syntax tree, and collects what must not stand in it (None in its place)."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._seen: set[int] = set()  # ids of nodes: one that comes again is an alias

    def read(self, node: yaml.Node, location: Location = ()) -> Any:
        if id(node) in self._seen:
            return self._refuse(location, "is an alias (*), which is not taken; write it out")
        self._seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return self._read_scalar(node, location)
        if len(location) >= MAX_DEPTH:
            return self._refuse(location, "is nested too deeply")
        if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
            return self._read_mapping(node, location)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
            return [self.read(item, (*location, i)) for i, item in enumerate(node.value)]
        return self._refuse(location, _explain_tag(node))

    def _refuse(self, location: Location, text: str, line: int | None = None) -> None:
        self.problems.append(Problem(location, text, line))

    def _read_scalar(self, node: yaml.Node, location: Location) -> str | int | bool | None:
        text = node.value
        if node.tag == _TEXT:
            return str(text)
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL and text.lower() in ("true", "false"):
            return bool(text.lower() == "true")
        if node.tag == _INT and _INTEGER.match(text):
            return int(text)
        self._refuse(location, _explain_tag(node))
        return None

    def _read_mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        data: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = _line(key)
            if key.tag != _TEXT:
                name = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                self._refuse(location, f"{name!r} is a key, but not text; put it in quotes", line)
                continue
            inside = (*location, key.value)
            if key.value in data:
                self._refuse(inside, f"stands twice, first on line {lines[key.value]}; keep one", line)
            lines.setdefault(key.value, line)
            data[key.value] = self.read(value, inside)
        return data


def _explain_tag(node: yaml.Node) -> str:
    return f"has the tag {node.tag!r}, which is not taken; leave it out"


def load_yaml(path: Path) -> Document:
    """Read a YAML file. Raises ConfigError when it cannot be read or has no data; its other problems are in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8"]) from None
    except ValueError as error:  # a NUL in the path, which only Python can give
        raise ConfigError([f"{str(path)!r}: cannot be read: {error}"]) from None
    try:
        root = yaml.compose(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError([_explain(path, text, error)]) from None
    except RecursionError:  # without libyaml, which has a limit of its own
        raise ConfigError([f"{path}: is nested too deeply"]) from None
    if root is None:
        raise ConfigError([f"{path}: is empty; enable ingress, egress or both"])
    reader = _Reader()
    return Document(str(path), reader.read(root), tuple(reader.problems), root)


def _explain(path: Path, text: str, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        what = ": ".join(filter(None, [error.context, error.problem]))
        lines = text.splitlines()
        if mark.line < len(lines) and re.search(r"\[.*::", lines[mark.line]):
            what += "; IPv6 addresses in [ ] go in quotes"
        return f"{path}:{mark.line + 1}:{mark.column + 1}: is not YAML: {what}"
    return f"{path}: is not YAML: {str(error).splitlines()[0]}"

"""The messages of rules: texts with the values of an event's keys, `{process.filename} connects to {daddr}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from netmon.errors import shown

MAX_TEMPLATE = 500  # characters
MAX_MESSAGE = 1024  # bytes of JSON
ABSENT = "-"

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

Template = tuple[str | tuple[str, ...], ...]  # texts, and the paths of keys


def parse_template(text: str) -> Template:
    """Return the parts of a message. Raises ValueError; which keys events have is not known here."""
    if len(text) > MAX_TEMPLATE:
        raise ValueError(f"has {len(text)} characters; a message has at most {MAX_TEMPLATE}")
    parts: list[str | tuple[str, ...]] = []
    at = 0
    for match in _PART.finditer(text):
        parts.append(text[at : match.start()])
        at = match.end()
        if match[0] in ("{{", "}}"):
            parts.append(match[0][0])
        elif match[1] is None:
            raise ValueError(f"has a single {match[0]}; write {match[0] * 2} for the character itself")
        elif not (path := match[1].strip()):
            raise ValueError("has {} without a key; write it like {process.filename}")
        else:
            parts.append(tuple(path.split(".")))
    return tuple(part for part in (*parts, text[at:]) if part != "")


def paths_of(template: Template) -> list[str]:
    """Return the paths of the keys that a message names."""
    return [".".join(part) for part in template if isinstance(part, tuple)]


def check_message(text: str, known: Mapping[str, object]) -> None:
    """Raise ValueError unless a message names keys of events alone. known: by their paths."""
    for path in paths_of(parse_template(text)):
        if path not in known:
            import difflib  # slow to import, and seldom needed

            ending = [name for name in known if name.rpartition(".")[2] == path.rpartition(".")[2]]
            nearest = (ending or difflib.get_close_matches(path[:80], [*known], 1) or [""])[0]
            remedy = f"did you mean {{{nearest}}}?" if nearest else "netmon help fields lists them"
            raise ValueError(f"has {{{shown(path)}}}, which is no key of an event; {remedy}")


def fill(template: Template, event: Mapping[str, Any]) -> str:
    """Return a message. event: as its JSON has it."""
    return "".join(part if isinstance(part, str) else _text_at(event, part) for part in template)


def _text_at(event: Mapping[str, Any], path: tuple[str, ...]) -> str:
    value: Any = event
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None or isinstance(value, Mapping | list):
        return ABSENT
    return str(value)

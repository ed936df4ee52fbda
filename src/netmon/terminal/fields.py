"""The fields of events by their paths in the JSON: `process.pid`, `network_event.daddr`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from netmon.errors import shown
from netmon.nearest import nearest
from netmon.terminal.view import Event
from netmon.text import escape_for_terminal

ABSENT = "-"  # in a table or by a template: an event without the field

Path = tuple[str, ...]


class FieldError(ValueError):
    """A path that no event has."""


@lru_cache(maxsize=1)
def known_paths() -> tuple[str, ...]:
    """Return the paths of all events, as the models have them."""
    from netmon.events import Event  # slow to import: only who names fields needs the models

    return tuple(dict.fromkeys(path for model in get_args(Event) for path in _paths_of(model)))


def described_paths() -> list[tuple[str, str]]:
    """Return the paths of all events that have a value of their own, each with its description."""
    from netmon.events import Event

    found: dict[str, str] = {}
    for model in get_args(Event):
        for path, description in _described(model):
            found.setdefault(path, description)
    return list(found.items())


def _described(model: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        inner = [choice for choice in _choices(field.annotation) if hasattr(choice, "model_fields")]
        if not inner:
            yield prefix + name, field.description or ""
        for choice in inner:
            yield from _described(choice, f"{prefix}{name}.")


def _paths_of(model: Any, prefix: str = "") -> Iterator[str]:
    """Yield the paths of a model's fields, and of those inside them."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for choice in _choices(field.annotation):
            if hasattr(choice, "model_fields"):
                yield from _paths_of(choice, f"{prefix}{name}.")


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def parse_path(text: str) -> Path:
    """Return a path that the user has written. Raises FieldError if no event has it; its message names the nearest."""
    paths = known_paths()
    if text in paths:
        return tuple(text.split("."))
    near = _nearest(text, paths)
    remedy = f"did you mean {near}?" if near else "netmon help fields lists them"
    raise FieldError(f"{shown(text)} is no field of an event; {remedy}")


def _nearest(text: str, paths: Sequence[str]) -> str:
    """Return the path that is most like the text: the one that ends so, if there is one."""
    text = text.lower()
    ending = [path for path in paths if path.rpartition(".")[2] == text.rpartition(".")[2]]
    if ending and "." not in text:
        return ending[0]
    return nearest(text, ending, cutoff=0.3) or nearest(text, paths)


def parse_fields(text: str) -> list[Path]:
    """Return the paths of a list with commas. Raises FieldError."""
    paths = [parse_path(part.strip()) for part in text.split(",") if part.strip()]
    if not paths:
        raise FieldError("names no field; write it like process.pid,network_event.daddr")
    return list(dict.fromkeys(paths))


def value_at(event: Event, path: Path) -> Any:
    """Return the value of a field; None if the event does not have it."""
    value: Any = event
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def text_of(value: Any, ascii_only: bool) -> str:
    """Return a field's value as harmless text; ABSENT without one."""
    if value is None:
        return ABSENT
    if isinstance(value, str):
        return escape_for_terminal(value, ascii_only)
    if isinstance(value, Mapping) or (isinstance(value, list) and not all(isinstance(item, int) for item in value)):
        from netmon.decode.format import format_json

        return escape_for_terminal(format_json(value), ascii_only)
    return str(value)

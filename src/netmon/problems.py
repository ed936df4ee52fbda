"""pydantic's complaints about a configuration, in words that name the place, the value and the remedy."""

from __future__ import annotations

import difflib
import reprlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from netmon.yamlfile import Document, Location, Problem

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80

# Those of Python's words that a configuration has others for.
_YAML = {"None": "null", "True": "true", "False": "false"}

MUST_BE = {
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a whole number: decimal, without quotes",
    "string_type": "must be text; put it in quotes",
    "sequence_str": "must be a list, even of one",
    "is_instance_of": "must be a list, even of one",
    "model_type": "must be a mapping of keys",
    "invalid_key": "is a key, but not text; put it in quotes",
}


MAX_TOLD = 100  # of a list's problems


def explain(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Yield a problem for each thing that pydantic refused in a model's data; of a list's, for the first MAX_TOLD."""
    refused: Counter[Location] = Counter()  # by list
    untold: dict[Location, Location] = {}  # the first of its items
    for detail in error.errors(include_url=False):
        location = detail["loc"]
        if location and isinstance(location[-1], int):
            refused[location[:-1]] += 1
            if refused[location[:-1]] > MAX_TOLD:
                untold.setdefault(location[:-1], location)
                continue
        if detail["type"] == "extra_forbidden":
            yield Problem(location, _unknown_key(model, location))
        else:
            yield Problem(location, _describe(detail))
    for items, first in untold.items():
        yield Problem(first, f"and {refused[items] - MAX_TOLD:,} more, of which this is the first")


def render(document: Document, problems: list[Problem]) -> list[str]:
    """Return each problem as `file:line: key[index].key: value reason`, in the file's order."""
    placed = [(p.line or document.line_of(p.location), p) for p in problems]
    placed.sort(key=lambda pair: pair[0] or sys.maxsize)
    return [
        f"{document.source}{f':{line}' if line else ''}: {_key_path(problem.location)}{problem.text}"
        for line, problem in placed
    ]


def _key_path(location: Location) -> str:
    path = ""
    for part in location:
        plain = isinstance(part, str) and part.isidentifier()
        path += f".{part}" if plain else f"[{_repr.repr(part)}]"
    return f"{path.removeprefix('.')}: " if path else ""


def _describe(detail: ErrorDetails) -> str:
    """Return the value, unless it is a whole part of the configuration, and what is wrong with it."""
    given = detail["loc"][-1] if detail["type"] == "invalid_key" else detail["input"]
    if detail["type"] == "value_error":
        reason = str(detail["ctx"]["error"])
        if given is None or isinstance(given, Mapping | list | tuple):
            return reason
    else:
        reason = MUST_BE.get(detail["type"], detail["msg"])
    value = _repr.repr(given)
    return f"{_YAML.get(value, value)} {reason}"


def _unknown_key(model: type[BaseModel], location: Location) -> str:
    keys = list(_section_at(model, location[:-1]).model_fields)
    close = difflib.get_close_matches(str(location[-1]), keys, n=1)
    remedy = f"did you mean {close[0]}?" if close else f"known here: {', '.join(keys)}"
    return f"unknown key; {remedy}"


def _section_at(model: type[BaseModel], location: Location) -> type[BaseModel]:
    """Return the model that reads what stands at a location of keys."""
    for key in location:
        annotation = model.model_fields[str(key)].annotation
        model = next(
            choice
            for choice in (annotation, *get_args(annotation))
            if isinstance(choice, type) and issubclass(choice, BaseModel)
        )
    return model

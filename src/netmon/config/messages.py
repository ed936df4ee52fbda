"""pydantic's complaints about a configuration, in words that name the place, the value and the remedy."""

from __future__ import annotations

import difflib
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from netmon.config.problems import MAX_TOLD, Location, Problems
from netmon.config.yaml_reader import REFUSED, Document
from netmon.report import OPTIONS, Report

T = TypeVar("T")

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


REST = "rest_of_list"  # pydantic's kind of a problem that stands for many


def each(check: Callable[[Any], T]) -> Callable[[Sequence[Any]], tuple[T, ...]]:
    """Return a check of a list by that of an item: what pydantic makes of many that are wrong takes seconds."""

    def check_all(values: Sequence[Any]) -> tuple[T, ...]:
        checked: list[T] = []
        wrong: list[InitErrorDetails] = []
        first, rest = 0, 0
        for i, value in enumerate(values):
            if value is REFUSED:
                continue
            try:
                checked.append(check(value))
            except ValueError as error:
                if len(wrong) < MAX_TOLD:
                    wrong.append(InitErrorDetails(type="value_error", loc=(i,), input=value, ctx={"error": error}))
                else:
                    first, rest = first or i, rest + 1
        if rest:
            kind = PydanticCustomError(REST, "and {count} more, of which this is the first", {"count": rest})
            wrong.append(InitErrorDetails(type=kind, loc=(first,), input=values[first]))
        if wrong:
            raise ValidationError.from_exception_data("list", wrong)
        return tuple(checked)

    return check_all


def explain(error: ValidationError, model: type[BaseModel], problems: Problems) -> None:
    """Add what pydantic refused in a model's data to problems; what was refused before, as YAML, is told already."""
    for detail in error.errors(include_url=False):
        if detail["input"] is REFUSED:
            continue
        location = detail["loc"]
        if detail["type"] == "extra_forbidden":
            text = partial(_unknown_key, model, location)
        else:
            text = partial(_describe, detail)
        problems.add(location, text, count=detail["ctx"]["count"] if detail["type"] == REST else 1)


def render(document: Document) -> list[str]:
    """Return each of a document's problems as `file:line: key[index].key: value reason`, in the file's order."""
    placed = [(p.line or document.line_of(p.location), p) for p in document.problems.told()]
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
    *section, key = location
    if key in OPTIONS and section in ([], ["ingress"], ["egress"]):
        return f"moved: write report.{key}"
    keys = _keys_at(model, section)
    close = difflib.get_close_matches(str(key), keys, n=1)
    remedy = f"did you mean {close[0]}?" if close else f"known here: {', '.join(keys)}"
    return f"unknown key; {remedy}"


def _keys_at(model: type[BaseModel], section: Sequence[int | str]) -> list[str]:
    """Return the keys of the section at a location of keys."""
    for i, key in enumerate(section, 1):
        annotation = model.model_fields[str(key)].annotation
        if annotation is Report:
            assert i == len(section)
            return list(OPTIONS)
        model = next(
            choice
            for choice in (annotation, *get_args(annotation))
            if isinstance(choice, type) and issubclass(choice, BaseModel)
        )
    return list(model.model_fields)

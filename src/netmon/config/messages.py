"""Explains what pydantic refused: the value, what is wrong with it, and how to correct it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from netmon.config.problems import MAX_LISTED, Problems, omitted
from netmon.config.yaml_reader import REFUSED
from netmon.errors import MAX_SHOWN, Location, shorten, shown
from netmon.report import OPTIONS, Report

T = TypeVar("T")

# How a configuration writes Python's constants.
_YAML = {"None": "null", "True": "true", "False": "false"}

# By pydantic's type of error.
MUST_BE = {
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a whole number: decimal, without quotes",
    "string_type": "must be text; put it in quotes",
    "sequence_str": "must be a list, even for a single value",
    "is_instance_of": "must be a list, even for a single value",
    "model_type": "must be a mapping of keys",
    "invalid_key": "is not text; put the key in quotes",
}

OMITTED = "omitted"  # our type of error, for problems of a list that are not listed


def each(check: Callable[[Any], T]) -> Callable[[Sequence[Any]], tuple[T, ...]]:
    """Return a check of a list that applies a check to each item.

    It limits the number of errors, since pydantic would take seconds to build an error for each of many wrong items.
    """

    def check_all(values: Sequence[Any]) -> tuple[T, ...]:
        checked: list[T] = []
        wrong: list[InitErrorDetails] = []
        first_omitted, count = 0, 0
        for i, value in enumerate(values):
            if value is REFUSED:
                continue
            try:
                checked.append(check(value))
            except ValueError as error:
                if len(wrong) < MAX_LISTED:
                    wrong.append(InitErrorDetails(type="value_error", loc=(i,), input=value, ctx={"error": error}))
                else:
                    first_omitted, count = first_omitted or i, count + 1
        if count:
            kind = PydanticCustomError(OMITTED, "{message}", {"message": omitted(count), "count": count})
            wrong.append(InitErrorDetails(type=kind, loc=(first_omitted,), input=values[first_omitted]))
        if wrong:
            raise ValidationError.from_exception_data("list", wrong)
        return tuple(checked)

    return check_all


def add_problems(error: ValidationError, model: type[BaseModel], problems: Problems) -> None:
    """Add what pydantic refused in a model's data to problems, except values that were refused before, as YAML."""
    for detail in error.errors(include_url=False):
        if detail["input"] is REFUSED:
            continue
        location = detail["loc"]
        describe: Callable[[], tuple[str | None, str]]
        if detail["type"] == "extra_forbidden":
            describe = partial(_describe_unknown_key, model, location)
        else:
            describe = partial(_describe, detail)
        problems.add(location, describe, count=detail["ctx"]["count"] if detail["type"] == OMITTED else 1)


def _describe(detail: ErrorDetails) -> tuple[str | None, str]:
    """Return the value and what is wrong with it. The value of a whole section or list is left out."""
    value = detail["loc"][-1] if detail["type"] == "invalid_key" else detail["input"]
    is_item = any(isinstance(part, int) for part in detail["loc"][-1:])
    if is_item and (text := _text_read_as_mapping(value)):
        return None, f"is a mapping to YAML, since it ends with ':'; put it in quotes: '{shown(text)}'"
    if detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
        if value is None or isinstance(value, Mapping | list | tuple):
            return None, message
    elif detail["type"] == "literal_error":
        message = f"must be {detail['ctx']['expected'].replace(chr(39), '')}"
    else:
        message = MUST_BE.get(detail["type"], detail["msg"])
    text = shorten(value)
    return _YAML.get(text, text), message


def _text_read_as_mapping(value: Any) -> str | None:
    """Return the text that YAML reads as a mapping of one key to nothing, like 2001:db8:: without quotes."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((key, inside),) = value.items()
        if isinstance(key, str) and inside is None:
            return f"{key}:"
    return None


def _describe_unknown_key(model: type[BaseModel], location: Location) -> tuple[None, str]:
    *section, key = location
    if key in OPTIONS and section in ([], ["ingress"], ["egress"]):
        return None, f"moved: write report.{key}"
    keys = _keys_at(model, section)
    # The time of comparing grows with the square of the length.
    close = difflib.get_close_matches(str(key), keys, n=1) if len(str(key)) <= MAX_SHOWN else []
    if close and close[0].startswith("ipv") and not {"4", "6"} & {*str(key)}:
        close = ["ipv4_filter or ipv6_filter"]
    remedy = f"did you mean {close[0]}?" if close else f"the keys here are {', '.join(keys)}"
    return None, f"unknown key; {remedy}"


def _keys_at(model: type[BaseModel], section: Sequence[int | str]) -> list[str]:
    """Return the keys of the section at a location."""
    for key in section:
        annotation = model.model_fields[str(key)].annotation
        if annotation is Report:
            return list(Report._fields)
        model = next(
            choice
            for choice in (annotation, *get_args(annotation))
            if isinstance(choice, type) and issubclass(choice, BaseModel)
        )
    return list(model.model_fields)

"""Checks of long lists in models, without a validator of pydantic's for each item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from netmon.config.problems import MAX_LISTED, omitted

T = TypeVar("T")


def each(check: Callable[[Any], T]) -> Callable[[Sequence[Any]], tuple[T, ...]]:
    """Return a check of a list that applies a check to each item.

    It limits the number of errors, since pydantic would take seconds to build an error for each of many wrong items.
    """

    def check_all(values: Sequence[Any]) -> tuple[T, ...]:
        checked: list[T] = []
        wrong: list[InitErrorDetails] = []
        first_omitted, count = 0, 0
        for i, value in enumerate(values):
            try:
                checked.append(check(value))
            except ValueError as error:
                if len(wrong) < MAX_LISTED:
                    wrong.append(InitErrorDetails(type="value_error", loc=(i,), input=value, ctx={"error": error}))
                else:
                    first_omitted, count = first_omitted or i, count + 1
        if count:
            kind = PydanticCustomError("omitted", "{message}", {"message": omitted(count)})
            wrong.append(InitErrorDetails(type=kind, loc=(first_omitted,), input=values[first_omitted]))
        if wrong:
            raise ValidationError.from_exception_data("list", wrong)
        return tuple(checked)

    return check_all

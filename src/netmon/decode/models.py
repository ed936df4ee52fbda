"""Makes pydantic models of values that need no check: netmon's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeVar

    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)


def model_maker(cls: type[M]) -> Callable[[dict[str, Any]], M]:
    """Return a function that makes a model of all its fields, which it keeps.

    It does what pydantic's model_construct() does, which is as slow as to check the values.
    """
    new, set_, names = cls.__new__, object.__setattr__, set(cls.model_fields)

    def make_model(fields: dict[str, Any]) -> M:
        model = new(cls)
        set_(model, "__dict__", fields)
        set_(model, "__pydantic_fields_set__", names)
        set_(model, "__pydantic_extra__", None)
        set_(model, "__pydantic_private__", None)
        return model

    return make_model

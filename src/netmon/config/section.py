"""What all sections of the configuration have in common."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A mapping of known keys. needs_one_of: the keys of which at least one must be there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs_one_of: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _refuse_all_absent(self: S) -> S:
        keys = self.needs_one_of
        if keys and all(getattr(self, key) is None for key in keys):
            raise ValueError(f"is empty; give at least one of {', '.join(keys)}, or leave it out")
        return self

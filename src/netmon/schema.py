"""JSON Schemas (draft 2020-12) of netmon's models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema


class _AbsentNotNull(GenerateJsonSchema):
    """Describes a key that may be None in Python as one that may be left out: netmon's JSON and YAML have no null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", exclude_none=True)
        return super().encode_default(dft)


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """Return the JSON Schema of the input that an adapter validates."""
    schema = adapter.json_schema(mode="validation", schema_generator=_AbsentNotNull)
    return {"$schema": _AbsentNotNull.schema_dialect, **schema}

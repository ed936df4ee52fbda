"""The section `run:`, settings of `netmon run` that are flags, too. The library takes them as arguments of Monitor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictStr, WithJsonSchema

from netmon import amounts
from netmon.config.section import Section
from netmon.config.values import ListOf, Optionally, refuse_none
from netmon.errors import shown

AMOUNTS: dict[str, Callable[[str], float]] = {
    "aggregate": amounts.period,
    "ring_size": amounts.ring_size,
    "batch_delay": amounts.batch_delay,
    "line_limit": amounts.line_limit,
}


def _amount(name: str) -> Any:
    """Return the type of a time or a size: text like 10s or 4M, or a number of bytes."""

    def check(value: Any) -> str:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str):
            raise ValueError("must be text like 10s or 4M")
        AMOUNTS[name](text)
        return text

    schema = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}
    return Annotated[str | None, BeforeValidator(check), BeforeValidator(refuse_none), WithJsonSchema(schema)]


def _check_field(text: str) -> str:
    from netmon.terminal.fields import parse_path  # needs the models of events: seldom needed

    try:
        parse_path(text)
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{shown(text)} ")) from None
    return text


class Run(Section):
    """Settings of `netmon run`. A flag of the same name wins."""

    aggregate: _amount("aggregate") = Field(  # type: ignore[valid-type]
        default=None, description="Report aggregates each period, like 10s, not single connections."
    )
    lost_events: Optionally[StrictBool] = Field(default=None, description="Report LostEvents; on by default.")
    ring_size: _amount("ring_size") = Field(  # type: ignore[valid-type]
        default=None, description="Size of the buffer between kernel and reader, a power of two, like 4M."
    )
    batch_delay: _amount("batch_delay") = Field(  # type: ignore[valid-type]
        default=None, description="How long the first event of a batch waits for further events, like 80ms."
    )
    line_limit: _amount("line_limit") = Field(  # type: ignore[valid-type]
        default=None, description="How long a line may be, like 16K."
    )
    any_kernel: Optionally[StrictBool] = Field(default=None, description="Also try older kernels; off by default.")
    user: Optionally[StrictStr] = Field(
        default=None, description="The user to become once attached, a name or a number in quotes."
    )
    confine: Optionally[StrictBool] = Field(default=None, description="Give up rights after the start; on by default.")
    format: Optionally[Literal["line", "json", "table", "template"]] = Field(
        default=None, description="How events are written."
    )
    fields: ListOf[Annotated[StrictStr, AfterValidator(_check_field)]] = Field(
        default=None, description="The columns of a table or the keys of JSON, by their paths in the JSON."
    )
    template: Optionally[StrictStr] = Field(default=None, description="A line for each event, like '{process.pid}'.")
    each: Optionally[StrictBool] = Field(
        default=None, description="Lines: one for each event, not for each connection; off by default."
    )
    color: Optionally[StrictBool] = Field(default=None, description="Colours on a terminal; on by default.")

    def values(self) -> dict[str, Any]:
        """Return the settings that are given, as the flags of the same names have them."""
        given = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        for name, parse in AMOUNTS.items():
            if name in given:
                given[name] = parse(given[name])
        if "fields" in given:
            given["fields"] = ",".join(given["fields"])
        return given

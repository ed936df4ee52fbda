"""The section `run:`, settings of `netmon run` that are flags, too. The library takes them as arguments of Monitor."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictStr, WithJsonSchema

from netmon.config.checks import check_amount, check_field, check_text
from netmon.config.section import Section
from netmon.config.values import ListOf, Optionally, refuse_none


def _amount(name: str) -> Any:
    """Return the type of a time or a size: text like 10s or 4M, or a number of bytes."""
    schema = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}
    check = partial(check_amount, name)
    return Annotated[str | None, BeforeValidator(check), BeforeValidator(refuse_none), WithJsonSchema(schema)]


Text = Annotated[StrictStr, AfterValidator(check_text)]


class Run(Section):
    """Settings of `netmon run`. A flag of the same name wins."""

    aggregate: _amount("aggregate") = Field(  # type: ignore[valid-type]
        default=None, description="Report aggregates each period, like 10s, not single connections."
    )
    lost_events: Optionally[StrictBool] = Field(default=None, description="Report LostEvents; on by default.")
    argv: Optionally[StrictBool] = Field(
        default=None, description="Add the arguments of processes as a list; off by default."
    )
    ring_size: _amount("ring_size") = Field(  # type: ignore[valid-type]
        default=None, description="Size of the buffer between kernel and reader, a power of two, like 4M."
    )
    batch_delay: _amount("batch_delay") = Field(  # type: ignore[valid-type]
        default=None, description="How long the first event of a batch waits for further events, like 80ms."
    )
    line_limit: _amount("line_limit") = Field(  # type: ignore[valid-type]
        default=None, description="How long a line may be, like 16K."
    )
    record: Optionally[Text] = Field(default=None, description="A new file that the raw records are written to.")
    record_limit: _amount("record_limit") = Field(  # type: ignore[valid-type]
        default=None, description="How large that file may become, like 1G."
    )
    any_kernel: Optionally[StrictBool] = Field(default=None, description="Also try older kernels; off by default.")
    user: Optionally[Text] = Field(
        default=None, description="The user to become once attached, a name or a number in quotes."
    )
    confine: Optionally[StrictBool] = Field(default=None, description="Give up rights after the start; on by default.")
    format: Optionally[Literal["line", "json", "table", "template", "ecs", "ocsf", "otel"]] = Field(
        default=None, description="How events are written."
    )
    fields: ListOf[Annotated[StrictStr, AfterValidator(check_field)]] = Field(
        default=None, description="The columns of a table or the keys of JSON, by their paths in the JSON."
    )
    template: Optionally[Text] = Field(default=None, description="A line for each event, like '{process.pid}'.")
    each: Optionally[StrictBool] = Field(
        default=None, description="Lines: one for each event, not for each connection; off by default."
    )
    color: Optionally[StrictBool] = Field(default=None, description="Colours on a terminal; on by default.")

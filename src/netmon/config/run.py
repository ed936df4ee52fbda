"""The section `run:`, settings of `netmon run` that are flags, too. The library takes them as arguments of Monitor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)

from netmon.config.checks import check_amount, check_field, check_text
from netmon.config.outputs import CHECKS as OUTPUT_CHECKS
from netmon.config.outputs import check_output_event, check_socket_path, problem_of
from netmon.config.section import Section
from netmon.config.values import ListOf, Optionally, refuse_none


def _amount(name: str) -> Any:
    """Return the type of a time or a size: text like 10s or 4M, or a number of bytes."""
    return _amount_of(partial(check_amount, name))


def _amount_of(check: Callable[[Any], str]) -> Any:
    schema = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}
    return Annotated[str | None, BeforeValidator(check), BeforeValidator(refuse_none), WithJsonSchema(schema)]


Text = Annotated[StrictStr, AfterValidator(check_text)]


def _checked_by(check: Callable[[Any], str]) -> Any:
    """Return the type of a text that a check reads."""
    return Annotated[str | None, BeforeValidator(check), BeforeValidator(refuse_none)]


def _checked(key: str) -> Any:
    """Return the type of an output's key, which the check of the same key reads."""
    return _checked_by(OUTPUT_CHECKS[key])


class RunOutput(Section):
    """Where events go."""

    type: Optionally[Literal["stdout", "file", "unix", "journald", "syslog"]] = Field(
        default=None, description="Standard output, a file, a socket for local readers, journald, or a syslog."
    )
    path: _checked("path") = Field(  # type: ignore[valid-type]
        default=None, description="The file, or the socket; journald and syslog have a usual one."
    )
    format: Optionally[Literal["json", "ecs", "ocsf", "otel"]] = Field(
        default=None, description="How events are written; by default as `run.format` says, else JSON."
    )
    events: ListOf[Annotated[StrictStr, AfterValidator(check_output_event)]] = Field(
        default=None, description="Write only these events."
    )
    rotate_size: _amount_of(OUTPUT_CHECKS["rotate_size"]) = Field(  # type: ignore[valid-type]
        default=None, description="Rotate the file before it is larger, like 100M."
    )
    rotate_every: _checked("rotate_every") = Field(  # type: ignore[valid-type]
        default=None, description="Rotate the file each period, like 24h."
    )
    keep: Annotated[
        StrictInt | None, BeforeValidator(OUTPUT_CHECKS["keep"]), Field(json_schema_extra={"minimum": 1})
    ] = Field(default=None, description="How many old files to keep; 5 by default.")
    compress: Optionally[Literal["gzip", "zstd"]] = Field(default=None, description="How to compress old files.")
    mode: _checked("mode") = Field(  # type: ignore[valid-type]
        default=None, description="The permissions of the socket, like '0660'; '0600' by default."
    )
    group: _checked("group") = Field(default=None, description="The group of the socket.")  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> RunOutput:
        if (problem := problem_of(dict(self))) is not None:
            raise ValueError(" ".join(problem))
        return self


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
    outputs: ListOf[RunOutput] = Field(
        default=None, description="Where events go: in place of standard output alone, which is one of these, too."
    )
    control: _checked_by(check_socket_path) = Field(  # type: ignore[valid-type]
        default=None, description="A socket for `netmon status`, `netmon reload` and `netmon metrics`."
    )
    control_group: _checked("group") = Field(  # type: ignore[valid-type]
        default=None, description="A group whose members may ask there, beside root; not for a reload."
    )
    metrics: Optionally[StrictBool] = Field(
        default=None, description="Count connections for `netmon metrics`; off by default."
    )

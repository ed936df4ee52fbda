"""The types of the values in configurations, for the models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SkipValidation,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

from netmon import amounts
from netmon.config.checks import (
    EMPTY,
    EMPTY_LIST,
    MAX_ID,
    MAX_PID,
    check_ancestors,
    check_cgroup,
    check_container_id,
    check_domain,
    check_event,
    check_id,
    check_interval,
    check_name,
    check_path,
    check_pid,
    check_prefix,
)
from netmon.config.cidr import check_ipv4, check_ipv6
from netmon.config.each import each
from netmon.config.netns import NETNS_SCHEMA, check_netns
from netmon.config.ports import PORT_SCHEMA, check_port
from netmon.config.rule_checks import (
    check_condition,
    check_identifier,
    check_item,
    check_message_text,
    check_rule_name,
    check_values,
)
from netmon.layout import Limit
from netmon.limits import MAX_ANCESTORS
from netmon.report import EVENTS

T = TypeVar("T")


def refuse_none(value: Any) -> Any:
    if value is None:
        raise ValueError(EMPTY)
    return value


def _refuse_empty(values: Sequence[T]) -> tuple[T, ...]:
    if not values:
        raise ValueError(EMPTY_LIST)
    return tuple(values)


Id = Annotated[
    StrictInt,
    AfterValidator(check_id),
    Field(json_schema_extra={"minimum": 0, "maximum": MAX_ID}),
]
Pid = Annotated[
    StrictInt,
    AfterValidator(check_pid),
    Field(json_schema_extra={"minimum": 1, "maximum": MAX_PID}),
]
Name = Annotated[StrictStr, AfterValidator(check_name)]
PathPrefix = Annotated[StrictStr, AfterValidator(check_prefix)]
FullPath = Annotated[StrictStr, AfterValidator(check_path)]
Port = Annotated[int | str, BeforeValidator(check_port), WithJsonSchema(PORT_SCHEMA)]
Netns = Annotated[int | str, BeforeValidator(check_netns), WithJsonSchema(NETNS_SCHEMA)]
Cgroup = Annotated[StrictStr, AfterValidator(check_cgroup)]
ContainerId = Annotated[
    StrictStr,
    AfterValidator(check_container_id),
    Field(
        json_schema_extra={"pattern": f"^[0-9a-f]{{{Limit.SHORT_CONTAINER_ID_SIZE:d},{Limit.CONTAINER_ID_SIZE:d}}}$"}
    ),
]

Domain = Annotated[StrictStr, AfterValidator(check_domain)]

Ancestors = Annotated[
    int,
    BeforeValidator(check_ancestors),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_ANCESTORS}),
]
Interval = Annotated[
    float,
    BeforeValidator(check_interval),
    WithJsonSchema({"type": "string", "pattern": f"^{amounts.DURATION.replace('?:', '')}$", "examples": ["30s"]}),
]
EventName = Annotated[StrictStr, AfterValidator(check_event), Field(json_schema_extra={"enum": list(EVENTS)})]

Identifier = Annotated[
    StrictStr, AfterValidator(check_identifier), Field(json_schema_extra={"pattern": "^[A-Za-z][A-Za-z0-9_]*$"})
]
RuleName = Annotated[StrictStr, AfterValidator(check_rule_name)]
Condition = Annotated[StrictStr, AfterValidator(check_condition)]
MessageTemplate = Annotated[StrictStr, AfterValidator(check_message_text)]
Item = Annotated[
    str | int, BeforeValidator(check_item), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
]
ExampleValues = Annotated[
    dict[str, Any],
    BeforeValidator(check_values),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "integer", "array"]}}),
]

Optionally = Annotated[T | None, BeforeValidator(refuse_none)]
# Sequences for type checkers, so that callers can give lists. Checked values are tuples.
Items = Annotated[Sequence[T], AfterValidator(_refuse_empty), Field(json_schema_extra={"minItems": 1})]
ListOf = Annotated[Items[T] | None, BeforeValidator(refuse_none)]
# There may be a million of these: one loop checks them, not a validator for each.
Ipv4Cidrs = Optionally[Annotated[Items[Annotated[str, SkipValidation]], AfterValidator(each(check_ipv4))]]
Ipv6Cidrs = Optionally[Annotated[Items[Annotated[str, SkipValidation]], AfterValidator(each(check_ipv6))]]

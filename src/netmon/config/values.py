"""The values in configurations: their types and checks.

A check returns the value, or raises ValueError with what is wrong with it and how to correct it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SkipValidation,
    StrictInt,
    StrictStr,
    ValidationInfo,
    WithJsonSchema,
)

from netmon import amounts
from netmon.config.cidr import check_ipv4, check_ipv6
from netmon.config.messages import each
from netmon.config.netns import NETNS_SCHEMA, check_netns, inode_of
from netmon.config.ports import PORT_SCHEMA, check_port
from netmon.errors import shown
from netmon.layout import Limit
from netmon.report import EVENTS

T = TypeVar("T")

MAX_ID = 2**32 - 1
MAX_PID = 2**22  # the kernel's PID_MAX_LIMIT
CGROUP_MOUNT = "/sys/fs/cgroup"
RESOLVE = "resolve"  # validation context: network namespaces that the configuration names must exist
NO_NAMES = frozenset(("", ".", ".."))  # no file has such a name


def refuse_none(value: Any) -> Any:
    if value is None:
        raise ValueError("is empty; give it a value or leave it out")
    return value


def _refuse_empty(values: Sequence[T]) -> tuple[T, ...]:
    if not values:
        raise ValueError("is an empty list, which nothing can match; add a value or leave it out")
    return tuple(values)


def _check_id(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise ValueError(f"is out of range; ids go from 0 to {MAX_ID}")
    return number


def _check_pid(number: int) -> int:
    if not 1 <= number <= MAX_PID:
        raise ValueError(f"is out of range; process ids go from 1 to {MAX_PID}")
    return number


def _check_bytes(text: str, limit: int) -> None:
    if not text:
        raise ValueError("is empty; leave it out")
    if "\0" in text:
        raise ValueError("contains a NUL character, which no path can contain")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("cannot be written as UTF-8") from None
    if size > limit:
        raise ValueError(f"is {size} bytes long; the kernel side compares at most {limit}: shorten it")


def _check_name(text: str) -> str:
    _check_bytes(text, Limit.NAME_SIZE - 1)
    if "/" in text:
        raise ValueError("is a path, not a file name; put it in path or prefix")
    if text in NO_NAMES:
        raise ValueError("is not the name of a file; give the executable's file name")
    return text


def _check_path(text: str) -> str:
    _check_bytes(text, Limit.BINARY_PATH_SIZE - 1)
    return _check_absolute(text, text.split("/")[1:])


def _check_prefix(text: str) -> str:
    _check_bytes(text, Limit.PREFIX_SIZE)
    # The part after the last slash need not be a whole name: /usr/. is a prefix of /usr/.hidden.
    return _check_absolute(text, text.split("/")[1:-1])


def _check_absolute(text: str, parts: Sequence[str]) -> str:
    """Return an absolute path. parts: the whole names in it."""
    if not text.startswith("/"):
        raise ValueError("does not begin with '/'; give the full path, or put a file name in name")
    if not NO_NAMES.isdisjoint(parts):
        raise ValueError(
            "can match nothing: executables' paths have no '//', '/./' or '/../' and no '/' at the end; remove these"
        )
    return text


def _check_cgroup(text: str) -> str:
    _check_bytes(text, Limit.PREFIX_SIZE - 1)  # the compiled path ends with a '/'
    if text == CGROUP_MOUNT or text.startswith((f"{CGROUP_MOUNT}/", "0::/")):
        path = text.removeprefix(CGROUP_MOUNT).removeprefix("0::") or "/"
        raise ValueError(f"has a prefix that is not part of a cgroup's path; did you mean {shown(path)}?")
    if not text.startswith("/"):
        raise ValueError("does not begin with '/'; give the path that follows '0::' in /proc/PID/cgroup")
    if text != "/" and not NO_NAMES.isdisjoint(text.split("/")[1:]):
        raise ValueError(
            "can match nothing: cgroups' paths have no '//', '/./' or '/../' and no '/' at the end; remove these"
        )
    return text


def _check_container_id(text: str) -> str:
    _check_bytes(text, Limit.PREFIX_SIZE)
    scheme, _, rest = text.rpartition("://")
    if scheme:
        raise ValueError(f"includes the name of the runtime; did you mean {shown(rest)}?")
    if not re.fullmatch("[0-9a-f]+", text):
        raise ValueError("is not a container id, which has the digits 0 to 9 and a to f; give the id, not a name")
    if len(text) > Limit.CONTAINER_ID_SIZE:
        raise ValueError(f"has {len(text)} digits; container ids have {Limit.CONTAINER_ID_SIZE:d}")
    if len(text) < Limit.SHORT_CONTAINER_ID_SIZE:
        raise ValueError(f"has {len(text)} digits; give at least the first {Limit.SHORT_CONTAINER_ID_SIZE:d}")
    return text


def check_event(text: str) -> str:
    """Return the name of an event. Raises ValueError."""
    if text not in EVENTS:
        nearest = difflib.get_close_matches(text[:20], EVENTS, n=1)
        raise ValueError(
            f"is no event; {f'did you mean {nearest[0]}?' if nearest else 'they are ' + ', '.join(EVENTS)}"
        )
    return text


def _check_interval(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError("is not a duration; write it like 30s or 5m")
    return amounts.progress(value)


def _check_netns(value: Any, info: ValidationInfo) -> int | str:
    netns = check_netns(value)
    if info.context == RESOLVE:
        inode_of(netns)
    return netns


Id = Annotated[
    StrictInt,
    AfterValidator(_check_id),
    Field(json_schema_extra={"minimum": 0, "maximum": MAX_ID}),
]
Pid = Annotated[
    StrictInt,
    AfterValidator(_check_pid),
    Field(json_schema_extra={"minimum": 1, "maximum": MAX_PID}),
]
Name = Annotated[StrictStr, AfterValidator(_check_name)]
PathPrefix = Annotated[StrictStr, AfterValidator(_check_prefix)]
FullPath = Annotated[StrictStr, AfterValidator(_check_path)]
Port = Annotated[int | str, BeforeValidator(check_port), WithJsonSchema(PORT_SCHEMA)]
Netns = Annotated[int | str, BeforeValidator(_check_netns), WithJsonSchema(NETNS_SCHEMA)]
Cgroup = Annotated[StrictStr, AfterValidator(_check_cgroup)]
ContainerId = Annotated[
    StrictStr,
    AfterValidator(_check_container_id),
    Field(
        json_schema_extra={"pattern": f"^[0-9a-f]{{{Limit.SHORT_CONTAINER_ID_SIZE:d},{Limit.CONTAINER_ID_SIZE:d}}}$"}
    ),
]

Interval = Annotated[
    float,
    BeforeValidator(_check_interval),
    WithJsonSchema({"type": "string", "pattern": f"^{amounts.DURATION.replace('?:', '')}$", "examples": ["30s"]}),
]
EventName = Annotated[StrictStr, AfterValidator(check_event), Field(json_schema_extra={"enum": list(EVENTS)})]

Optionally = Annotated[T | None, BeforeValidator(refuse_none)]
# Sequences for type checkers, so that callers can give lists. Checked values are tuples.
Items = Annotated[Sequence[T], AfterValidator(_refuse_empty), Field(json_schema_extra={"minItems": 1})]
ListOf = Annotated[Items[T] | None, BeforeValidator(refuse_none)]
# There may be a million of these: one loop checks them, not a validator for each.
Ipv4Cidrs = Optionally[Annotated[Items[Annotated[str, SkipValidation]], AfterValidator(each(check_ipv4))]]
Ipv6Cidrs = Optionally[Annotated[Items[Annotated[str, SkipValidation]], AfterValidator(each(check_ipv6))]]

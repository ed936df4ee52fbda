"""The checks of the values in configurations.

A check returns the value, or raises ValueError with what is wrong with it and how to correct it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from netmon.errors import shown
from netmon.layout import Limit
from netmon.nearest import remedy
from netmon.report import EVENTS

EMPTY = "is empty; give it a value or leave it out"
EMPTY_LIST = "is an empty list, which nothing can match; add a value or leave it out"

MAX_ID = 2**32 - 1
MAX_PID = 2**22  # the kernel's PID_MAX_LIMIT
CGROUP_MOUNT = "/sys/fs/cgroup"
NO_NAMES = frozenset(("", ".", ".."))  # no file has such a name


def check_id(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise ValueError(f"is out of range; ids go from 0 to {MAX_ID}")
    return number


def check_pid(number: int) -> int:
    if not 1 <= number <= MAX_PID:
        raise ValueError(f"is out of range; process ids go from 1 to {MAX_PID}")
    return number


def _check_bytes(text: str, limit: int) -> None:
    if not text:
        raise ValueError("is empty; leave it out")
    if "\0" in text:
        raise ValueError("contains a NUL character, which no path can contain")
    size = len(_check_utf8(text))
    if size > limit:
        raise ValueError(f"is {size} bytes long; the kernel side compares at most {limit}: shorten it")


def _check_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("cannot be written as UTF-8") from None


def check_name(text: str) -> str:
    _check_bytes(text, Limit.NAME_SIZE - 1)
    if "/" in text:
        raise ValueError("is a path, not a file name; put it in path or prefix")
    if text in NO_NAMES:
        raise ValueError("is not the name of a file; give the executable's file name")
    return text


def check_path(text: str) -> str:
    _check_bytes(text, Limit.BINARY_PATH_SIZE - 1)
    return _check_absolute(text, text.split("/")[1:])


def check_prefix(text: str) -> str:
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


def check_cgroup(text: str) -> str:
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


def check_container_id(text: str) -> str:
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


def check_text(text: str) -> str:
    """Return the name of a file or a user, or a template."""
    if "\0" in text:
        raise ValueError("contains a NUL character; leave it out")
    _check_utf8(text)
    return text


def check_amount(name: str, value: Any) -> str:
    """Return a time or a size as text. name: the setting of `run:`."""
    from netmon.config.run_values import AMOUNTS  # seldom needed

    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise ValueError("must be text like 10s or 4M")
    AMOUNTS[name](text)
    return text


def check_ancestors(value: Any) -> int:
    from netmon.amounts import ancestors

    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("is not a whole number; write it like 4")
    return ancestors(str(value))


def check_interval(value: Any) -> float:
    from netmon.amounts import progress

    if not isinstance(value, str):
        raise ValueError("is not a duration; write it like 30s or 5m")
    return progress(value)


def check_field(text: str) -> str:
    from netmon.terminal.fields import parse_path  # needs the models of events: seldom needed

    try:
        parse_path(text)
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{shown(text)} ")) from None
    return text


def check_domain(text: str) -> str:
    """Return a pattern of names, in small letters."""
    from netmon.names.patterns import check_pattern  # seldom needed

    return check_pattern(text)


def check_host(text: str) -> str:
    """Return the name of a host, in small letters: a pattern of names without wildcards."""
    if "*" in text:
        raise ValueError("has a *; compare it by like")
    if text != check_domain(text):
        raise ValueError("has capitals; names are in small letters")
    return text


def check_event(text: str) -> str:
    """Return the name of an event."""
    if text not in EVENTS:
        raise ValueError(f"is no event; {remedy(text, EVENTS, 'they are ' + ', '.join(EVENTS))}")
    return text

"""The messages about what a configuration has in the wrong place: unknown keys, and values of another type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netmon.errors import Location, shorten, shown
from netmon.nearest import nearest
from netmon.report import OPTIONS

_OF_DIRECTIONS = {
    **{key: f"ipv4_filter.{key}" for key in ("src_ip", "dst_ip")},
    **{key: f"port_filter.{key}" for key in ("src_port", "dst_port")},
}

# Keys of sections within a section: written without that, they are in the wrong place.
_INNER = {
    "process_filter": {key: f"binary.{key}" for key in ("name", "prefix", "path", "comm")},
    "ingress": _OF_DIRECTIONS,
    "egress": _OF_DIRECTIONS,
    "": {
        **{key: f"process_filter.{key}" for key in ("uid", "euid", "auid", "gid", "cgroup", "container_id", "pid")},
        **{key: f"process_filter.binary.{key}" for key in ("name", "prefix", "path", "comm")},
        **{key: f"egress.{place}" for key, place in _OF_DIRECTIONS.items()},
        "netns": "netns_filter.netns",
    },
}

# How a configuration writes Python's constants.
_YAML = {"None": "null", "True": "true", "False": "false"}

BOOL = "must be true or false, without quotes"
NUMBER = "must be a whole number: decimal, without quotes"
OF_USER = "; `id -u NAME` prints that of a user"
OF_GROUP = "; `getent group NAME` prints that of a group"
TEXT = "must be text; put it in quotes"
LIST = "must be a list, even for a single value"
MAPPING = "must be a mapping of keys"
NOT_TEXT = "is not text; put the key in quotes"


class WrongTypeError(ValueError):
    """A value has another type than its key. Its message repeats the value, whatever that is."""


def describe(value: Any, error: ValueError, *, is_item: bool) -> tuple[str | None, str]:
    """Return a refused value and what is wrong with it. The value of a whole section or list is left out.

    Args:
        value: The value.
        error: Why it was refused.
        is_item: Whether it is an item of a list.
    """
    if is_item and (text := _text_read_as_mapping(value)):
        return None, f"is a mapping to YAML, since it ends with ':'; put it in quotes: '{shown(text)}'"
    message = str(error)
    if not isinstance(error, WrongTypeError) and (value is None or isinstance(value, Mapping | list | tuple)):
        return None, message
    shortened = shorten(value)
    return _YAML.get(shortened, shortened), message


def _text_read_as_mapping(value: Any) -> str | None:
    """Return the text that YAML reads as a mapping of one key to nothing, like 2001:db8:: without quotes."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((key, inside),) = value.items()
        if isinstance(key, str) and inside is None:
            return f"{key}:"
    return None


def describe_unknown_key(location: Location, keys: Sequence[str]) -> tuple[None, str]:
    """Return what is wrong with a key. location: where it is; keys: those that there may be."""
    *section, key = location
    if key in OPTIONS and section in ([], ["ingress"], ["egress"]):
        return None, f"moved: write report.{key}"
    if (place := _INNER.get(str(section[-1]) if section else "", {}).get(str(key))) is not None:
        return None, f"unknown key; did you mean {place}?"
    near = nearest(str(key), keys)
    if near.startswith("ipv") and not {"4", "6"} & {*str(key)}:
        near = "ipv4_filter or ipv6_filter"
    return None, f"unknown key; {f'did you mean {near}?' if near else 'the keys here are ' + ', '.join(keys)}"

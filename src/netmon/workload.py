"""The names that a workload may have: their keys in events, their order, and what they look like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Names = dict[str, str]

_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,%d}[A-Za-z0-9])?"

# Of a container, as its runtime calls it. A name that is longer, or has other characters, is left out. So none needs an
# escape in JSON, and their sum bounds what they take of a line.
CONTAINER_FORMS = {
    "pod": re.compile(_WORD % 251),
    "namespace": re.compile(_WORD % 61),
    "pod_uid": re.compile(_WORD % 34),
    "container": re.compile(_WORD % 126),
    "image": re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/@+-]{0,254}[A-Za-z0-9])?"),
}
KEYS = (*CONTAINER_FORMS, "unit", "user")
MAX_UNIT, MAX_USER = 128, 64  # bytes of their JSON
WORKLOAD_SIZE = 1 << 10  # bytes of the JSON of all of them, at most


def container_names(names: Mapping[str, Any]) -> Names:
    """Return those values that look like names of a container, by their keys. Keys that are none are left out."""
    found = ((key, names.get(key), form) for key, form in CONTAINER_FORMS.items())
    return {key: name for key, name, form in found if isinstance(name, str) and form.fullmatch(name)}

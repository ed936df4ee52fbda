"""The checks of values in the sections `lists`, `macros` and `rules`. What conditions mean is checked later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from netmon.config.checks import check_text
from netmon.config.messages import TEXT, WrongTypeError
from netmon.errors import shown

SEVERITIES = ("info", "low", "medium", "high", "critical")  # the first one is that of a rule without
ACTIONS = ("report", "count", "drop")
UNMATCHED = ("drop", "report")

MAX_NAME = 64  # characters of a rule's name, and of a tag
MAX_TAGS = 16
KEYWORDS = ("and", "or", "not", "in", "like")

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


def check_identifier(value: Any) -> str:
    """Return the name of a list or a macro."""
    if not isinstance(value, str):
        raise WrongTypeError(TEXT)
    if not _IDENTIFIER.fullmatch(value) or len(value) > MAX_NAME:
        raise ValueError(
            f"is no name of a list or a macro: a letter, then letters, digits and _, at most {MAX_NAME} together"
        )
    if value.lower() in KEYWORDS:
        raise ValueError("is a word of the language; choose another name")
    return value


def check_rule_name(value: Any) -> str:
    """Return the name of a rule, which events show."""
    if not isinstance(value, str):
        raise WrongTypeError(TEXT)
    return check_tag(value)


def check_tag(text: str) -> str:
    """Return a text that events show as it is."""
    if not text.strip():
        raise ValueError("is empty; give it a name")
    if len(text) > MAX_NAME:
        raise ValueError(f"has {len(text)} characters; a name has at most {MAX_NAME}")
    if not text.isprintable():
        raise ValueError("has a character that cannot be printed; leave it out")
    return check_text(text)


def check_message_text(text: str) -> str:
    """Return the template of a message."""
    from netmon.rules.message import parse_template  # few configurations have one

    parse_template(check_text(text))
    return text


def check_condition(value: Any) -> str:
    """Return the text of a condition."""
    if isinstance(value, bool | int):
        raise WrongTypeError("must be a condition, like port_dst == 22; leave it out if everything matches")
    if isinstance(value, list):
        raise WrongTypeError("must be a condition; put it in '...', since it begins with a bracket")
    if not isinstance(value, str):
        raise WrongTypeError(TEXT)
    return check_text(value)


def check_item(value: Any) -> str | int:
    """Return an item of a list: text or a number. What it means depends on what it is compared with."""
    if isinstance(value, bool) or value is None:
        raise WrongTypeError(TEXT)
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        raise WrongTypeError("must be text or a number")
    return check_text(value)


def check_values(value: Any) -> dict[str, Any]:
    """Return the values of an example, by the names of attributes."""
    if not isinstance(value, Mapping):
        raise WrongTypeError("must be a mapping of attributes to values, like {port_dst: 22}")
    for key, item in value.items():
        if not isinstance(key, str):
            raise WrongTypeError("must be a mapping of attributes to values, like {port_dst: 22}")
        if isinstance(item, list):
            for one in item:
                check_item(one)
        elif isinstance(item, bool) or not isinstance(item, str | int):
            raise ValueError(f"has a value of {shown(key)} that is neither text nor a number; put text in quotes")
    return dict(value)

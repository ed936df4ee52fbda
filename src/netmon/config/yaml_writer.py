"""Writes YAML that reads as what it was, whatever is in its texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

WIDTH = 110  # of a list in one line


def quoted(text: str) -> str:
    """Return text as YAML has it: as it is if that is harmless, else in double quotes with escapes."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9._+/-]*", text, re.ASCII) and text.lower() not in _YAML_WORDS:
        return text
    if text.isprintable() and '"' in text and "'" not in text:
        return f"'{text}'"  # conditions have quotes
    return '"' + "".join(map(_escaped, text)) + '"'


_YAML_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def write_yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Yield the lines of plain data: mappings with texts as keys, lists, texts, numbers, truth values, None."""
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield f"{indent}{key}:"
            yield from write_yaml(item, f"{indent}  ")
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            yield f"{indent}{key}:"
            for part in item:
                first, *lines = write_yaml(part, f"{indent}  ")
                yield f"{indent}- {first.lstrip()}"
                yield from lines
        elif isinstance(item, list) and len(_inline(item)) > WIDTH:
            yield f"{indent}{key}:"
            yield from (f"{indent}- {_inline(part)}" for part in item)
        else:
            yield f"{indent}{key}: {_inline(item)}"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_inline(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value) if isinstance(value, int) else quoted(str(value))

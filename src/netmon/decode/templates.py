"""Makes the functions that read a detailed event out of its record: one for each kind of record and form, on first use.

A table says which keys an event has, and which fields of its record each shows. Following it for each event would take
longer than all the rest. So it is written out once as Python, as namedtuple does with its methods: a function that
unpacks the fields that it needs, and renders them in one step.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby
from struct import Struct, calcsize
from typing import Any, NamedTuple

# Of data and the offset of a record in it: returns its details, both addresses, and the opener's process id and tid.
Maker = Callable[[bytes, int], tuple[Any, bytes, int, int]]


class Code(NamedTuple):
    """Python that makes details of the record's fields, which are its variables."""

    lines: Sequence[str]
    result: str  # an expression


Writer = Callable[[Sequence["Key"]], Code]


class Key(NamedTuple):
    """A key of network_event, and what it shows of a record.

    Attributes:
        name: The key, as in the model.
        fields: The record's fields that it depends on. Without any, the key is always true.
        divisor: Of the field's number.
        text: Makes the key's text of the fields, in place of a number. It needs no escapes in JSON.
        given: The key is left out if one of these fields is 0.
    """

    name: str
    fields: tuple[str, ...]
    divisor: int = 1
    text: Callable[..., str] | None = None
    given: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        """The value as a Python expression."""
        if self.text:
            return f"{self._text_name}({', '.join(self.fields)})"
        if not self.fields:
            return "True"
        return f"{self.fields[0]} // {self.divisor}" if self.divisor > 1 else self.fields[0]

    @property
    def condition(self) -> str:
        """Whether an event has it, as a Python expression; empty if each has."""
        return " and ".join(self.given)

    @property
    def json(self) -> str:
        """The member of a JSON object, preceded by a comma, as a part of an f-string."""
        value = f'"{{{self.value}}}"' if self.text else f"{{{self.value}}}" if self.fields else "true"
        return f',"{self.name}":{value}'

    @property
    def names(self) -> dict[str, Any]:
        """What the expression needs beside the fields."""
        return {self._text_name: self.text}

    @property
    def _text_name(self) -> str:
        return f"{self.name}_text"


def write_json(keys: Sequence[Key]) -> Code:
    """Write what makes text of the keys: members of a JSON object, each preceded by a comma."""
    text = ""
    for condition, group in groupby(keys, lambda key: key.condition):
        members = "".join(key.json for key in group)
        text += f"""{{f'{members}' if {condition} else ""}}""" if condition else members
    return Code((), f"f'''{text}'''")


def write_dict(keys: Sequence[Key]) -> Code:
    """Write what makes a dict of the keys that the event has."""
    lines = [f"{f'if {key.condition}: ' if key.given else ''}made[{key.name!r}] = {key.value}" for key in keys]
    return Code(("made = {}", *lines), "made")


def dict_writer(all_names: Iterable[str]) -> Writer:
    """Return a Writer of what makes a dict of all these names: None where an event has no key."""

    def write(keys: Sequence[Key]) -> Code:
        values = {key.name: f"{key.value} if {key.condition} else None" if key.given else key.value for key in keys}
        return Code((), f"{{{', '.join(f'{name!r}: {values.get(name)}' for name in all_names)}}}")

    return write


def make(
    keys: Sequence[Key], layout: tuple[str, Sequence[str]], skip: int, write: Writer, *, ipv4: bool, has_opener: bool
) -> Maker:
    """Return the function that reads a kind of record.

    It raises struct.error if a record ends too early, whatever its fields.

    Args:
        keys: What it shows.
        layout: The format of the record's struct, and the names of its fields.
        skip: The bytes between the offset that the function takes and the struct.
        write: Writes how the details are made.
        ipv4: Whether the addresses are: they take the beginnings of their fields then.
        has_opener: Whether the record has an opener.
    """
    opener = ("opener_id", "opener_tid") if has_opener else ()
    needed = {"saddr", "daddr", *opener, *(field for key in keys for field in (*key.given, *key.fields))}
    format_, fields = format_of(needed, layout)
    if ipv4:
        format_ = format_.replace("16s", "4s12x")
    names: dict[str, Any] = {"unpack": Struct(f"={skip}x{format_}").unpack_from}
    for key in keys:
        names.update(key.names)
    code = write(keys)
    lines = (
        f"{', '.join(fields)} = unpack(data, at)",
        *code.lines,
        f"return {code.result}, saddr + daddr, {', '.join(opener or '00')}",
    )
    exec("\n ".join(("def read(data, at):", *lines)), names)  # made of this package's own words alone
    made: Maker = names["read"]
    return made


def offset_of(name: str, layout: tuple[str, Sequence[str]]) -> int:
    """Return where in a struct a field begins. layout: its format, and the names of its fields."""
    at = 0
    for field, part in _parts(*layout):
        if field == name:
            return at
        at += calcsize(f"={part}")
    raise KeyError(name)


def format_of(needed: Collection[str], layout: tuple[str, Sequence[str]]) -> tuple[str, list[str]]:
    """Return the format of a struct that unpacks nothing but the needed fields, and their names in its order."""
    parts, found = [], []
    for name, part in _parts(*layout):
        if name in needed:
            found.append(name)
            parts.append(part)
        else:
            parts.append(f"{calcsize(f'={part}')}x")
    return "".join(parts), found


def format_without(left_out: Collection[str], layout: tuple[str, Sequence[str]]) -> str:
    """Return the format of a struct that unpacks all bytes but those of some fields, in as few pieces as there are."""
    parts = []
    for is_left_out, group in groupby(_parts(*layout), lambda part: part[0] in left_out):
        size = sum(calcsize(f"={part}") for _, part in group)
        parts.append(f"{size}{'x' if is_left_out else 's'}")
    return "".join(parts)


def _parts(format_: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each part of a format, and the name of its field; an empty one of bytes that are left out."""
    left = iter(names)
    for part in re.findall(r"\d*[a-zA-Z]", format_):
        yield ("" if part.endswith("x") else next(left)), part

"""Parses answers of name servers (RFC 1035): which addresses belong to the name that was asked for.

Anybody may have written an answer. So nothing in it is believed beyond its form, its length bounds all loops, and a
name is kept only if it is the name of a host.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import re
import struct
from functools import lru_cache
from typing import NamedTuple

from netmon.layout import Limit

HEADER = struct.Struct(">2xBBHH4x")  # two bytes of flags, the number of questions, that of answers
QUESTION_REST = struct.Struct(">HH")  # type, class
RECORD_REST = struct.Struct(">HH4xH")  # type, class, and the length of the data

IS_ANSWER, OPERATION, IS_TRUNCATED, ERROR_CODE = 0x80, 0x78, 0x02, 0x0F
ADDRESS_SIZES = {1: 4, 28: 16}  # of the data of the types A and AAAA
CNAME = 5
INTERNET = 1

MAX_WIRE_NAME = 255  # bytes, with the length of each label and the root's
MAX_NAME = 253  # characters
MAX_LABEL = 63
POINTER = 0xC0  # the two bits that begin a pointer in place of a label
# Of one answer. No resolver follows that many aliases, or pointers of one name: they would only take time.
MAX_RECORDS, MAX_ADDRESSES, MAX_ALIASES = 128, 64, 16
MAX_POINTERS = 16
HOST_NAMES_KEPT = 1024  # the same few are asked for again and again

# Letters, digits and hyphens, as of hosts, and underscores, which names of services have. The last label is no number:
# such a name would look like an address.
LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
HOST_NAME = re.compile(rf"(?!(?:.*\.)?[0-9]+\Z)(?:{LABEL.pattern}\.)*{LABEL.pattern}\Z")


def is_host_name(text: str) -> bool:
    """Return whether a text in small letters is the name of a host."""
    return bool(HOST_NAME.match(text)) and all(len(label) <= MAX_LABEL for label in text.split("."))


class Answer(NamedTuple):
    """What an answer says.

    Attributes:
        name: The name that was asked for, in small letters.
        addresses: Its addresses, packed.
    """

    name: str
    addresses: tuple[bytes, ...]


class _DamagedError(ValueError):
    """The message has not the form of an answer."""


def parse_answer(message: bytes) -> Answer | None:
    """Parse an answer.

    Args:
        message: The answer, or its first Limit.ANSWER_SIZE bytes.

    Returns:
        The name and its addresses, which it has itself or by its aliases (CNAME). There may be none. None if the answer
        is truncated or damaged, or is not about one host.
    """
    try:
        return _parse(message)
    except (_DamagedError, IndexError, struct.error):
        return None


def _parse(message: bytes) -> Answer | None:
    flags, error, questions, answers = HEADER.unpack_from(message)
    # What a server could not fit in is asked for once more, by TCP.
    if flags & (IS_ANSWER | OPERATION | IS_TRUNCATED) != IS_ANSWER or error & ERROR_CODE or questions != 1:
        return None
    asked, at = _read_name(message, HEADER.size)
    name = _host_name(asked)
    _type, class_ = QUESTION_REST.unpack_from(message, at)
    if name is None or class_ != INTERNET:
        return None
    addresses, aliases = _read_records(message, at + QUESTION_REST.size, min(answers, MAX_RECORDS))
    names = {asked}
    for _ in range(MAX_ALIASES):
        more = {target for owner, target in aliases if owner in names} - names
        if not more:
            break
        names |= more
    found = dict.fromkeys(address for owner, address in addresses if owner in names)
    return Answer(name, tuple(found)[:MAX_ADDRESSES])


def _read_records(message: bytes, at: int, count: int) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """Return the addresses and the aliases of an answer's records, each with the name that has it."""
    addresses, aliases = [], []
    for _ in range(count):
        try:
            owner, at = _read_name(message, at)
            type_, class_, length = RECORD_REST.unpack_from(message, at)
            at += RECORD_REST.size
            if at + length > len(message):
                raise IndexError
        except (IndexError, struct.error):
            if len(message) < Limit.ANSWER_SIZE:
                raise
            break  # a long answer: the kernel half has sent its beginning alone
        if class_ == INTERNET:
            if ADDRESS_SIZES.get(type_) == length:
                addresses.append((owner, message[at : at + length]))
            elif type_ == CNAME:
                aliases.append((owner, _read_name(message, at)[0]))
        at += length
    return addresses, aliases


def _read_name(message: bytes, at: int) -> tuple[bytes, int]:
    """Return the name at this offset, in small letters, and where it ends. Each label has its length before it.

    A name may end with a pointer to an earlier one. Each pointer has to lead to before all that was read of the name,
    so it ends, and there are few.
    """
    parts, size, begin, end, pointers = [], 1, at, 0, 0
    while length := message[at]:
        if length >= POINTER:
            end = end or at + 2
            at = (length & ~POINTER) << 8 | message[at + 1]
            pointers += 1
            if at >= begin or pointers > MAX_POINTERS:
                raise _DamagedError
            begin = at
            continue
        if length > MAX_LABEL:
            raise _DamagedError
        part = message[at : at + 1 + length]
        size += len(part)
        if len(part) <= length or size > MAX_WIRE_NAME:
            raise _DamagedError
        parts.append(part)
        at += len(part)
    return b"".join(parts).lower(), end or at + 1  # no length is the code of a letter


@lru_cache(maxsize=HOST_NAMES_KEPT)
def _host_name(name: bytes) -> str | None:
    """Return a name as text; None if it is not that of a host."""
    labels, at = [], 0
    while at < len(name):
        end = at + 1 + name[at]
        labels.append(name[at + 1 : end])
        at = end
    text = b".".join(labels).decode("latin-1")
    # A label with a dot in it would look like two.
    return text if text.count(".") + 1 == len(labels) and HOST_NAME.match(text) else None

"""What a reader of a socket may ask for, in a line that it sends first: `format=ecs,hello=yes`."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from typing import NamedTuple

from netmon.errors import shown
from netmon.version import __version__

MAX_REQUEST = 256  # bytes
HELLO, REFUSED = "Hello", "Refused"  # the types of the lines of answers
KEYS = ("format", "hello")


class RequestError(Exception):
    """A request that is not understood, or cannot be fulfilled. str() says why."""


class Request(NamedTuple):
    """What a reader asks for.

    Attributes:
        format: The format of its events; None: the output's.
        hello: Whether it wants a greeting.
    """

    format: str | None = None
    hello: bool = False


def parse_request(data: bytes, *, ended: bool = False) -> Request | None:
    """Return the request that a reader has sent; None if its line is not complete.

    Args:
        data: All that it has sent.
        ended: Whether it sends no more.

    Raises:
        RequestError: It is none.
    """
    line, newline, _ = data.partition(b"\n")
    if len(line) > MAX_REQUEST:
        raise RequestError(f"a request has at most {MAX_REQUEST} bytes")
    if not newline and not ended:
        return None
    try:
        pairs = [part.partition("=") for part in line.decode("ascii").strip().split(",") if part]
    except UnicodeDecodeError:
        raise RequestError("a request is ASCII, like format=ecs") from None
    values = {}
    for key, _, value in pairs:
        if key not in KEYS:
            raise RequestError(f"{shown(key)} is no key of a request; they are {', '.join(KEYS)}")
        values[key] = value
    if values.get("hello", "no") not in ("yes", "no"):
        raise RequestError(f"hello={shown(values['hello'])}: give yes or no")
    return Request(values.get("format"), values.get("hello") == "yes")


def greeting(run: str, events: int) -> bytes:
    """Return the first line of a reader that wants one: it can tell later how many events it has not been there for.

    Args:
        run: Names this run of netmon.
        events: How many events the output had before the reader's first one.
    """
    return f'{{"type":"{HELLO}","version":"{__version__}","run":"{run}","events":{events}}}\n'.encode()


def refusal(reason: str) -> bytes:
    """Return the line that a reader gets before its connection is closed."""
    from netmon.decode.format import format_json

    return f'{{"type":"{REFUSED}","reason":{format_json(reason)}}}\n'.encode()

"""Events as requests of OTLP over HTTP, in its JSON encoding, and what a collector's answers mean."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import gzip
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from netmon.errors import shown
from netmon.schemas.directions import Directions
from netmon.schemas.facts import Context
from netmon.schemas.host import Host
from netmon.schemas.otel import to_logs_data, to_record, to_resource
from netmon.version import __version__

LEVEL = 1  # of gzip: 6 takes three times as long for a tenth less
MAX_RETRY_AFTER = 300.0  # seconds

# What to do with a batch after an answer.
TAKEN, AGAIN, UNWANTED, TOO_LARGE, REFUSED = "taken", "again", "unwanted", "too large", "refused"
# The protocol says which answers are to be repeated. The others here are about the way to the collector, not about the
# events: the protocol would have them lost because of a token that has expired.
RETRYABLE = (429, 502, 503, 504)
OF_THE_WAY = (401, 403, 404, 405, 407, 408)


class Answer(NamedTuple):
    """What an answer means.

    Attributes:
        verdict: What to do with the batch: TAKEN; AGAIN, send it again later; UNWANTED, too, but the collector or the
            configuration needs a change before; TOO_LARGE, send it in parts; REFUSED, it is lost.
        refused: How many events of it the collector has refused.
        reason: Why, harmless; "" if there is nothing to say.
        wait: How many seconds to wait at least.
    """

    verdict: str
    refused: int = 0
    reason: str = ""
    wait: float = 0.0


class Payload(NamedTuple):
    """A request's body.

    Attributes:
        body: Bytes of JSON, compressed if that was asked for.
        events: How many events it has; LostEvents do not count.
        unreadable: How many lines were no events.
    """

    body: bytes
    events: int
    unreadable: int


class Encoder:
    """Makes bodies of lines."""

    def __init__(self, host: Host, further: Mapping[str, str], *, compress: bool) -> None:
        """Make it.

        Args:
            host: The host that the events come from.
            further: Attributes of the resource.
            compress: Whether to compress bodies, by gzip.
        """
        self._directions = Directions()
        self._context = Context(host, __version__, self._directions.of)
        self._resource = to_resource(host, __version__, further)
        self._compress = compress

    def encode(self, lines: bytes) -> Payload:
        """Return the body of whole lines."""
        from orjson import dumps, loads

        records, events, unreadable = [], 0, 0
        for line in lines.decode(errors="replace").split("\n")[:-1]:
            try:
                event: Any = loads(line)
                self._directions.note((line,))
                records.append(to_record(event, line, self._context))
                events += event["type"] != "LostEvents"
            except (ValueError, KeyError, TypeError, IndexError, AttributeError, OSError, RecursionError):
                unreadable += 1  # a damaged file, or another program's lines
        body = dumps(to_logs_data(records, self._resource, __version__)) if records else b""
        return Payload(gzip.compress(body, LEVEL, mtime=0) if self._compress and body else body, events, unreadable)


def meaning_of(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return what a collector's answer means.

    Args:
        status: Of HTTP.
        headers: Of the answer.
        body: The first part of it, at least.
    """
    if 200 <= status < 300:
        refused, why = _partial(body)
        return Answer(TAKEN, refused, why or "it does not say why" * bool(refused))
    reason = f"HTTP {status}"
    if said := _message(body):
        reason += f": {said}"
    if status == 413:
        return Answer(TOO_LARGE, reason=reason)
    if status in RETRYABLE:
        return Answer(AGAIN, reason=reason, wait=retry_after(headers.get("Retry-After", "")))
    if status in OF_THE_WAY or 300 <= status < 400:
        return Answer(UNWANTED, reason=reason)
    return Answer(REFUSED, reason=reason)


def _partial(body: bytes) -> tuple[int, str]:
    """Return how many records a successful answer says were refused, and why."""
    from orjson import loads

    try:
        partial = loads(body).get("partialSuccess") or {}
        return max(0, int(partial.get("rejectedLogRecords", 0))), shown(str(partial.get("errorMessage", "")))
    except (ValueError, AttributeError, TypeError):  # empty, or protobuf
        return 0, ""


def _message(body: bytes) -> str:
    """Return the message of a Status, or the text that a body is."""
    from orjson import loads

    try:
        text = str(loads(body)["message"])
    except (ValueError, KeyError, TypeError, IndexError):
        text = body[:200].decode(errors="replace").strip()
    return shown(text) if text else ""


def retry_after(text: str) -> float:
    """Return the seconds that a Retry-After asks to wait, within bounds; 0 if it is none. It may be a date."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER)
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - time.time()), MAX_RETRY_AFTER)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0

"""Reads events from files: recordings, and lines of JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from netmon.errors import DecodeError, shorten

if TYPE_CHECKING:
    from pydantic import ValidationError

    from netmon.config import Config
    from netmon.events import Event

MAX_LINE = 1 << 20  # bytes: netmon's own lines are much shorter


def replay(path: str | os.PathLike[str], config: Config | None = None) -> Iterator[Event]:
    """Yield the events of a recording, without a kernel.

    Monitor.replay() gives them in further forms.

    Args:
        path: The file, which Monitor(record=path) or `netmon run --record` has made.
        config: Which of the events to yield, and their rules; None: all. Of its report options only `events` counts.

    Raises:
        DecodeError: It is no recording, one that this version of netmon cannot use, or damaged.
        NetmonError: The file cannot be read.
        ValueError: The configuration asks for what the events do not say.
    """
    from netmon.monitor import Monitor

    with Monitor.replay(path) as monitor:
        if config is None:
            yield from monitor.events()
            return
        from netmon.filters.events import EventFilter

        assert monitor.recording is not None
        report = monitor.recording.header.report
        judge = EventFilter(config, with_context=report.context, with_names=report.names or report.sni)
        passed = (event for event in monitor.events() if judge.passes(event.model_dump()))
        if not config.has_rules:
            yield from passed
            return
        from netmon.rules.events import JsonRules

        yield from filter(None, map(JsonRules(config).event, passed))


def read_events(source: str | os.PathLike[str] | Iterable[str | bytes]) -> Iterator[Event]:
    """Yield the events of a file of JSON lines, as `netmon run` writes them, as models.

    Keys that this version does not know are left out: a newer netmon has written them. So is a last line that is cut
    off, as after a kill.

    Args:
        source: The file's path, or its lines, such as sys.stdin.

    Raises:
        DecodeError: A line is no event; the message names it.
        OSError: The file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield from _events_of(iter(lambda: file.readline(MAX_LINE), b""), os.fspath(source))
    else:
        yield from _events_of(source, str(getattr(source, "name", "line")))


def _events_of(lines: Iterable[str | bytes], name: str) -> Iterator[Event]:
    from typing import Annotated

    from pydantic import Field, TypeAdapter, ValidationError

    from netmon.events import Event

    adapter: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = adapter.validate_json(line)
        except ValidationError as error:
            if _is_cut_off(line, error):
                return
            try:
                event = adapter.validate_python(_without_unknown_keys(line, error))
            except (ValueError, RecursionError) as remaining:  # ValidationError is a ValueError
                wrong = remaining if isinstance(remaining, ValidationError) else error
                raise DecodeError(f"{name}:{number}: is no event: {_describe(wrong)}") from None
        yield event


def _is_cut_off(line: str | bytes, error: ValidationError) -> bool:
    """Return whether a line is no whole JSON, and has no line end: it is the last one."""
    ended = line.endswith("\n") if isinstance(line, str) else line.endswith(b"\n")
    return not ended and len(line) < MAX_LINE and error.errors()[0]["type"] == "json_invalid"


def _without_unknown_keys(line: str | bytes, error: ValidationError) -> Any:
    """Return a line's values without the keys that the models do not have. Raises ValueError or RecursionError."""
    import json

    event = json.loads(line)
    for problem in error.errors(include_url=False):
        if problem["type"] == "extra_forbidden":
            *path, key = problem["loc"][1:]  # without the type
            part = event
            for step in path:
                part = part[step]
            del part[key]
    return event


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"][1:]))
    text = first["msg"] if first["type"] != "union_tag_invalid" else f"unknown type {shorten(first['ctx']['tag'])}"
    return f"{place}: {text}" if place else text

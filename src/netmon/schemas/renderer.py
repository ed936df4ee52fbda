"""Renders netmon's lines of JSON in another schema, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from netmon.decode.format import format_json
from netmon.schemas.directions import Directions
from netmon.schemas.facts import Context
from netmon.schemas.host import Host
from netmon.version import __version__


class Renderer:
    """Turns lines of netmon's JSON into lines of one schema. It is a view: the last of them has no summary."""

    def __init__(self, schema: str, host: Host, directions: Directions | None = None) -> None:
        """Make a renderer.

        Args:
            schema: One of SCHEMAS.
            host: The host that the events come from.
            directions: Who opened the connections, if something else notes it. Without, lines() does.
        """
        self._directions = directions or Directions()
        self._notes = directions is None
        self._context = Context(host, __version__, self._directions.of)
        module = import_module(f"netmon.schemas.{schema}")
        self._render: Callable[[Any, str, Context], dict[str, Any]] = getattr(module, f"to_{schema}")

    def lines(self, events: Iterable[str]) -> list[str]:
        """Return a line for each event. events: lines of JSON, each with its newline."""
        from orjson import loads  # slow to import

        lines = []
        for line in events:
            if self._notes:
                self._directions.note((line,))
            lines.append(f"{format_json(self._render(loads(line), line, self._context))}\n")
        return lines

    def finish(self) -> list[str]:
        """Return no lines."""
        return []

    def summary(self) -> list[str]:
        """Return no lines."""
        return []

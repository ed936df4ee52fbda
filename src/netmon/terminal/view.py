"""What turns events into text. Every view takes lines of JSON, and returns lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from netmon.terminal.describe import lost
from netmon.terminal.style import LOUD, paint
from netmon.text import escape_for_terminal

Event = dict[str, Any]


class View(Protocol):
    """Turns events into text, in the order in which they come."""

    def lines(self, events: Iterable[str]) -> list[str]:
        """Return lines of text, each with its newline.

        Args:
            events: Lines of JSON; none while nothing happens, about once a second.
        """

    def finish(self) -> list[str]:
        """Return the last lines, once there are no more events."""

    def summary(self) -> list[str]:
        """Return the lines of a summary, without newlines; none if this view has no summary."""


class EventView:
    """The base of views that show each event by itself."""

    def lines(self, events: Iterable[str]) -> list[str]:
        """Return lines of text, each with its newline."""
        from orjson import loads  # slow to import

        return [line for event in events if (line := self.line(loads(event)))]

    def line(self, event: Event) -> str:
        """Return an event's line, with its newline; "" without one."""
        raise NotImplementedError

    def finish(self) -> list[str]:
        """Return no lines."""
        return []

    def summary(self) -> list[str]:
        """Return no lines."""
        return []


Report = Callable[[str], None]  # takes a message that has no place among the lines


def loss_line(event: Event, time: str, *, coloured: bool) -> str:
    """Return the line of a LostEvents among lines for people. time: what it begins with."""
    text = escape_for_terminal("events: " + lost(event["lost_events"]))
    return f"{time} {paint(text, LOUD) if coloured else text}\n"

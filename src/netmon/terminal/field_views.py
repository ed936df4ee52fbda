"""The views of fields that the user names: a table, a template, JSON with those keys only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from netmon.decode.format import format_json
from netmon.terminal.cells import cells, pad
from netmon.terminal.describe import local_time, lost
from netmon.terminal.fields import ABSENT, FieldError, Path, parse_path, text_of, value_at
from netmon.terminal.style import BOLD, paint
from netmon.terminal.view import Event, EventView, Report, loss_line

# The columns of a table without --fields: for connection events, and for aggregates.
CONNECTION_COLUMNS = (
    "process.filename,process.pid,network_event.type,network_event.daddr,network_event.dport,network_event.reason"
)
FLOW_COLUMNS = (
    "process.filename,flow.direction,flow.peer,flow.port,flow.opened,flow.failed,flow.bytes_sent,flow.bytes_received"
)

WIDEST = 40  # cells to which a column grows: a longer value moves the rest of its own row only
# Columns whose values grow wide later on have their usual width from the start. By the last part of a path.
_USUAL_WIDTHS = {"timestamp": 24, "filename": 12, "type": 22, "daddr": 15, "saddr": 15, "peer": 15, "pid": 7}


class TableView(EventView):
    """A table with a column for each field. A column grows with its values, and none is cut."""

    def __init__(self, paths: Sequence[Path], *, coloured: bool = False, ascii_only: bool = False) -> None:
        """Make it. coloured: whether to use colours; ascii_only: see escape_for_terminal()."""
        self._paths = paths
        self._coloured = coloured
        self._ascii_only = ascii_only
        self._names = column_names(paths)
        self._widths = [
            max(len(name), _USUAL_WIDTHS.get(path[-1], 0)) for name, path in zip(self._names, paths, strict=True)
        ]
        self._has_header = False

    def lines(self, events: Iterable[str]) -> list[str]:
        """Return the events' rows; before the first one, the header, too."""
        from orjson import loads  # slow to import

        rows = [row for event in events if (row := self._cells_of(loads(event))) is not None]
        for row in rows:
            if not isinstance(row, str):
                self._widths = [
                    max(width, min(cells(text), WIDEST)) for width, text in zip(self._widths, row, strict=True)
                ]
        header = [self._header()] if rows and not self._has_header else []
        return header + [row if isinstance(row, str) else self._row(row) for row in rows]

    def _cells_of(self, event: Event) -> list[str] | str | None:
        """Return the cells of an event's row; a line without cells for losses; None for an event without the fields."""
        values = [value_at(event, path) for path in self._paths]
        if not _says_nothing(values, self._paths):
            return [text_of(value, self._ascii_only) or ABSENT for value in values]
        if event["type"] == "LostEvents":
            return loss_line(event, local_time(event["timestamp"]), coloured=self._coloured)
        return None

    def _header(self) -> str:
        self._has_header = True
        header = self._row(self._names).rstrip("\n")
        return f"{paint(header, BOLD) if self._coloured else header}\n"

    def _row(self, texts: Sequence[str]) -> str:
        return "  ".join(map(pad, texts, self._widths)).rstrip() + "\n"


def column_names(paths: Sequence[Path]) -> list[str]:
    """Return the headers: the last part of each path, or the whole path where others end so, too."""
    last = [path[-1] for path in paths]
    return [path[-1] if last.count(path[-1]) == 1 else ".".join(path) for path in paths]


def _says_nothing(values: Sequence[Any], paths: Sequence[Path]) -> bool:
    """Return whether an event has none of the fields, beside those that every event has."""
    own = [value for value, path in zip(values, paths, strict=True) if path not in (("type",), ("timestamp",))]
    return bool(own) and all(value is None for value in own)


class TemplateView(EventView):
    """A template's text, in which each `{path}` is replaced by the field's value."""

    def __init__(self, template: str, report: Report, *, ascii_only: bool = False) -> None:
        """Make it.

        Args:
            template: The text. `{{` and `}}` are braces; `\\t` and `\\n` are a tab and a line end.
            report: Takes a message about losses, which the template does not show.
            ascii_only: See escape_for_terminal().

        Raises:
            FieldError: The template names no field, or one that no event has, or has a single brace.
        """
        self._parts = parse_template(template)
        self._paths = [part for part in self._parts if isinstance(part, tuple)]
        self._report = report
        self._ascii_only = ascii_only

    def line(self, event: Event) -> str:
        """Return the filled template; "" for an event that has none of its fields."""
        if _says_nothing([value_at(event, path) for path in self._paths], self._paths):
            return _only_report(event, self._report)
        return "".join(
            part if isinstance(part, str) else text_of(value_at(event, part), self._ascii_only) for part in self._parts
        )


_PART = re.compile(r"\{\{|\}\}|\\[tn\\]|\{([^{}]*)\}|[{}]")
_LITERALS = {"{{": "{", "}}": "}", r"\t": "\t", r"\n": "\n", "\\\\": "\\"}


def parse_template(template: str) -> list[str | Path]:
    """Return a template's parts: texts, the last of which ends in a newline, and paths. Raises FieldError."""
    parts: list[str | Path] = []
    end = 0
    for match in _PART.finditer(template):
        parts.append(template[end : match.start()])
        end = match.end()
        if match[0] in _LITERALS:
            parts.append(_LITERALS[match[0]])
        elif match[1] is None:
            raise FieldError(f"a single {match[0]} at character {match.start() + 1}; write {match[0] * 2} for a brace")
        else:
            parts.append(parse_path(match[1].strip()))
    if not any(isinstance(part, tuple) for part in parts):
        raise FieldError("names no field; write it like '{process.pid} {network_event.daddr}'")
    return [part for part in (*parts, template[end:] + "\n") if part]


class JsonView(EventView):
    """JSON as netmon writes it, with the named keys only."""

    def __init__(self, paths: Sequence[Path], report: Report) -> None:
        """Make it. report: takes a message about losses, if their keys are not among those named."""
        self._paths = paths
        self._report = report

    def line(self, event: Event) -> str:
        """Return an event's JSON; "" if it has none of the keys."""
        values = [value_at(event, path) for path in self._paths]
        if _says_nothing(values, self._paths):
            return _only_report(event, self._report)
        chosen: Event = {}
        for path, value in zip(self._paths, values, strict=True):
            if value is not None:
                section = chosen
                for key in path[:-1]:
                    section = section.setdefault(key, {})
                section[path[-1]] = value
        return f"{format_json(chosen)}\n"


def _only_report(event: Event, report: Report) -> str:
    """Report the losses of a LostEvents in a message, as no line shows them; return no line."""
    if event["type"] == "LostEvents":
        report(lost(event["lost_events"]))
    return ""

"""Which events an output gets, chosen among lines of JSON without parsing them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# A text of a process cannot look so: its quotation marks are escaped.
_CONNECTION = '"network_event":{"type":"TcpConnection'
_OTHERS = {'{"type":"LostEvents"': "lost", '{"type":"NetworkSummary"': "summary"}


class Choice:
    """Chooses lines by the short names of their events: establish, accept, close, ..., summary, lost."""

    def __init__(self, names: Iterable[str]) -> None:
        """Choose the events with these names."""
        self.names = frozenset(names)

    def of(self, lines: Sequence[str]) -> list[str]:
        """Return the lines that are chosen."""
        return [line for line in lines if event_name(line) in self.names]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and other.names == self.names

    def __hash__(self) -> int:
        return hash(self.names)


def event_name(line: str) -> str:
    """Return the short name of a line's event."""
    for beginning, name in _OTHERS.items():
        if line.startswith(beginning):
            return name
    start = line.rfind(_CONNECTION) + len(_CONNECTION)
    return line[start : line.index('"', start)].lower()

"""Which rows `netmon top` shows, and in which order."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text.

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from netmon.top.counts import CONNECTIONS, DIMENSIONS, FAILURES, NOTHING, RECEIVED, SENT, Connection, Row, Top

TREE = "tree"
VIEWS = (DIMENSIONS[0], TREE, *DIMENSIONS[1:])
MOST_DEEP = 32  # levels of the tree: what is deeper is at its top


class Choice(NamedTuple):
    """What a user wants to see.

    Attributes:
        by: One of VIEWS.
        sort: One of SORT_KEYS.
        reverse: Whether the smallest comes first.
        words: What a row's texts must have; a word after `!`, must not.
    """

    by: str = "process"
    sort: str = "bytes"
    reverse: bool = False
    words: tuple[str, ...] = ()

    @property
    def dimension(self) -> str:
        """The dimension whose rows are shown."""
        return "process" if self.is_tree else self.by

    @property
    def is_tree(self) -> bool:
        """Whether processes stand below their parents, and have the counts of their descendants, too."""
        return self.by == TREE


class Line(NamedTuple):
    """A row as it is shown.

    Attributes:
        row: The row.
        depth: How deep it is in the tree.
        total: The measures since the start; in the tree with those of the descendants.
        last: The measures in the last interval, likewise.
        open: How many connections are open, likewise.
        history: The measures of each interval, likewise.
    """

    row: Row
    depth: int
    total: tuple[int, ...]
    last: tuple[int, ...]
    open: int
    history: Sequence[tuple[int, ...]]


def _line(row: Row, depth: int = 0) -> Line:
    return Line(row, depth, tuple(row.tally.total), row.tally.last, row.open, row.tally.history)


def _bytes(measures: tuple[int, ...]) -> int:
    return measures[SENT] + measures[RECEIVED]


def _by(measure: int) -> Callable[[Line], tuple[Any, ...]]:
    """Return a key that compares a measure of the last interval, then since the start."""
    return lambda line: (line.last[measure], line.total[measure], line.open, line.row.active_at)


# By the key: what is compared. The largest comes first, but of texts and numbers of processes and ports.
SORT_KEYS: dict[str, Callable[[Line], Any]] = {
    "bytes": lambda line: (_bytes(line.last), _bytes(line.total), line.last[CONNECTIONS], line.total[CONNECTIONS]),
    "sent": _by(SENT),
    "received": _by(RECEIVED),
    "connections": _by(CONNECTIONS),
    "failures": _by(FAILURES),
    "open": lambda line: (line.open, line.total[CONNECTIONS]),
    "name": lambda line: _label(line.row),
}
_SMALLEST_FIRST = ("name",)


def _label(row: Row) -> tuple[Any, ...]:
    return (row.who.name, row.who.pid) if row.who is not None else (_key_text(row), 0)


def _key_text(row: Row) -> str:
    """Return what a row is called, by itself; raw."""
    if isinstance(row.key, tuple):
        return " ".join(map(str, row.key))
    return str(row.key)


def arrange(top: Top, choice: Choice) -> list[Line]:
    """Return the rows that are chosen, in order."""
    rows = top.rows[choice.dimension]
    if choice.is_tree:
        return _tree(rows, choice)
    lines = [_line(row) for row in rows.values() if _is_shown(row) and matches(row, choice.words)]
    return _sorted(lines, choice)


def _is_shown(row: Row) -> bool:
    """Return whether a row has connections of its own: a parent may have none."""
    return bool(row.open or row.last or any(row.tally.total))


def _sorted(lines: Iterable[Line], choice: Choice) -> list[Line]:
    largest_first = (choice.sort not in _SMALLEST_FIRST) != choice.reverse
    return sorted(lines, key=SORT_KEYS[choice.sort], reverse=largest_first)


def _tree(rows: dict[Any, Row], choice: Choice) -> list[Line]:
    """Return the processes, each behind its parent. One that matches brings its ancestors and its descendants."""
    children: dict[Any, list[Row]] = {}
    for row in rows.values():
        children.setdefault(_parent_of(row, rows), []).append(row)
    lines: list[Line] = []

    def subtree(row: Row, depth: int, is_chosen: bool) -> list[Line]:
        is_chosen = is_chosen or matches(row, choice.words)
        below = [subtree(child, depth + 1, is_chosen) for child in children.get(row.key, ())]
        below = [lines for lines in below if lines]
        if not below and not (is_chosen and _is_shown(row)):
            return []
        heads = [lines[0] for lines in below]
        own = _line(row, depth)
        head = own._replace(
            total=_sum(own.total, *(line.total for line in heads)),
            last=_sum(own.last, *(line.last for line in heads)),
            open=own.open + sum(line.open for line in heads),
            history=_sum_histories([own.history, *(line.history for line in heads)]),
        )
        behind = {id(lines[0]): lines for lines in below}
        return [head, *(line for first in _sorted(heads, choice) for line in behind[id(first)])]

    roots = [tree for row in children.get(None, ()) if (tree := subtree(row, 0, False))]
    trees = {id(tree[0]): tree for tree in roots}
    for first in _sorted((tree[0] for tree in roots), choice):
        lines += trees[id(first)]
    return lines


def _parent_of(row: Row, rows: dict[Any, Row]) -> Any:
    """Return the key of a row's parent; None at the top, which is also where a circle is: a file can claim one."""
    if row.parent not in rows:
        return None
    above, key = 0, row.parent
    while key in rows and above <= MOST_DEEP:
        above, key = above + 1, rows[key].parent
    return row.parent if above <= MOST_DEEP else None


def _sum(*measures: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(sum, zip(NOTHING, *measures, strict=True)))


def _sum_histories(histories: list[Sequence[tuple[int, ...]]]) -> list[tuple[int, ...]]:
    """Return the sums of intervals: the last ones belong together."""
    longest = max(map(len, histories))
    filled = ([NOTHING] * (longest - len(history)) + [*history] for history in histories)
    return [_sum(*measures) for measures in zip(*filled, strict=True)]


def matches(row: Row, words: tuple[str, ...]) -> bool:
    """Return whether a row has all words, and none of those after `!`: in its own texts, or of its last connections."""
    if not words:
        return True
    text = _searched(row)
    return all((word[1:] not in text) if word.startswith("!") and len(word) > 1 else word in text for word in words)


def _searched(row: Row) -> str:
    texts = [_of_process(row)] if row.who is not None else [_key_text(row)]
    texts += map(_of_connection, row.last)
    return "\n".join(texts).casefold()


def _of_process(row: Row) -> str:
    who = row.who
    assert who is not None
    return f"{who.name} {who.pid} {who.path} {who.args} {who.container}"


def _of_connection(connection: Connection) -> str:
    who = connection.who
    return (
        f"{who.name}[{who.pid}] {who.container} {connection.arrow} {connection.address} :{connection.port} "
        f"{connection.state}"
    )


def read_words(text: str) -> tuple[str, ...]:
    """Return the words of a filter bar."""
    return tuple(text.casefold().split())

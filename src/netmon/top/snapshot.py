"""A snapshot of `netmon top` for scripts: a line of JSON, or a table of text."""

from __future__ import annotations

from typing import Any

from netmon.decode.format import format_json
from netmon.terminal.describe import ARROWS
from netmon.terminal.row import UNKNOWN
from netmon.top.columns import Presenter, columns_for, join
from netmon.top.counts import Row, Tally, Top
from netmon.top.order import Choice, Line, arrange

# The keys of the measures, as events have them where they have them.
KEYS = ("connections", "failures", "bytes_sent", "bytes_received")
_DIRECTIONS = {arrow: direction for direction, arrow in ARROWS.items()}


def snapshot_json(top: Top, choice: Choice, timestamp: str, limit: int | None, known: frozenset[str]) -> str:
    """Return a line of JSON, with its newline.

    Args:
        top: What was counted.
        choice: Which rows, in which order.
        timestamp: When the interval ended.
        limit: How many rows, at most.
        known: Which of KEYS the events tell; the others are left out.
    """
    lines = arrange(top, choice)
    snapshot: dict[str, Any] = {
        "type": "TopSnapshot",
        "timestamp": timestamp,
        "interval_s": round(top.seconds, 3),
        "by": choice.by,
        "sort": choice.sort,
        "open": top.open,
        **_measures(tuple(top.total.total), top.total.last, top.seconds, known),
        "lost": top.lost,
        "unfollowed": top.unfollowed,
        "rows": [_row(line, top, choice, known) for line in lines[:limit]],
        "rows_left_out": len(lines) - len(lines[:limit]),
    }
    if top.gone[choice.dimension]:
        others: Tally = top.others[choice.dimension]
        snapshot["others"] = {
            "rows": top.gone[choice.dimension],
            **_measures(tuple(others.total), others.last, top.seconds, known),
        }
    return f"{format_json(snapshot)}\n"


def _measures(total: tuple[int, ...], last: tuple[int, ...], seconds: float, known: frozenset[str]) -> dict[str, Any]:
    totals = {key: count for key, count in zip(KEYS, total, strict=True) if key in known}
    rates = {
        key: round(count / seconds, 3) if seconds > 0 else 0.0
        for key, count in zip(KEYS, last, strict=True)
        if key in known
    }
    return {**totals, "per_second": rates}


def _row(line: Line, top: Top, choice: Choice, known: frozenset[str]) -> dict[str, Any]:
    fields = _name(line.row, top)
    if choice.is_tree:
        fields["depth"] = line.depth
    return {**fields, "open": line.open, **_measures(line.total, line.last, top.seconds, known)}


def _name(row: Row, top: Top) -> dict[str, Any]:
    """Return what tells the row from others."""
    if (who := row.who) is not None:
        process: dict[str, Any] = {
            "pid": who.pid,
            "start_time": who.start_time,
            "ppid": who.ppid,
            "uid": who.uid,
            "filename": who.name,
            "binary_path": who.path,
            "args": who.args,
        }
        if who.container:
            process["container_id"] = who.container
        fields: dict[str, Any] = {"process": process}
        if row.parent is not None:
            fields["parent"] = dict(zip(("pid", "start_time"), row.parent, strict=True))
        if top.knows_ends:
            fields["ended"] = row.ended_at is not None
        return fields
    if isinstance(row.key, tuple):
        arrow, port = row.key
        return {"direction": _DIRECTIONS[arrow], "port": port} if arrow != UNKNOWN else {"port": port}
    return {"peer": row.key} if row.dimension == "peer" else {"container_id": row.key or None}


def snapshot_text(top: Top, choice: Choice, presenter: Presenter, width: int, limit: int | None) -> list[str]:
    """Return lines of text, each with its newline: what all rows have together, and a table."""
    columns = columns_for(choice.dimension, width)
    lines = arrange(top, choice)
    texts = [*presenter.totals(top, width), join((column.name for column in columns), columns)]
    texts += [join(presenter.cells_of(line, columns, top, choice), columns) for line in lines[:limit]]
    if left := len(lines) - len(lines[:limit]):
        texts.append(f"({left} more)")
    if top.lost:
        texts.append(f"{top.lost} events lost")
    return [f"{text}\n" for text in texts]

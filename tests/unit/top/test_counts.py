"""What is counted of events: each connection once, also a short one; bytes as they are seen; and bounded memory."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netmon.top.counts import (
    CONNECTIONS,
    FAILURES,
    KEEP_ENDED,
    LAST,
    MOST_OPEN,
    MOST_ROWS,
    RECEIVED,
    SENT,
    Row,
    Top,
    Who,
)
from tests.support.json_lines import PROGRESS, SERVER, STATISTICS, connection_line, loss_line, process
from tests.support.top_events import CURL, MAKE, played

RUNNING = lambda who: True  # noqa: E731


def add(top: Top, kind: str, cookie: int = 1, parent: Any = None, **changes: Any) -> None:
    event = json.loads(connection_line(kind, cookie, **changes))
    if parent is not None:
        event["parent"] = json.loads(parent.model_dump_json())
    top.add(event)


def only(top: Top, dimension: str = "process") -> Row:
    (row,) = top.rows[dimension].values()
    return row


def test_a_short_connection_counts_in_each_dimension() -> None:
    top = Top(0.0)
    add(top, "Establish", handshake_us=900)
    add(top, "Close", **STATISTICS)
    top.tick(2.0)
    for rows in top.rows.values():
        (row,) = rows.values()
        assert tuple(row.tally.last) == (1, 0, 137, 853_000)
        assert row.open == 0
    assert {*top.rows["peer"]} == {SERVER}
    assert {*top.rows["port"]} == {("->", 443)}
    assert {*top.rows["container"]} == {""}


def test_a_failed_attempt_is_no_connection() -> None:
    top = Top(0.0)
    add(top, "Fail", reason="refused")
    assert only(top).tally.total == [0, 1, 0, 0]
    assert only(top).open == top.open == 0
    assert only(top).last[0].state == "failed: refused"


def test_bytes_count_once_however_often_an_open_connection_was_looked_at() -> None:
    top = Top(0.0)
    add(top, "Establish")
    add(top, "Progress", **{**PROGRESS, "bytes_sent": 100, "bytes_received": 1000})
    top.tick(2.0)
    assert only(top).tally.last[SENT:] == (100, 1000)
    add(top, "Progress", **{**PROGRESS, "bytes_sent": 150, "bytes_received": 1000})
    add(top, "Close", **{**STATISTICS, "bytes_sent": 151, "bytes_received": 1003})
    top.tick(4.0)
    assert only(top).tally.last[SENT:] == (51, 3)
    assert only(top).tally.total[SENT:] == [151, 1003]


def test_what_was_carried_before_the_start_is_not_counted() -> None:
    top = Top(0.0)
    add(top, "Existing", direction="egress", bytes_sent=5000, bytes_received=7000)
    assert only(top).open == 1
    assert only(top).tally.total == [0, 0, 0, 0]
    add(top, "Close", **{**STATISTICS, "bytes_sent": 5001, "bytes_received": 7002})
    assert only(top).tally.total == [0, 0, 1, 2]


def test_accepted_connections_count_at_the_servers_port() -> None:
    top = Top(0.0)
    for cookie in range(1, 4):
        add(top, "Accept", cookie, sport=80, dport=40_000 + cookie)
    assert top.rows["port"][("<-", 80)].tally.total[CONNECTIONS] == 3


def test_the_close_of_an_opening_that_was_not_seen_is_said_and_not_counted() -> None:
    top = Top(0.0)
    add(top, "Close", **STATISTICS)
    assert (top.unfollowed, top.total.total) == (1, [0, 0, 0, 0])


def test_an_opening_whose_cookie_is_open_ends_the_other() -> None:
    """Its close was lost."""
    top = Top(0.0)
    add(top, "Establish")
    add(top, "Establish")
    assert (only(top).open, top.open, only(top).tally.total[CONNECTIONS]) == (1, 1, 2)


def test_losses_are_added_up() -> None:
    top = Top(0.0)
    top.add(json.loads(loss_line(count=3, ring_full=3)))
    top.add(json.loads(loss_line(count=4, ring_full=4)))
    assert top.lost == 7


def test_an_ended_process_stays_for_a_while_and_is_counted_for_ever() -> None:
    alive = {153}
    top = Top(0.0, lambda who: who.pid in alive)
    add(top, "Establish")
    add(top, "Close", **STATISTICS)
    top.tick(2.0)
    assert only(top).ended_at is None
    alive.clear()
    top.tick(4.0)
    assert only(top).ended_at == 4.0
    top.tick(4.0 + KEEP_ENDED - 0.1)
    assert only(top)
    top.tick(4.0 + KEEP_ENDED)
    assert not top.rows["process"]
    assert (top.gone["process"], top.others["process"].total) == (1, [1, 0, 137, 853_000])
    assert top.total.total == [1, 0, 137, 853_000]


def test_a_process_with_open_connections_stays() -> None:
    """Another process holds them, say."""
    top = Top(0.0, lambda _who: False)
    add(top, "Establish")
    for now in range(2, 200, 2):
        top.tick(now)
    assert only(top).open == 1


def test_without_proc_a_process_ends_with_its_last_connection() -> None:
    top = Top(0.0)
    add(top, "Establish")
    top.tick(2.0)
    assert only(top).ended_at is None
    add(top, "Close", **STATISTICS)
    top.tick(4.0)
    top.tick(4.0 + KEEP_ENDED)
    assert not top.rows["process"]
    assert not top.knows_ends


def test_a_pid_that_is_used_again_is_another_process() -> None:
    top = Top(0.0, RUNNING)
    add(top, "Establish", 1)
    add(top, "Establish", 2, by=process(start_time="2026-11-29T15:43:00.000Z"))
    first, second = top.rows["process"].values()
    assert (first.ended_at, second.ended_at) == (0.0, None)


def test_an_exec_changes_the_name_of_a_row() -> None:
    top = Top(0.0)
    add(top, "Establish", 1, by=process(filename="sh"))
    add(top, "Establish", 2, by=process(filename="wget"))
    assert only(top).who is not None and only(top).who.name == "wget"  # type: ignore[union-attr]


def test_a_parent_has_a_row_without_counts() -> None:
    top = Top(0.0)
    add(top, "Establish", by=CURL, parent=MAKE)
    child = next(row for row in top.rows["process"].values() if row.who and row.who.pid == CURL.pid)
    assert child.parent == (MAKE.pid, MAKE.start_time)
    assert top.rows["process"][child.parent].tally.total == [0, 0, 0, 0]


@pytest.mark.parametrize("dimension", ["process", "peer", "port", "container"])
def test_rows_are_bounded_and_nothing_is_lost_of_the_sums(dimension: str) -> None:
    top, count = Top(0.0, RUNNING), 3 * MOST_ROWS
    event = json.loads(connection_line("Establish"))
    for number in range(count):
        event["network_event"].update(cookie=number, daddr=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        event["network_event"]["dport"] = number
        event["process"].update(pid=number, container_id=f"{number:064x}")
        top.add(event)
        top.add({**event, "network_event": {**event["network_event"], "type": "TcpConnectionClose", **STATISTICS}})
    rows = top.rows[dimension]
    assert len(rows) <= MOST_ROWS
    assert (
        sum(row.tally.total[CONNECTIONS] for row in rows.values()) + top.others[dimension].total[CONNECTIONS] == count
    )
    assert top.gone[dimension] == count - len(rows)
    assert top.total.total[RECEIVED] == count * STATISTICS["bytes_received"]


def test_open_connections_are_bounded() -> None:
    top = Top(0.0)
    event = json.loads(connection_line("Establish"))
    for cookie in range(MOST_OPEN + 5):
        event["network_event"]["cookie"] = cookie
        top.add(event)
    assert (top.open, top.unfollowed, only(top).open) == (MOST_OPEN, 5, MOST_OPEN)
    assert only(top).tally.total[CONNECTIONS] == MOST_OPEN + 5


def test_what_an_evicted_row_carries_yet_counts_among_the_others() -> None:
    top = Top(0.0, RUNNING)
    for number in range(MOST_ROWS + 1):
        add(top, "Establish", number, by=process(pid=number))
    first = top._connections[0]
    assert first.rows[0].who is not None
    assert first.rows[0].key not in top.rows["process"]
    add(top, "Close", 0, by=process(pid=0), **STATISTICS)
    assert top.others["process"].total[RECEIVED] == STATISTICS["bytes_received"]


def test_details_have_the_last_connections() -> None:
    top = Top(0.0)
    for cookie in range(LAST + 3):
        add(top, "Establish", cookie, dport=1000 + cookie)
    assert [connection.port for connection in only(top).last] == [*range(1003, 1003 + LAST)]


def test_the_scene_adds_up() -> None:
    top = played(40)
    for rows in top.rows.values():
        for measure in range(4):
            assert sum(row.tally.total[measure] for row in rows.values()) == top.total.total[measure]
    assert top.total.total[FAILURES] == 14


def test_who_is_known_by_pid_and_start() -> None:
    who = Who(1, "then", 0, 0, "init", "/sbin/init", "", "")
    assert who.key == (1, "then")

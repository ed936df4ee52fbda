"""The list of open connections, as a person sees it."""

from __future__ import annotations

import re
from typing import Any

import pyte
import pytest

from netmon.terminal.list_view import ListView
from tests.support.json_lines import HOSTILE_TEXTS, connection_line, process

ID = "0123456789abcdef" * 4
SO_FAR: dict[str, Any] = {
    "direction": "egress",
    "bytes_sent": 137,
    "bytes_received": 853_000,
    "segments_retransmitted": 0,
    "rtt_us": 1_400,
    "state": "established",
    "idle_ms": 4_000,
    "holders": 1,
}


def line(**changes: Any) -> str:
    by = process(**{key: changes.pop(key) for key in ("filename", "args", "container_id", "pid") if key in changes})
    return connection_line("Existing", by=by, **{**SO_FAR, **changes})


def show(*lines: str, width: int | None = 80, **options: bool) -> list[str]:
    view = ListView(lambda uid: "root", width=width, **options)
    shown = view.lines(lines)
    assert all(text.endswith("\n") and text.count("\n") == 1 for text in shown)
    assert (view.finish(), view.summary()) == ([], [])
    return [text[:-1] for text in shown]


def test_a_line_for_each_connection() -> None:
    assert show(
        line(duration_us=65_000_000),
        line(direction="ingress", sport=22, filename="sshd", pid=9, state="close_wait", holders=3, rtt_us=0),
        line(state="syn_sent", bytes_sent=0, bytes_received=0, idle_ms=None, rtt_us=0, filename="nc"),
        width=None,
    ) == [
        "PROCESS   USER    PEER              STATE        AGE IDLE SENT RECV   RTT ARGUMENTS",
        "curl[153] root -> 192.0.2.10:443    estab      1m05s 4.0s 137B 853k 1.4ms http://192.0.2.10/",
        "sshd[9]+2 root <- 192.0.2.10 on :22 close-wait     - 4.0s 137B 853k     - http://192.0.2.10/",
        "nc[153]   root -> 192.0.2.10:443    syn-sent       -    -    -    -     - http://192.0.2.10/",
    ]


def test_nothing_open_is_no_line() -> None:
    assert show() == []


def test_containers_have_a_column_if_there_are_any() -> None:
    header, first, second = show(line(container_id=ID), line(), width=None)
    assert header.split()[-2:] == ["CONTAINER", "ARGUMENTS"]
    assert first.split()[-2:] == [ID[:12], "http://192.0.2.10/"]
    assert second.split()[-2:] == ["-", "http://192.0.2.10/"]


def test_containers_have_their_names_if_these_are_known() -> None:
    by = process(container_id=ID, workload={"pod": "web-1", "namespace": "shop"})
    named = connection_line("Existing", by=by, **SO_FAR)
    _, first, second = show(named, line(container_id=ID), width=None)
    assert first.split()[-2] == "shop/web-1"
    assert second.split()[-2] == ID[:12]


LONG = {"daddr": "2001:db8:1111:2222:3333:4444:5555:6666", "filename": "a-program-with-a-rather-long-name"}


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("changes", [{}, LONG, {"filename": LONG["filename"]}, {"args": "x" * 8000}])
def test_lines_fit_where_they_can(width: int, changes: dict[str, object]) -> None:
    shown = show(line(**changes), line(container_id=ID), width=width)
    assert max(map(len, shown)) <= width
    for column in ("PROCESS", "PEER", "STATE", "SENT", "RECV"):
        assert column in shown[0]
    assert "[153]" in shown[1]


def test_a_wide_terminal_leaves_nothing_out() -> None:
    assert show(line(**LONG), line(container_id=ID), width=250) == show(line(**LONG), line(container_id=ID), width=None)


def test_on_a_narrow_terminal_the_peer_is_whole() -> None:
    shown = show(line(**LONG), width=30)
    assert f"[{LONG['daddr']}]:443" in shown[1]
    assert "USER" not in shown[0]


def column_of_arrow(screen: pyte.Screen, y: int) -> int:
    row = screen.buffer[y]
    return next(x for x in range(80) if row[x].data + row[x + 1].data == "->")


@pytest.mark.parametrize("kind", HOSTILE_TEXTS)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_hostile_texts_leave_the_terminal_as_it_was(kind: str, ascii_only: bool) -> None:
    screen, untouched = pyte.Screen(80, 20), pyte.Screen(80, 20)
    hostile = HOSTILE_TEXTS[kind]
    shown = show(line(filename=hostile, args=hostile * 1000), line(), coloured=True, ascii_only=ascii_only)
    pyte.Stream(screen).feed("\r\n".join(shown))
    rows = [row.rstrip() for row in screen.display if row.strip()]
    assert len(rows) == 3
    assert all("192.0.2.10:443" in row for row in rows[1:])
    assert column_of_arrow(screen, 1) == column_of_arrow(screen, 2)
    assert screen.cursor.attrs == untouched.cursor.attrs
    assert (screen.mode, screen.title) == (untouched.mode, "")


def test_colours_change_nothing_else() -> None:
    lines = line(), line(direction="ingress", state="close_wait")
    plain = [re.sub(r"\x1b\[[\d;]*m", "", text) for text in show(*lines, coloured=True)]
    assert plain == show(*lines)
    assert any("\x1b[33mclose-wait" in text for text in show(*lines, coloured=True))

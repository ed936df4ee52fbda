"""The report of `netmon exec --report`."""

from __future__ import annotations

import json

from netmon.terminal.report_view import ReportView
from tests.support.json_lines import connection_line


def event(kind: str, cookie: int, path: str = "/usr/bin/curl", **network: object) -> str:
    ends = {"saddr": "10.0.0.1", "daddr": "10.0.0.2", "sport": 4000, "dport": 80, "cookie": cookie}
    return json.dumps(
        {
            "type": "NetworkEvent",
            "process": {"binary_path": path},
            "network_event": {"type": f"TcpConnection{kind}", **ends, **network},
            "timestamp": f"2026-11-29T12:00:0{cookie}.000Z",
        }
    )


EVENTS = [
    event("Establish", 1),
    event("Close", 1, "/usr/bin/other", bytes_sent=5, bytes_received=1200),
    event("Fail", 2, reason="refused"),
]


def test_a_close_is_counted_with_its_opening() -> None:
    view = ReportView("json")
    assert view.lines(EVENTS) == []
    (line,) = view.finish()
    (entry,) = json.loads(line)
    assert (entry["binary_path"], entry["direction"], entry["peer"]) == ("/usr/bin/curl", "egress", "10.0.0.2")
    assert (entry["connections"], entry["failed"], entry["reasons"]) == (1, 1, {"refused": 1})
    assert (entry["bytes_sent"], entry["bytes_received"]) == (5, 1200)


def test_a_progress_counts_neither_as_a_connection_nor_its_bytes() -> None:
    """The close has them."""
    progress = event("Progress", 1, bytes_sent=4, bytes_received=700)
    with_progress, without = ReportView("json"), ReportView("json")
    with_progress.lines([EVENTS[0], progress, *EVENTS[1:]])
    without.lines(EVENTS)
    assert with_progress.finish() == without.finish()


def test_a_table_has_a_line_for_each_program_and_peer() -> None:
    view = ReportView("table")
    view.lines(EVENTS)
    header, row = view.finish()
    assert header.split() == ["program", "peer", "first", "last", "connections", "failed", "sent", "received"]
    assert row.split()[:3] == ["curl", "->", "10.0.0.2:80"]
    assert row.split()[-5:] == ["1", "1", "(refused)", "5B", "1.2k"]


def test_markdown_shows_hostile_names_as_they_are() -> None:
    view = ReportView("markdown")
    view.lines([event("Establish", 1, "/a|b`<script>\x1b[31m")])
    *_, row = view.finish()
    assert row.startswith(r"| a\|b\`\<script\>\\u001b\[31m | -\> 10.0.0.2:80 |")


def test_names_stand_before_the_address() -> None:
    own, others = ({"name": name, "source": "dns", "scope": scope, "age_ms": 1} for name, scope in NAMES)
    events = [event("Establish", 1, names=[own]), event("Establish", 2, names=[others]), event("Establish", 3)]
    for form, text in (
        ("table", "-> a.example (10.0.0.2):80"),
        ("markdown", r"-\> a.example \(10.0.0.2\):80"),
        ("json", '"names":["a.example","~b.example"]'),
    ):
        view = ReportView(form)
        view.lines(events)
        assert text in "".join(view.finish()).replace("->", r"-\>" if form == "markdown" else "->")


NAMES = (("a.example", "process"), ("b.example", "netns"))


def test_rules_that_would_allow_all_this_follow_in_a_block_that_no_name_can_end() -> None:
    rules = ["egress:", "  rules:", '  - rule: "```"', '    when: binary_path == "/a`````"']
    view = ReportView("markdown", allowing=lambda: rules)
    assert view.finish() == ["Nothing unexpected.\n"]
    view.lines([connection_line("Establish")])
    lines = "".join(view.finish()).splitlines()
    fence = lines.index("``````yaml")
    assert lines[fence - 2] == "Not expected. To allow it, add these rules to the file:"
    assert [*lines[fence + 1 :]] == [*rules, "``````"]
    table = ReportView("table", allowing=lambda: rules)
    table.lines([connection_line("Establish")])
    assert [*"".join(table.finish()).splitlines()[-len(rules) :]] == rules

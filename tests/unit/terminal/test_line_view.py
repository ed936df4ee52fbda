"""Lines for a person."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from netmon.events import ConnectionEventType, Event, FailureReason
from netmon.terminal import connections
from netmon.terminal.cells import cells
from netmon.terminal.connections import REMEMBERED, WAITING, Connections
from netmon.terminal.line_view import LineView
from tests.support.json_lines import HOSTILE_TEXTS, PROGRESS, STATISTICS, connection_line, flow_line, loss_line, process

SGR = re.compile(r"\x1b\[[0-9;]*m")
IPV6 = "2001:db8:85a3:1234:5678:8a2e:370:7334"


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def user_name(uid: int) -> str:
    return "root" if uid == 0 else str(uid)


@pytest.fixture
def view(clock: Clock) -> LineView:
    return LineView(user_name, width=lambda: 80, connections=Connections(clock))


def shown(view: LineView, *events: str) -> str:
    return "".join([*view.lines(events), *view.finish()])


def everything(**changes: Any) -> list[str]:
    """Return a line of JSON for each type of event, by a process with these values."""
    by = process(**changes)
    details: dict[str, dict[str, Any]] = {
        "Establish": {"handshake_us": 17_000},
        "Close": STATISTICS,
        "Fail": {"reason": "refused", "errno": "ECONNREFUSED"},
        "Existing": {"direction": "ingress"},
        "Progress": PROGRESS,
        "Name": {"names": [{"name": "a.example", "source": "sni", "scope": "connection"}]},
    }
    kinds = [kind.removeprefix("TcpConnection") for kind in get_args(ConnectionEventType)]
    events = [connection_line(kind, cookie, by=by, **details.get(kind, {})) for cookie, kind in enumerate(kinds)]
    return [*events, loss_line(count=12, ring_full=12, missed=3), flow_line(by)]


@pytest.mark.parametrize("each", [False, True])
def test_each_type_of_event_has_a_line(each: bool) -> None:
    """A new type fails here until it has one."""
    kinds = {json.loads(event)["type"] for event in everything()}
    assert kinds == {model.model_fields["type"].default for model in get_args(Event)}
    lines = [shown(LineView(user_name, each=each), event) for event in everything()]
    assert all(line.count("\n") == 1 for line in lines)
    assert len({*lines}) == len(lines)


def test_an_open_connection_says_how_much_it_carries_in_a_second(view: LineView) -> None:
    events = [connection_line("Establish", handshake_us=17_000), connection_line("Progress", **PROGRESS)]
    assert view.lines(events) == [
        "15:42:39 curl[153]      root    -> 192.0.2.10:443     open 17ms\n",
        "15:42:39 curl[153]      root    -> 192.0.2.10:443     open >1.0M/s <15k/s 20s\n",
    ]
    assert view.lines([connection_line("Close", **STATISTICS)]) == [
        "15:42:39 curl[153]      root    -> 192.0.2.10:443     ok >137B <853k 91ms\n"
    ]


def test_an_announced_name_goes_into_the_line_that_waits(view: LineView) -> None:
    names = [{"name": "a.example", "source": "sni", "scope": "connection"}]
    assert view.lines([connection_line("Establish"), connection_line("Name", names=names)]) == []
    (line,) = view.lines([connection_line("Close", names=names, **STATISTICS)])
    assert "-> a.example (192.0.2.10):443" in line


def test_an_announced_name_has_a_line_once_the_opening_has_one() -> None:
    view = LineView(user_name, each=True)
    names = [{"name": "a.example", "source": "sni", "scope": "connection"}]
    _, line = view.lines([connection_line("Establish"), connection_line("Name", names=names)])
    assert line.endswith("announced a.example\n")


def test_an_open_connection_of_unknown_age_has_none(view: LineView) -> None:
    progress = {key: value for key, value in PROGRESS.items() if key != "duration_us"}
    assert view.lines([connection_line("Progress", **progress)])[0].endswith(" open >1.0M/s <15k/s\n")


def test_a_connection_is_one_line_when_it_has_ended(view: LineView) -> None:
    assert view.lines([connection_line("Establish", handshake_us=17_000)]) == []
    assert view.lines([connection_line("Close", **STATISTICS)]) == [
        "15:42:39 curl[153]      root    -> 192.0.2.10:443     ok 17ms >137B <853k 91ms\n"
    ]
    assert view.finish() == []


@pytest.mark.parametrize(
    ("name", "scope", "peer"),
    [
        ("api.example", "process", "api.example (192.0.2.10):443"),
        ("api.example", "ancestor", "api.example (192.0.2.10):443"),
        ("api.example", "netns", "~api.example (192.0.2.10):443"),
        ("x" * 60 + ".example", "process", f"{'x' * 23}..{'x' * 15}.example (192.0.2.10):443"),
    ],
)
def test_the_likeliest_name_stands_before_the_address(view: LineView, name: str, scope: str, peer: str) -> None:
    names = [{"name": each, "source": "dns", "scope": scope, "age_ms": 3} for each in (name, "other.example")]
    opening = connection_line("Establish", names=names), connection_line("Close", names=names)
    assert f"-> {peer}" in shown(view, *opening)


def test_an_accepted_connection_has_this_host_s_port(view: LineView) -> None:
    events = [connection_line("Accept", sport=80, dport=50_000), connection_line("Close", sport=80, dport=50_000)]
    assert shown(view, *events) == "15:42:39 curl[153]      root    <- 192.0.2.10 on :80  ok\n"


@pytest.mark.parametrize(
    ("names", "who"),
    [
        ({"pod": "web-1", "namespace": "shop", "container": "nginx"}, "shop/web-1"),
        ({"container": "api", "user": "alice"}, "api"),
        ({"pod": "web-1"}, "web-1"),
        ({"user": "alice", "unit": "a.service"}, "root"),
    ],
)
def test_a_container_is_named_in_place_of_the_user(view: LineView, names: dict[str, str], who: str) -> None:
    assert f" {who} " in shown(view, connection_line("Close", by=process(workload=names)))


def test_a_connection_that_was_open_before_has_what_it_has_carried(view: LineView) -> None:
    event = connection_line("Existing", direction="egress", bytes_sent=137, bytes_received=853_000)
    assert shown(view, event).endswith("-> 192.0.2.10:443     open already >137B <853k\n")


@pytest.mark.parametrize("reason", get_args(FailureReason))
def test_a_failed_attempt_has_its_reason(view: LineView, reason: str) -> None:
    says = "ENOBUFS" if reason == "other" else reason
    assert shown(view, connection_line("Fail", reason=reason, errno="ENOBUFS")).endswith(f":443     failed: {says}\n")


@pytest.mark.parametrize("ending", ["reset", "timeout"])
def test_a_connection_that_was_cut_off_says_so(view: LineView, ending: str) -> None:
    close = connection_line("Close", **{**STATISTICS, "closed_by": ending, "segments_retransmitted": 3})
    text = shown(view, connection_line("Establish", handshake_us=17_000), close)
    assert text.endswith(f":443 {ending} 17ms >137B <853k 91ms 3 resent\n")


def test_a_connection_that_is_open_after_a_second_has_a_line_then(view: LineView, clock: Clock) -> None:
    view.lines([connection_line("Establish", handshake_us=17_000)])
    clock.seconds += 0.9
    assert view.lines([]) == []
    clock.seconds += 0.2
    assert [line[-10:] for line in view.lines([])] == ["open 17ms\n"]
    assert view.lines([]) == []
    (line,) = view.lines([connection_line("Close", **STATISTICS)])
    assert line.endswith("ok >137B <853k 91ms\n")
    assert " -> " in line


def test_those_that_are_open_at_the_end_have_a_line(view: LineView) -> None:
    assert view.lines([connection_line("Accept", 1), connection_line("Establish", 2, handshake_us=1)]) == []
    assert [line.split()[-1] for line in view.finish()] == ["accepted", "1us"]


def test_the_process_that_opened_a_connection_is_named(view: LineView) -> None:
    other = process(pid=9, filename="other")
    text = shown(view, connection_line("Establish", handshake_us=1), connection_line("Close", by=other))
    assert "curl[153]" in text
    assert "other" not in text


def test_with_each_every_event_has_a_line(clock: Clock) -> None:
    view = LineView(user_name, each=True, connections=Connections(clock))
    events = [
        connection_line("Establish", handshake_us=17_000),
        connection_line("Accept", 2),
        connection_line("Close", 2, **STATISTICS),
        connection_line("Close", **STATISTICS),
        connection_line("Establish", 3),
    ]
    assert [line.split(maxsplit=5)[3:] for line in view.lines(events)] == [
        ["->", "192.0.2.10:443", "open 17ms\n"],
        ["<-", "192.0.2.10", "on :40122 accepted\n"],
        ["<-", "192.0.2.10", "on :40122 closed >137B <853k 91ms\n"],
        ["->", "192.0.2.10:443", "closed >137B <853k 91ms\n"],
        ["->", "192.0.2.10:443", "connecting\n"],
    ]


def test_a_close_whose_opening_was_forgotten_has_no_direction(view: LineView) -> None:
    assert " -- 192.0.2.10:443 " in shown(view, connection_line("Close", **STATISTICS))


def test_losses_and_blind_times_have_a_line(view: LineView) -> None:
    text = shown(view, loss_line(count=12, ring_full=12, missed=3, blind_ms=1500, outputs={"file": 7}))
    assert text == (
        "15:42:39 events: 12 lost (12 ring full, at most 3 missed), blind for 1.5 s, 7 not written to file\n"
    )
    text = shown(view, loss_line(count=9, over_budget=9, offenders={"/a/b": 8, "uid 5": 2}))
    assert text == ("15:42:39 events: 9 lost (9 over budget), 8 records of /a/b refused, 2 records of uid 5 refused\n")


def test_aggregates_have_a_line(view: LineView) -> None:
    assert shown(view, flow_line()) == (
        "15:42:39 curl[153]      root    -> 192.0.2.10:443 12 opened 11 closed >12k <1.2k\n"
    )
    assert shown(view, flow_line(failed=1)).endswith(" 12 opened 11 closed 1 failed >12k <1.2k\n")
    assert "<- 192.0.2.10 on :443" in shown(view, flow_line(direction="ingress"))


def test_memory_is_bounded(clock: Clock) -> None:
    kept = Connections(clock)
    view = LineView(user_name, connections=kept)
    shown_at_once = view.lines([connection_line("Establish", n, handshake_us=1) for n in range(WAITING + 10)])
    assert len(shown_at_once) == 10
    assert len(kept._waiting) == WAITING
    for cookie in range(REMEMBERED + 10):
        kept.opened(cookie, connections.Opening())
    assert len(kept._openings) == REMEMBERED


def visible(line: str) -> str:
    return SGR.sub("", line)


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
@pytest.mark.parametrize("kind", HOSTILE_TEXTS)
def test_hostile_texts_are_harmless_at_any_width(kind: str, width: int) -> None:
    """Nothing but netmon's own colours and line ends controls the terminal, and each line has the width that it may."""
    text = HOSTILE_TEXTS[kind]
    view = LineView(lambda _uid: "root", width=lambda: width, coloured=True)
    events = everything(filename=text, args=text * 100, binary_path=text, cgroup=text, container_id=text)
    for line in "".join([*view.lines(events), *view.finish()]).split("\n"):
        assert SGR.sub("", line).isprintable()
        assert set(SGR.findall(line)) <= {
            f"\x1b[{style}m" for style in ("0", "1", "2", "31", "32", "33", "35", "36", "1;31")
        }
        assert line.count("\x1b[0m") * 2 == line.count("\x1b[")
        if width >= 80:
            assert cells(visible(line)) <= max(width, 80)
    for line in view.summary():
        assert line.isprintable()


@pytest.mark.parametrize("address", ["192.168.100.200", "::1", IPV6])
@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_addresses_and_outcomes_are_never_cut(address: str, width: int) -> None:
    view = LineView(user_name, width=lambda: width)
    events = [
        connection_line("Establish", daddr=address, dport=65535, handshake_us=17_000, by=process(filename="x" * 200)),
        connection_line("Close", daddr=address, dport=65535, **STATISTICS),
    ]
    text = shown(view, *events)
    peer = f"[{address}]:65535" if ":" in address else f"{address}:65535"
    assert f" -> {peer}" in text
    assert text.endswith("ok 17ms >137B <853k 91ms\n")
    assert all(len(line) <= width for line in text.splitlines()) or width == 40


def test_a_narrow_terminal_has_the_outcome_on_a_line_of_its_own() -> None:
    view = LineView(user_name, width=lambda: 40)
    assert shown(view, connection_line("Fail", reason="refused")) == (
        "15:42:39 curl[153] root -> 192.0.2.10:443\n         failed: refused\n"
    )


def test_a_resized_terminal_is_followed() -> None:
    width = 80
    view = LineView(user_name, width=lambda: width)
    narrow = shown(view, connection_line("Fail", reason="refused"))
    width = 120
    wide = shown(view, connection_line("Fail", reason="refused"))
    assert wide.index("->") > narrow.index("->")


def test_columns_are_aligned() -> None:
    view = LineView(user_name, width=lambda: 80)
    names = ["a", "curl", "日本語", "systemd-re"]
    events = [connection_line("Fail", reason="refused", by=process(filename=name)) for name in names]
    lines = shown(view, *events).splitlines()
    assert len({cells(line[: line.index("->")]) for line in lines}) == 1
    assert len({cells(line[: line.index("failed")]) for line in lines}) == 1


def test_a_long_name_leaves_the_outcomes_aligned() -> None:
    view = LineView(user_name, width=lambda: 80)
    names = ["a", "inetutils-telnet"]
    events = [connection_line("Fail", reason="refused", by=process(filename=name)) for name in names]
    assert len({line.index("failed") for line in shown(view, *events).splitlines()}) == 1


def test_without_utf_8_all_is_ascii() -> None:
    view = LineView(user_name, ascii_only=True)
    assert shown(view, *everything(filename="日本語")).isascii()


def test_the_time_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "IST-5:30")
    time.tzset()
    assert shown(LineView(user_name), connection_line("Fail", time="2026-01-02T23:59:58.000Z")).startswith("05:29:58 ")


def test_the_summary_says_who_connected_where(view: LineView) -> None:
    view.lines(
        [
            *(connection_line("Accept", n, dport=50_000 + n, daddr=f"10.0.0.{n}", sport=80) for n in range(3)),
            connection_line("Close", 0, daddr="10.0.0.0", sport=80, **STATISTICS),
            connection_line("Fail", 8, reason="refused"),
        ]
    )
    assert view.summary()[1:] == [
        "          3       0  137B      853k  curl <- on :80",
        "          0       1    0B        0B  curl -> 192.0.2.10:443",
    ]


def test_a_type_of_a_newer_netmon_has_a_line() -> None:
    event = '{"type":"New\\u001b","timestamp":"2026-11-29T15:42:39.832Z"}\n'
    assert shown(LineView(user_name), event) == "15:42:39 New\\u001b\n"

"""The view, driven by textual's own driver: keys, filter, details, sizes, hostile names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Static

from netmon.errors import NetmonError
from netmon.text import escape_for_terminal
from netmon.top.app import SHOWN, Details, TopApp
from netmon.top.columns import Presenter
from netmon.top.counts import Top
from netmon.top.feed import OnTick
from netmon.top.order import Choice
from tests.support.json_lines import HOSTILE_TEXTS, connection_line, process
from tests.support.top_events import PlayedFeed

DEADLINE = 10.0
Check = Callable[[TopApp, "Pilot[None]"], Awaitable[None]]


def drive(check: Check, feed: Any = None, choice: Choice | None = None, size: tuple[int, int] = (80, 24)) -> TopApp:
    """Run the view until a check is done with it."""
    app = TopApp(feed or PlayedFeed(), Presenter(lambda uid: f"user{uid}"), choice or Choice())

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.table.row_count > 0 or app.failure is not None)
            await check(app, pilot)

    asyncio.run(run())
    return app


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + DEADLINE
    while not holds():
        assert asyncio.get_running_loop().time() < deadline
        await pilot.pause(0.02)


def first_cells(app: TopApp) -> list[str]:
    table = app.table
    return [table.get_row_at(index)[0].plain.strip() for index in range(table.row_count)]


def text_of(app: TopApp, name: str) -> str:
    return str(app.screen_stack[0].query_one(name, Static).content)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_it_shows_processes_and_its_keys(size: tuple[int, int]) -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        assert first_cells(app) == ["curl[2177]", "nginx[812]", "python3.12[2140]", "gunicorn[951]", "postgres[944]"]
        await until(pilot, lambda: "Quit" in app.export_screenshot())
        picture = app.export_screenshot()
        for word in ("process", "container", "Details", "View", "Sort", "Reverse", "Filter", "Pause", "Quit", "TREND"):
            assert word in picture
        assert "sampled" in text_of(app, "#totals")
        assert app.table.virtual_size.width <= size[0]

    drive(check, size=size)


def test_keys_that_are_pressed_before_the_last_one_is_done_count_in_their_order() -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        for key, character in (("3", "3"), ("slash", "/"), ("2", "2"), ("v", "v")):
            app.post_message(Key(key, character))
        await until(pilot, lambda: app.filter_bar.value == "2v")
        assert app.choice.by == "peer"

    drive(check)


def test_keys_choose_views_and_orders() -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        await pilot.press("2")
        assert first_cells(app)[:3] == ["make[2101]", "curl[2177]", "python3.12[2140]"]
        await pilot.press("3")
        assert first_cells(app)[0] == "203.0.113.80"
        await pilot.press("v")
        assert first_cells(app)[0] == "-> :443"
        await pilot.press("5")
        assert first_cells(app) == ["(host)", "3f2a" * 3]
        await pilot.press("1", "s")
        assert app.choice.sort == "sent" and first_cells(app)[0] == "nginx[812]"
        await pilot.press("r")
        assert first_cells(app)[-1] == "nginx[812]"
        assert "by sent, reversed" in text_of(app, "#views")

    drive(check)


def test_the_filter_bar_filters_as_one_types() -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"gun")
        await until(pilot, lambda: first_cells(app) == ["gunicorn[951]"])
        await pilot.press("enter", "s")  # keys are commands again
        assert (app.choice.sort, app.choice.words) == ("sent", ("gun",))
        await pilot.press("escape")
        await until(pilot, lambda: len(first_cells(app)) == 5)

    drive(check)


def test_a_filter_of_the_command_line_is_in_the_bar() -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        assert app.filter_bar.value == "postgres"
        assert first_cells(app) == ["gunicorn[951]", "postgres[944]"][1:]

    drive(check, choice=Choice(words=("postgres",)))


def test_details_show_the_last_connections_of_the_row_under_the_cursor() -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, Details))
        text = str(app.screen.query_one("#details", Static).content)
        assert "python3.12[2140]" in text and "-m pip install" in text and "failed: refused" in text
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, Details))
        assert app.table.cursor_row == 2

    drive(check)


def test_the_cursor_stays_on_its_row_when_the_order_changes() -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        await pilot.press("down", "r")
        assert first_cells(app)[app.table.cursor_row] == "nginx[812]"

    drive(check)


def test_a_pause_stops_the_drawing_alone() -> None:
    class Ticking(PlayedFeed):
        def go_on(self) -> None:
            self.top.tick(self.top.time + 2.0)

    feed = Ticking()

    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        await pilot.press("space")
        assert "paused" in text_of(app, "#views")
        before = text_of(app, "#totals")
        feed.go_on()
        await pilot.pause(0.5)
        assert text_of(app, "#totals") == before
        await pilot.press("space")
        assert text_of(app, "#totals") != before

    drive(check, feed)


class Scripted(PlayedFeed):
    """A feed of given lines."""

    def __init__(self, lines: list[str], error: Exception | None = None, status: str = "") -> None:
        super().__init__()
        self.top = Top(0.0)
        self.status = status
        self._lines = lines
        self._error = error

    def run(self, on_tick: OnTick, lock: AbstractContextManager[Any]) -> None:
        with lock:
            for line in self._lines:
                self.top.add(json.loads(line))
            self.top.tick(2.0)
        if self._error is not None:
            raise self._error


MARKUP = "[red]evil[/red] [link=http://evil]x[/link] [@click=app.quit]q[/] \\[b] [/] [["


@pytest.mark.parametrize("kind", ["escape sequences", "right to left", "combining marks", "wide", "empty", "markup"])
def test_hostile_names_are_shown_as_they_are(kind: str) -> None:
    name = {**HOSTILE_TEXTS, "markup": MARKUP}[kind]
    by = process(filename=name, args=name, binary_path=f"/{name}", container_id=name or None)

    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        for view in "1235":
            await pilot.press(view)
            picture = app.export_screenshot()
            assert "\x1b" not in picture and "\x07" not in picture
        await pilot.press("1", "enter")
        await until(pilot, lambda: isinstance(app.screen, Details))
        assert escape_for_terminal(name) in str(app.screen.query_one("#details", Static).content)
        await pilot.press("escape")
        assert app.is_running

    drive(check, Scripted([connection_line("Establish", by=by)], status=MARKUP), size=(120, 40))


def test_many_rows_are_cut_and_counted() -> None:
    lines = [connection_line("Establish", number, by=process(pid=number)) for number in range(SHOWN + 7)]

    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        assert app.table.row_count == SHOWN
        assert f"{SHOWN + 7} rows" in text_of(app, "#views")

    drive(check, Scripted(lines))


def test_an_error_of_the_feed_ends_the_view_and_is_raised() -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: not app.is_running or app._exit)

    app = drive(check, Scripted([connection_line("Establish")], NetmonError("the file is damaged")))
    assert str(app.failure) == "the file is damaged"


def test_a_new_size_fits_the_columns() -> None:
    async def check(app: TopApp, pilot: Pilot[None]) -> None:
        await pilot.resize_terminal(200, 50)
        await until(pilot, lambda: len(app.table.columns) > 9)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: len(app.table.columns) == 9)

    drive(check)

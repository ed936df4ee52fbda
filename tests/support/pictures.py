"""Makes the README's pictures, in docs/pictures: of `netmon run`, a report of `netmon exec`, `ls`, `top`.

They are made of events that are in the tree, so a test can make them again and compare.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

from rich.console import Console
from rich.text import Text

from netmon.terminal.line_view import LineView
from netmon.terminal.list_view import ListView
from netmon.terminal.report_view import ReportView
from netmon.top.app import TopApp
from netmon.top.columns import Presenter
from netmon.top.order import Choice
from tests.support.top_events import PlayedFeed, build_lines

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "docs/pictures"
SAMPLES = ROOT / "tests/unit/samples"
WIDTH, TOP_HEIGHT = 94, 14
CELL = 12.2  # the width of a cell in the toolkit's pictures
DEADLINE = 10.0
USERS = {0: "root", 33: "www-data", 70: "postgres", 113: "postgres", 1000: "alice", 65534: "nobody"}


def user_name(uid: int) -> str:
    return USERS.get(uid, str(uid))


def picture(title: str, command: str, lines: list[str]) -> str:
    """Return the picture of a terminal in which a command has written lines."""
    console = Console(
        record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True, color_system="standard"
    )
    with console.file:
        console.print(Text(f"$ {command}", style="bold"))
        for line in lines:
            console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=True)
        return _without_blanks(console.export_svg(title=title, unique_id=title.replace(" ", "-")))


def _without_blanks(svg: str) -> str:
    """Return a picture in which no text begins with blanks, which some viewers leave out: it begins further right."""

    def shift(match: re.Match[str]) -> str:
        before, x, between, length, after, blanks = match.groups()
        width = CELL * blanks.count("&#160;")
        return f"{before}{float(x) + width:.1f}{between}{float(length) - width:.1f}{after}"

    return re.sub(r'(<text [^>]*?x=")([\d.]+)("[^>]*? textLength=")([\d.]+)("[^>]*>)((?:&#160;)+)(?!<)', shift, svg)


def lines_picture() -> str:
    """Return the picture of `netmon run`."""
    events = (SAMPLES / "connections.jsonl").read_text().splitlines(keepends=True)
    view = LineView(user_name, width=lambda: WIDTH, coloured=True)
    lines = ["netmon: ready", *view.lines(events), *view.finish(), "^C"]
    lines += [f"netmon: {line}" for line in (*view.summary(), f"{len(events)} events, 0 lost")]
    return picture("netmon run", "netmon run", lines)


def exec_picture() -> str:
    """Return the picture of `netmon exec --report table`."""
    view = ReportView("table")
    view.lines(build_lines(12))
    return picture("netmon exec", "netmon exec --report table -- make -j8", view.finish())


def list_picture() -> str:
    """Return the picture of `netmon ls`."""
    view = ListView(user_name, width=WIDTH, coloured=True)
    return picture("netmon ls", "netmon ls", view.lines((SAMPLES / "open.jsonl").read_text().splitlines()))


def top_picture() -> str:
    """Return the picture of `netmon top`."""
    app = TopApp(PlayedFeed(status=""), Presenter(user_name), Choice("tree"))

    async def draw() -> str:
        async with app.run_test(size=(WIDTH, TOP_HEIGHT)) as pilot:
            end = time.monotonic() + DEADLINE
            while not (app.table.row_count and "Quit" in (svg := app.export_screenshot(title="netmon top"))):
                assert time.monotonic() < end
                await pilot.pause(0.05)
            return _without_blanks(svg)

    return asyncio.run(draw())


PICTURES: dict[str, Callable[[], str]] = {
    "lines.svg": lines_picture,
    "exec.svg": exec_picture,
    "ls.svg": list_picture,
    "top.svg": top_picture,
}


@contextmanager
def in_utc() -> Iterator[None]:
    """Have times of day in UTC, and colours."""
    before = {name: os.environ.pop(name, None) for name in ("TZ", "NO_COLOR")}
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        os.environ.update({name: value for name, value in before.items() if value is not None})
        time.tzset()


def texts_of(svg: str) -> list[str]:
    """Return what stands in a picture: another version of the toolkit may draw it otherwise."""
    return [unescape(text).rstrip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def main() -> None:
    """Write all pictures."""
    DIRECTORY.mkdir(exist_ok=True)
    with in_utc():
        for name, make in PICTURES.items():
            path = DIRECTORY / name
            path.write_text(make())
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()

"""The view of `netmon top`, with textual. It shows what the core has counted, and decides nothing about it."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from netmon.terminal.cells import pad_left
from netmon.text import escape_for_terminal
from netmon.top.columns import ABSENT, TREND, Column, Presenter, columns_for
from netmon.top.counts import Row
from netmon.top.order import SORT_KEYS, VIEWS, Choice, Line, arrange, read_words

if TYPE_CHECKING:
    from netmon.top.feed import Feed

SHOWN = 500  # rows, at most: of more, the filter finds the others
LOOK = 0.2  # seconds between two looks whether an interval is over
SCROLLBAR = 2  # cells
SORTS = tuple(SORT_KEYS)
OF_ROWS = frozenset(("view", "next_view", "next_sort", "reverse", "filter", "pause"))  # actions


class Rows(DataTable[Text]):
    """The table of rows. Its key for details is shown at the bottom."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Details")]


class Details(ModalScreen[None]):
    """What is known of one row."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss", "Back")]
    CSS = """
    Details { align: center middle; }
    Details > VerticalScroll { width: 90%; height: 80%; border: solid $primary; background: $surface; padding: 0 1; }
    """

    def __init__(self, row: Row, presenter: Presenter, lock: threading.Lock) -> None:
        """Show a row. It goes on to be counted."""
        super().__init__()
        self._row = row
        self._presenter = presenter
        self._lock = lock

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        with VerticalScroll():
            yield Static(self.text(), id="details")
        yield Footer(show_command_palette=False)

    def text(self) -> Text:
        """Return the text, which is no markup."""
        with self._lock:
            return Text("\n".join(self._presenter.details(self._row)))

    def refresh_text(self) -> None:
        """Show the counts of now."""
        self.query_one("#details", Static).update(self.text())


class TopApp(App[None]):
    """Shows a Top while a thread fills it."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #views { height: 1; background: $primary-background; }
    #totals { height: auto; }
    #filter { height: 1; border: none; padding: 0; }
    Rows { height: 1fr; scrollbar-size-horizontal: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        # At once, in the order in which they are pressed: others wait for the widget that has the focus.
        *(Binding(str(key), f"view('{name}')", name, show=False, priority=True) for key, name in enumerate(VIEWS, 1)),
        Binding("v", "next_view", "View", priority=True),
        Binding("s", "next_sort", "Sort", priority=True),
        Binding("r", "reverse", "Reverse", priority=True),
        Binding("slash", "filter", "Filter", priority=True),
        Binding("space", "pause", "Pause", priority=True),
        Binding("escape", "clear_filter", "Clear", show=False),
        Binding("q,ctrl+c", "quit", "Quit"),
    ]

    def __init__(self, feed: Feed, presenter: Presenter, choice: Choice) -> None:
        """Make it.

        Args:
            feed: Is run in a thread of its own once the view is there.
            presenter: Makes the texts.
            choice: What is seen first.
        """
        super().__init__()
        self.choice = choice
        self.paused = False
        self.failure: Exception | None = None
        self._feed = feed
        self._presenter = presenter
        self._lock = threading.Lock()
        self._columns: list[Column] = []
        self._lines: list[Line] = []
        self._drawn = -1
        self._width = 0
        self._thread = threading.Thread(target=self._follow, name="netmon-top", daemon=True)

    def show(self) -> None:
        """Show the view until the user ends it. Raises what the feed has raised."""
        try:
            self.run()
        finally:
            self._feed.stop()
            if self._thread.is_alive():
                self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _follow(self) -> None:
        """Fill the Top, in the thread."""
        try:
            self._feed.run(lambda _timestamp: None, self._lock)
        except Exception as error:  # also an error of netmon's own, which show() raises once there is no view
            self.failure = error

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield Static(id="views")
        yield Static(id="totals")
        yield Rows(cursor_type="row", cell_padding=0)
        yield Input(
            id="filter",
            placeholder="/ filters: words that rows have; !word: that they do not have",
            select_on_focus=False,
        )
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to count, and to look."""
        self.table.focus()
        if self.choice.words:
            self.filter_bar.value = " ".join(self.choice.words)
        self._thread.start()
        self.set_interval(LOOK, self._look)
        self._end_by_signals()
        self.draw()

    def _end_by_signals(self) -> None:
        """Restore the terminal also when another process ends the view."""
        import asyncio

        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                loop.add_signal_handler(number, self.exit)

    @property
    def table(self) -> Rows:
        """The table of rows."""
        return self.screen_stack[0].query_one(Rows)

    @property
    def filter_bar(self) -> Input:
        """The filter bar."""
        return self.screen_stack[0].query_one("#filter", Input)

    def _look(self) -> None:
        """Draw if an interval is over."""
        if self.failure is not None:
            self.exit()
        elif not self.paused and self._drawn != self._feed.top.ticks:
            self.draw()
            if isinstance(self.screen, Details):
                self.screen.refresh_text()

    def draw(self) -> None:
        """Draw everything anew, with the cursor on the row where it was."""
        width = self._width or self.size.width
        with self._lock:
            top = self._feed.top
            self._drawn = top.ticks
            lines = arrange(top, self.choice)
            columns = columns_for(self.choice.dimension, width - SCROLLBAR)
            rows = [self._presenter.cells_of(line, columns, top, self.choice) for line in lines[:SHOWN]]
            totals = self._presenter.totals(top, width)
            state = self._state(len(lines))
        self.screen_stack[0].query_one("#views", Static).update(self._views(width, state))
        self.screen_stack[0].query_one("#totals", Static).update(Text("\n".join(totals), no_wrap=True))
        self._draw_table(columns, lines[:SHOWN], rows)

    def _views(self, width: int, state: str) -> Text:
        """Return the line at the top: the views with their keys, and the state."""
        text = Text(no_wrap=True)
        for number, name in enumerate(VIEWS, 1):
            text.append(f" {number} {name} ", "reverse" if name == self.choice.by else "")
        room = width - text.cell_len - 1
        text.append(state[:room].rjust(room))
        return text

    def _state(self, count: int) -> str:
        top = self._feed.top
        parts = [f"{count} rows by {self.choice.sort}"]
        parts += ["reversed"] if self.choice.reverse else []
        parts += [f"{top.lost} lost"] if top.lost else []
        parts += ["paused"] if self.paused else []
        parts += [escape_for_terminal(self._feed.status)] if self._feed.status else []
        return ", ".join(parts)

    def _draw_table(self, columns: list[Column], lines: list[Line], rows: list[list[str]]) -> None:
        table = self.table
        at = table.cursor_row
        chosen = self._lines[at].row if 0 <= at < len(self._lines) else None
        offset = table.scroll_offset
        if columns != self._columns:
            table.clear(columns=True)
            for column in columns:
                table.add_column(Text(_pad(column.name, column), no_wrap=True), width=column.width + 1)
            self._columns = columns
        else:
            table.clear()
        for texts, line in zip(rows, lines, strict=True):
            table.add_row(*(self._cell(text, column, line) for text, column in zip(texts, columns, strict=True)))
        self._lines = lines
        if chosen is not None:
            positions = [index for index, line in enumerate(lines) if line.row is chosen]
            table.move_cursor(row=positions[0] if positions else min(at, max(0, len(lines) - 1)), scroll=False)
            table.scroll_to(y=offset.y, animate=False)

    def _cell(self, text: str, column: Column, line: Line) -> Text:
        """Return a cell. Text shows everything as it is: what looks like markup is none."""
        has_ended = self._feed.top.knows_ends and line.row.ended_at is not None and not line.open
        style = "dim" if has_ended else ""
        if column.name.startswith("FAIL") and text not in ("0", ABSENT):
            style = "red"
        elif column.name == TREND.name and not has_ended:
            style = "cyan"
        return Text(_pad(text, column), style, no_wrap=True)

    def on_resize(self, event: Resize) -> None:
        """Fit the columns into the new width."""
        self._width = event.size.width
        self.draw()

    def _choose(self, choice: Choice) -> None:
        self.choice = choice
        self.draw()

    def action_view(self, name: str) -> None:
        """Show other rows."""
        self._choose(self.choice._replace(by=name))

    def action_next_view(self) -> None:
        """Show the next kind of rows."""
        self.action_view(VIEWS[(VIEWS.index(self.choice.by) + 1) % len(VIEWS)])

    def action_next_sort(self) -> None:
        """Sort by the next key."""
        self._choose(self.choice._replace(sort=SORTS[(SORTS.index(self.choice.sort) + 1) % len(SORTS)]))

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._choose(self.choice._replace(reverse=not self.choice.reverse))

    def action_pause(self) -> None:
        """Stop to draw, or go on. Events are counted all the same."""
        self.paused = not self.paused
        self.draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether an action is there: keys in the filter bar are text, and over details the rows have none."""
        return action not in OF_ROWS or not (self.filter_bar.has_focus or isinstance(self.screen, Details))

    def action_filter(self) -> None:
        """Put the cursor into the filter bar, at once: the next key may have been pressed already."""
        self.screen.set_focus(self.filter_bar)

    def action_clear_filter(self) -> None:
        """Close the filter bar, and show all rows."""
        self.filter_bar.value = ""
        self.table.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter by what is in the bar."""
        self._choose(self.choice._replace(words=read_words(event.value)))

    def on_input_submitted(self) -> None:
        """Go back to the rows; the filter stays."""
        self.table.focus()
        if not self.filter_bar.value:
            self.action_clear_filter()

    def on_data_table_row_selected(self) -> None:
        """Show the details of the row that was chosen."""
        self.action_details()

    def action_details(self) -> None:
        """Show the details of the row under the cursor."""
        at = self.table.cursor_row
        if not isinstance(self.screen, Details) and 0 <= at < len(self._lines):
            self.push_screen(Details(self._lines[at].row, self._presenter, self._lock))


def _pad(text: str, column: Column) -> str:
    """Return a cell's text, aligned."""
    return pad_left(text, column.width) if column.is_number else text

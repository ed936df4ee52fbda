"""One line about a connection: its cells, and how they are laid out in a terminal of any width."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from functools import lru_cache
from typing import NamedTuple

from netmon.terminal.cells import cells, pad, shorten
from netmon.terminal.style import BOLD, CYAN, DIM, MAGENTA, paint

OUT, IN, UNKNOWN = "->", "<-", "--"  # the direction of a connection; a close whose opening was not seen has none
_ARROW_STYLES = {OUT: CYAN, IN: MAGENTA}

USUAL_WIDTH = 80
TIME_WIDTH = 8  # 12:34:56
MIN_NAME = 12  # cells to which a process's name is shortened, where a line is too long
MAX_NAME, MAX_USER = 48, 32
LONGEST_PEER = 47  # [IPv6]:port


class Widths(NamedTuple):
    """How many cells the columns take at least, so that they are aligned."""

    process: int
    user: int
    peer: int


@lru_cache(maxsize=64)
def widths_in(width: int) -> Widths:
    """Return the columns' widths in a terminal that is so wide."""
    extra = max(0, width - USUAL_WIDTH)
    return Widths(14 + min(extra // 4, 18), 7 + min(extra // 10, 5), 18 + min(extra // 2, LONGEST_PEER - 18))


def _fill(needed: list[int], columns: Widths) -> list[int]:
    """Return how many cells the columns take. If one takes too many the next ones take fewer: the end is aligned."""
    end, aligned_end, taken = 0, 0, []
    for need, width in zip(needed, columns, strict=True):
        aligned_end += width
        begin, end = end, max(end + need, aligned_end)
        taken.append(end - begin)
    return taken


class Row(NamedTuple):
    """A line about a connection. All texts are harmless, as of escape_for_terminal().

    Attributes:
        time: The time of day.
        name: The process's name.
        pid: Its id.
        user: Its user.
        arrow: OUT, IN or UNKNOWN.
        peer: The peer, and the port.
        outcome: What happened.
        style: The style of the outcome's first word.
    """

    time: str
    name: str
    pid: int
    user: str
    arrow: str
    peer: str
    outcome: str
    style: str = ""

    def render(self, width: int | None, *, coloured: bool) -> str:
        """Return the line, or two where one is too short for it.

        Nothing is cut but the middle of a long name. Where the line is too long, first the columns give up what they do
        not need, and then the name is shortened; if that is not enough, the outcome gets a line of its own.

        Args:
            width: Of the terminal, in cells. None: there is no limit.
            coloured: Whether to use colours.
        """
        process, columns = f"{self.name}[{self.pid}]", widths_in(width or USUAL_WIDTH)
        needed = [cells(process), cells(self.user), cells(self.peer)]
        taken = _fill(needed, columns)
        rest = TIME_WIDTH + len(self.arrow) + len(self.outcome) + 5  # five spaces between six columns
        too_long = sum(taken) + rest - width if width else 0
        for column in (2, 1, 0):
            unneeded = min(taken[column] - needed[column], max(0, too_long))
            taken[column] -= unneeded
            too_long -= unneeded
        if too_long > 0:
            name = shorten(self.name, max(MIN_NAME, cells(self.name) - too_long))
            too_long -= cells(self.name) - cells(name)
            process = f"{name}[{self.pid}]"
            taken[0] = cells(process)
        return self._join(process, Widths._make(taken), two_lines=too_long > 0, coloured=coloured)

    def _join(self, process: str, widths: Widths, *, two_lines: bool, coloured: bool) -> str:
        time, arrow, outcome = self.time, self.arrow, self.outcome
        process, user = pad(process, widths.process), pad(self.user, widths.user)
        if coloured:
            time, user, arrow = paint(time, DIM), paint(user, DIM), paint(arrow, _ARROW_STYLES.get(arrow, ""))
            end = process.rindex("[")
            process = paint(process[:end], BOLD) + process[end:]
            word, space, others = outcome.partition(" ")
            outcome = paint(word, self.style) + space + others
        if two_lines:
            return f"{time} {process} {user} {arrow} {self.peer}\n{' ' * (TIME_WIDTH + 1)}{outcome}\n"
        return f"{time} {process} {user} {arrow} {pad(self.peer, widths.peer)} {outcome}\n"

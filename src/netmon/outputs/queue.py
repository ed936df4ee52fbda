"""A bounded queue before an output, so that one of several outputs does not hold up the others."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from netmon.errors import OutputError
from netmon.outputs.base import DRAIN_LIMIT, ROOM_INTERVAL, Output, reports_in, start_without_signals

# How often (seconds) to check that an idle output still has a reader.
READER_INTERVAL = 1.0


class OutputQueue:
    """Queues lines for an output, and writes them in a thread of its own.

    A LostEvents that finds no room does not count as lost. It is kept, added up with later ones, and queued as soon as
    there is room: a reader that was too slow learns what it has missed.

    Attributes:
        output: The output.
        lost: How many events found no room, or could not be written.
        error: Why the output cannot be written to any more; None while it can.
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        self.lost = 0
        self.error: OutputError | None = None
        self._size = 0  # bytes of all pieces, those being written among them
        self._pieces: deque[bytes] = deque()  # each of whole lines; the first is being written
        self._rendered = b""  # the first piece as it is written: in the output's schema
        self._written = 0  # bytes of that
        self._kept_report = b""
        self._finishing = self._given_up = False
        self._progress = 0.0  # when (time.monotonic()) something was written, or finish() was called
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_pieces, name=output.name, daemon=True)

    @property
    def waiting(self) -> int:
        """How many bytes of lines wait."""
        return self._size

    @property
    def readers(self) -> None:
        """It has one reader."""

    def check_reader(self) -> None:
        """Do nothing: the thread finds out whether the output still has a reader."""

    def start(self) -> None:
        """Start the thread. It blocks all signals: the main thread must get them, and wake up."""
        start_without_signals(self._thread)

    def put(self, data: bytes) -> None:
        """Queue as many lines as there is room for, and count the others as lost; never wait.

        Args:
            data: Whole lines.
        """
        with self._changed:
            room = 0 if self._given_up else self.output.queue_limit - self._size
            if 0 < len(self._kept_report) <= room:
                data, self._kept_report = self._kept_report + data, b""
            if len(data) > room:
                end = data.rfind(b"\n", 0, room) + 1
                self._lose(data[end:])
                data = data[:end]
            if data:
                self._append(data)
                self._changed.notify()

    def _append(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)

    def finish(self) -> None:
        """Let the thread end once the queue is empty, or once the output has taken nothing for DRAIN_LIMIT seconds."""
        with self._changed:
            self._progress = time.monotonic()
            self._finishing = True
            self._changed.notify()

    def join(self) -> None:
        """Wait, after finish(), for the end of the thread."""
        while self._thread.is_alive():
            self._thread.join(ROOM_INTERVAL)
            # The thread gives up by itself unless a write does not return: one to an unreachable file server, say.
            if time.monotonic() - self._progress > 2 * DRAIN_LIMIT:
                self._give_up()
                return

    def _write_pieces(self) -> None:
        try:
            while piece := self._next_piece():
                self._rendered = render_piece(piece, self.output.render)
                self._write(self._rendered)
        except OutputError as error:
            self.error = error
        except OSError as error:
            self.error = OutputError(self.output.name, error)
            self.output.remove_torn_line(self._rendered, self._written)
        self._give_up()

    def _next_piece(self) -> bytes:
        """Wait for a piece; return an empty one at the end. Raises OutputError if the output loses its reader."""
        with self._changed:
            while not self._pieces:
                if self._kept_report and not self._given_up:
                    self._append(self._kept_report)
                    self._kept_report = b""
                elif self._finishing:
                    return b""
                elif not self._changed.wait(READER_INTERVAL):
                    self.output.require_reader()
            return self._pieces[0]

    def _write(self, piece: bytes) -> None:
        """Write the first piece, as it is rendered."""
        while self._written < len(piece) and not self._given_up:
            written = self.output.write_some(piece, self._written, ROOM_INTERVAL)
            if written:
                self._written += written
                self._progress = time.monotonic()
            elif self._finishing and time.monotonic() - self._progress > DRAIN_LIMIT:
                self._give_up()
        with self._changed:
            if not self._given_up:
                self._size -= len(self._pieces.popleft())
                self._written = 0
                self._rendered = b""

    def _give_up(self) -> None:
        """Count the queued events as lost, also one that was written in part, and from now on each event that comes."""
        with self._changed:
            self._given_up = True
            lines = self._rendered.count(b"\n", 0, self._written)
            self._written = 0
            for piece in self._pieces:
                self._lose(piece[after_lines(piece, lines) :])
                lines = 0
            self._pieces.clear()
            self._size = 0

    def _lose(self, data: bytes) -> None:
        """Count events as lost; keep a LostEvents that is among them."""
        reports = reports_in(data)
        if reports:
            self._kept_report = add_reports([self._kept_report, *reports] if self._kept_report else reports)
        self.lost += data.count(b"\n") - len(reports)  # at once: it is read without the lock, and must not sink


def render_piece(piece: bytes, render: Callable[[Iterable[str]], list[str]] | None) -> bytes:
    """Return lines of JSON as they are written: one for each. render: of the output."""
    if render is None:
        return piece
    return "".join(render([f"{line}\n" for line in piece.decode().split("\n")[:-1]])).encode()


def after_lines(piece: bytes, count: int) -> int:
    """Return where the line begins that follows so many lines."""
    at = 0
    for _ in range(count):
        at = piece.index(b"\n", at) + 1
    return at


def add_reports(lines: list[bytes]) -> bytes:
    """Add up several LostEvents.

    Args:
        lines: At least one, each the line of a LostEvents.

    Returns:
        The line of one LostEvents with the sums of their counts and the last one's time.
    """
    import orjson  # slow to import

    first, *others = map(orjson.loads, lines)
    for report in others:
        first["lost_events"] = _add(first["lost_events"], report["lost_events"])
        first["timestamp"] = report["timestamp"]
    line: bytes = orjson.dumps(first) + b"\n"
    return line


def _add(counts: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Return the sums of two mappings' counts, key by key."""
    sums = dict(counts)
    for key, value in others.items():
        sums[key] = _add(sums.get(key, {}), value) if isinstance(value, dict) else sums.get(key, 0) + value
    return sums

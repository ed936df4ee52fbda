"""Serves events to many local readers, each of which loses alone what it does not read in time.

A reader may ask for a format, and for a greeting, in a line that it sends first (requests.py).
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from netmon.errors import OutputError
from netmon.outputs.base import DRAIN_LIMIT, ROOM_INTERVAL, Sink, reports_in, start_without_signals
from netmon.outputs.queue import add_reports, render_piece
from netmon.outputs.requests import Request, RequestError, greeting, parse_request, refusal

READERS = 32  # at most
READER_LIMIT = 4 << 20  # bytes that wait for a reader: some 8,000 events
SEND_LIMIT = 256 << 10  # bytes that a reader is sent before the next one has its turn
REQUEST_TIME = 0.2  # seconds that a new reader gets nothing, unless it has asked for something before
LOST_HERE = "this reader"  # names a reader's own losses in its LostEvents

Report = Callable[[str], None]
Render = Callable[[Iterable[str]], list[str]]
RenderOf = Callable[[str], "Render | None"]


class Piece:
    """Whole lines that wait for readers. They are rendered once for all readers with the same format."""

    __slots__ = ("_rendered", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._rendered: dict[Render | None, bytes] = {}

    def rendered(self, render: Render | None) -> bytes:
        """Return the lines as a reader gets them."""
        if render is None:
            return self.raw
        if (found := self._rendered.get(render)) is None:
            found = self._rendered[render] = render_piece(self.raw, render)
        return found


class Reader:
    """A reader that is connected, and what waits for it. Its methods are called with the server's lock held.

    Once something finds no room, the reader gets nothing until half of what waits is read. Then a LostEvents of its own
    says how many events it has missed, at the place where they are missing.
    """

    def __init__(
        self,
        connection: socket.socket,
        limit: int,
        lost_line: Callable[[int], bytes],
        render: Render | None = None,
        begun: int = 0,
    ) -> None:
        """Begin with nothing.

        Args:
            connection: With the reader.
            limit: Bytes that may wait.
            lost_line: Makes the LostEvents of so many events.
            render: Makes the lines of its format; None: it gets them as they are.
            begun: How many events there were before its first one.
        """
        self.connection = connection
        self.render = render
        self.begun = begun
        self.said = b""  # a part of a request
        self.asked = False  # for something, or said that it does not
        self.waits_until = time.monotonic() + REQUEST_TIME  # for a request; 0: no more
        self.pieces: deque[Piece] = deque()
        self.written = 0  # bytes of the first piece, as it is rendered
        self.progress = time.monotonic()
        self.speaks = True  # until it shuts its end down for writing
        self.size = 0  # bytes of all pieces
        self._limit = limit
        self._lost_line = lost_line
        self._missed = 0
        self._reports: list[bytes] = []  # LostEvents that it has missed

    def offer(self, piece: Piece) -> int:
        """Queue lines, or as many as there is room for; return how many events are lost."""
        data = piece.raw
        if self._misses and not self.resume():
            return self._miss(data)
        room = self._limit - self.size
        if len(data) <= room:
            self._append(piece)
            return 0
        end = data.rfind(b"\n", 0, room) + 1
        if end:
            self._append(Piece(data[:end]))
        return self._miss(data[end:])

    def resume(self) -> bool:
        """Return whether there is room again; then the reader is told what it has missed, if that was something."""
        if self._misses and self.size <= self._limit // 2:
            own = [self._lost_line(self._missed)] if self._missed else []
            self._append(Piece(add_reports([*self._reports, *own])))
            self._missed, self._reports = 0, []
        return not self._misses

    def drop_first(self) -> None:
        """Forget the first piece, which is written."""
        self.size -= len(self.pieces.popleft().raw)
        self.written = 0

    def left(self) -> int:
        """Return how many events wait, the one that is written in part among them."""
        count = sum(events_in(piece.raw) for piece in self.pieces)
        return count - (self.pieces[0].rendered(self.render).count(b"\n", 0, self.written) if self.written else 0)

    @property
    def _misses(self) -> bool:
        return bool(self._missed or self._reports)

    def _append(self, piece: Piece) -> None:
        if not self.pieces:
            self.progress = time.monotonic()
        self.pieces.append(piece)
        self.size += len(piece.raw)

    def _miss(self, data: bytes) -> int:
        reports = reports_in(data)
        if reports:
            self._reports = [add_reports([*self._reports, *reports])]
        lost = data.count(b"\n") - len(reports)
        self._missed += lost
        return lost


def events_in(data: bytes) -> int:
    """Return how many events whole lines are: reports of losses are none."""
    return data.count(b"\n") - len(reports_in(data))


class SocketServer(Sink):
    """An output with many readers: it accepts them, and writes to each in one thread.

    A reader gets the events from its connection on. Without a reader nothing is lost: nobody was there.

    Attributes:
        output: This output.
        lost: How many events readers have lost, added up.
        error: None: it does not break.
        render_of: Returns what renders lines in a format that a reader asks for; None as the render of JSON. It is
            called in the server's thread. Raises KeyError if there is no such format.
    """

    shows_view = False

    def __init__(self, name: str, listener: socket.socket, report: Report, reader_limit: int = READER_LIMIT) -> None:
        """Take over a socket that listens.

        Args:
            name: Differs from those of the run's other outputs.
            listener: Does not block.
            report: Takes a message if a reader is refused.
            reader_limit: Bytes that may wait for a reader.
        """
        super().__init__(name)
        self.lost = 0
        self.error: OutputError | None = None
        self.render_of: RenderOf = {"json": None}.__getitem__
        self._events = 0  # so many were put
        self._run = os.urandom(8).hex()
        self._listener = listener
        self._report = report
        self._reader_limit = reader_limit
        self._readers: dict[int, Reader] = {}  # by their descriptors
        self._lock = threading.RLock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._woken = False
        self._refused = False  # a reader, which was reported
        self._finish_by: float | None = None  # time.monotonic()
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    @property
    def output(self) -> SocketServer:
        """The output itself."""
        return self

    @property
    def readers(self) -> int:
        """How many readers are connected."""
        return len(self._readers)

    @property
    def waiting(self) -> int:
        """How many bytes of lines wait, for all readers together."""
        with self._lock:
            return sum(reader.size for reader in self._readers.values())

    def start(self) -> None:
        """Start the thread."""
        start_without_signals(self._thread)

    def put(self, data: bytes) -> None:
        """Queue lines for each reader; never wait."""
        piece = Piece(data)
        with self._lock:
            self._events += events_in(data)
            if not self._readers:
                return
            for reader in self._readers.values():
                self.lost += reader.offer(piece)
        self._wake_up()

    def check_reader(self) -> None:
        """Do nothing: there may be no reader."""

    def finish(self) -> None:
        """Let the thread end once all is read, or a reader has taken nothing for DRAIN_LIMIT seconds."""
        self._finish_by = time.monotonic() + DRAIN_LIMIT
        self._wake_up()

    def join(self) -> None:
        """Wait, after finish(), for the end of the thread."""
        while self._thread.is_alive():
            self._thread.join(ROOM_INTERVAL)

    def _wake_up(self) -> None:
        if not self._woken:
            self._woken = True
            os.eventfd_write(self._wake, 1)

    def _serve(self) -> None:
        while not self._is_finished():
            before = time.monotonic()
            for fd, events in self._poll.poll(self._timeout()):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                    self._woken = False  # in this order: what is put in between is found below
                elif fd == self._listener.fileno():
                    self._accept()
                else:
                    self._attend(self._readers[fd], events)
            with self._lock:
                for fd, reader in self._readers.items():
                    reader.resume()
                    # What was sent in time has been heard by now, even if this thread was held up.
                    if before >= reader.waits_until:
                        reader.waits_until = 0.0
                    writes = bool(reader.pieces) and not reader.waits_until
                    self._poll.modify(fd, reader.speaks * select.POLLIN | writes * select.POLLOUT)
        with self._lock:
            for reader in list(self._readers.values()):
                self.lost += reader.left()
                self._drop(reader)

    def _timeout(self) -> float | None:
        """Return how many milliseconds to wait at most: until a new reader gets its events, say."""
        if self._finish_by is not None:
            return ROOM_INTERVAL * 1000
        waits = [reader.waits_until for reader in self._readers.values() if reader.waits_until]
        return max(0.0, min(waits) - time.monotonic()) * 1000 + 1 if waits else None

    def _is_finished(self) -> bool:
        if self._finish_by is None:
            return False
        now = time.monotonic()
        with self._lock:
            waiting = [reader.progress for reader in self._readers.values() if reader.pieces]
        return not waiting or now > max(self._finish_by, max(waiting) + DRAIN_LIMIT)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no more descriptors: it stays readable, so wait a little
            time.sleep(ROOM_INTERVAL)
            return
        if len(self._readers) >= READERS:
            connection.close()
            if not self._refused:
                self._refused = True
                self._report(f"{self.name}: has {READERS} readers, as many as it serves: a further one was refused")
            return
        connection.setblocking(False)
        with self._lock:
            self._readers[connection.fileno()] = Reader(
                connection, self._reader_limit, lost_line, self.render, self._events
            )
        self._poll.register(connection, select.POLLIN)

    def _attend(self, reader: Reader, events: int) -> None:
        """Read what a reader says, and write what waits for it; forget it if it has gone."""
        try:
            if events & (select.POLLHUP | select.POLLERR):
                raise BrokenPipeError
            if events & select.POLLIN:
                said = reader.connection.recv(1 << 16)
                reader.speaks = bool(said)
                self._hear(reader, said)
            if events & select.POLLOUT and not reader.waits_until:
                self._write(reader)
        except BlockingIOError:
            return
        except OSError:
            with self._lock:
                self._drop(reader)

    def _hear(self, reader: Reader, said: bytes) -> None:
        """Take what a reader says. Raises OSError, after an answer, if it asks for what it cannot have."""
        if reader.asked:
            return  # what it says later is heeded by nobody
        reader.said += said
        if not said and not reader.said:  # it has shut its end down, and asks for nothing
            reader.waits_until, reader.asked = 0.0, True
            return
        try:
            request = parse_request(reader.said, ended=not said)
            if request is None:
                return
            if not reader.waits_until:
                raise RequestError(f"came later than {REQUEST_TIME:g} s after the connection; send it at once")
            self._fulfil(reader, request)
        except RequestError as error:
            reader.connection.send(refusal(str(error)))
            raise BrokenPipeError from None

    def _fulfil(self, reader: Reader, request: Request) -> None:
        """Give a reader what it asks for. Raises RequestError."""
        try:
            render = reader.render if request.format is None else self.render_of(request.format)
        except KeyError:
            raise RequestError(f"there is no format {request.format}") from None
        with self._lock:
            reader.asked, reader.waits_until, reader.render = True, 0.0, render
        if request.hello:  # there is room: nothing was written before
            reader.connection.send(greeting(self._run, reader.begun))

    def _write(self, reader: Reader) -> None:
        """Write to a reader, as much as there is room for. Raises OSError."""
        left = SEND_LIMIT
        while left > 0 and reader.pieces:
            data = reader.pieces[0].rendered(reader.render)
            sent = reader.connection.send(memoryview(data)[reader.written :])
            left -= sent
            with self._lock:
                reader.progress = time.monotonic()
                reader.written += sent
                if reader.written == len(data):
                    reader.drop_first()

    def _drop(self, reader: Reader) -> None:
        fd = reader.connection.fileno()
        self._poll.unregister(fd)
        del self._readers[fd]
        reader.connection.close()


def lost_line(count: int) -> bytes:
    """Return the LostEvents that tells a reader how many events it has missed."""
    from netmon.decode.format import format_timestamp
    from netmon.decode.loss_report import LossReport
    from netmon.losses import Losses

    return LossReport(Losses(outputs={LOST_HERE: count}), format_timestamp(time.time_ns())).json().encode()

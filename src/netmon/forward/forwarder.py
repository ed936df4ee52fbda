"""Reads events from a source into a store, and sends them from there to a collector: each in a thread of its own."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import os
import random
import select
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol

import orjson

from netmon.decode.format import format_timestamp
from netmon.decode.loss_report import LossReport
from netmon.forward.otlp import AGAIN, TAKEN, TOO_LARGE, UNWANTED, Answer, Payload
from netmon.forward.settings import Address
from netmon.forward.source import Source, SourceError
from netmon.forward.store import Batch, Mark, Store
from netmon.losses import Losses
from netmon.outputs.base import reports_in, start_without_signals
from netmon.outputs.server import LOST_HERE, events_in

# Bytes of JSON lines: some 2,000 events. A collector takes 20 MiB in a request, if not told otherwise.
BATCH_LIMIT = 1 << 20
LINGER = 1.0  # seconds that a batch waits for others
FIRST_DELAY, MAX_DELAY = 1.0, 30.0  # seconds before a batch is sent again: they double
RECONNECT_DELAY = 1.0  # seconds
FULL_DELAY = 0.1  # seconds until the store is tried again
SAY_INTERVAL = 60.0  # seconds between two messages about one outage

# Why events were lost here. Their LostEvents name them so.
NOT_CONNECTED, REFUSED_BY, UNREADABLE = (
    f"forward: {reason}" for reason in ("not connected", "refused by the collector", "unreadable")
)
UNDELIVERED = "not delivered"
MISSED_HERE = "forward: too slow"  # what netmon calls "this reader"


class Sender(Protocol):
    """Sends requests."""

    address: Address

    def post(self, body: bytes) -> Answer:
        """Send a request, and return what the answer means."""

    def close(self) -> None:
        """Close what is open."""


class Encode(Protocol):
    """Makes requests of lines."""

    def encode(self, lines: bytes) -> Payload:
        """Return the request's body."""


class Counts(NamedTuple):
    """What became of the events.

    Attributes:
        delivered: How many the collector has taken.
        lost: How many were lost, by reason.
        waiting: Bytes that wait in the store.
    """

    delivered: int
    lost: dict[str, int]
    waiting: int


class Forwarder:
    """Forwards events until its source ends, or until it is stopped.

    Only the thread that calls run() reads and puts; only the sender's thread sends. Both hold the lock for the store.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        encoder: Encode,
        sender: Sender,
        report: Callable[[str], None],
        *,
        keeps: bool,
        drain: float,
    ) -> None:
        """Prepare.

        Args:
            source: Where events come from.
            store: Where they wait.
            encoder: Makes requests of them.
            sender: Sends these.
            report: Takes messages.
            keeps: Whether the store survives this process: then nothing has to be sent at the end.
            drain: At the end: how many seconds without progress what waits is still tried to send.
        """
        self._source = source
        self._store = store
        self._encoder = encoder
        self._sender = sender
        self._report = report
        self._keeps = keeps
        self._drain = drain
        self._changed = threading.Condition()
        self._pending: tuple[bytes, Mark | None] | None = None  # what found no room
        self._received = store.mark
        self._saw_end = False  # of the run that was connected before
        self._delivered = 0
        self._lost: Counter[str] = Counter()
        self._unreported: Counter[str] = Counter()
        self._problems: dict[str, str] = {}  # that were reported and last, by what they are about
        self._ending = self._stopped = False
        self._progress = time.monotonic()
        self._failure: Exception | None = None
        self._limit = BATCH_LIMIT
        self._outage = 0.0  # when it was last reported; 0: there is none
        self._thread = threading.Thread(target=self._send_all, name="sender", daemon=True)

    @property
    def counts(self) -> Counts:
        """What became of the events so far."""
        with self._changed:
            return Counts(self._delivered, dict(self._lost), self._store.size)

    def run(self, stopped: Callable[[], bool], wake: int, alive: Callable[[], object] = lambda: None) -> Counts:
        """Forward events.

        Args:
            stopped: Returns whether to stop.
            wake: A descriptor that becomes readable when to look at stopped().
            alive: Is called each second, at least.

        Raises:
            OSError: The store cannot be read any more.
        """
        start_without_signals(self._thread)
        while not stopped() and self._failure is None:
            alive()
            if not self._step(wake):
                break
        self._finish(alive)
        if self._failure is not None:
            raise self._failure
        return self.counts

    def _step(self, wake: int) -> bool:
        """Receive what there is; return whether there may be more later."""
        if not self._put_pending():
            _wait(FULL_DELAY, wake)
            return True
        if not self._connect():
            _wait(RECONNECT_DELAY, wake)
            return True
        if not _wait(RECONNECT_DELAY, wake, self._source.fd):
            return True
        try:
            lines = self._source.read()
        except SourceError as error:
            self._say("source", str(error))
            lines = None
        if lines:
            self._receive(lines)
        elif lines is None:
            self._source.close()
            self._saw_end = True
            if not self._source.reconnects:
                return False
            self._say("source", f"{self._source.name}: netmon has ended; waits for it")
            _wait(RECONNECT_DELAY, wake)
        return True

    def _connect(self) -> bool:
        """Return whether the source is connected."""
        if self._source.fd >= 0:
            return True
        try:
            self._source.connect()
        except SourceError as error:
            self._say("source", f"{error}; tried again")
            return False
        if "source" in self._problems:
            self._report(f"{self._source.name}: is connected")
        self._problems.pop("source", None)
        if (hello := self._source.hello) is not None:
            self._greet(hello)
        return True

    def _greet(self, hello: Mark) -> None:
        """Count what was missed between two connections."""
        before, self._received = self._received, hello
        if hello.run == before.run:
            missed = hello.events - before.events
        else:
            missed = hello.events if before.run else 0
            if before.run and not self._saw_end:
                self._report("netmon was restarted while this was not connected: what it reported then is not known")
        self._saw_end = False
        lines = b""
        if missed > 0:
            self._lost[NOT_CONNECTED] += missed
            lines = lost_line({NOT_CONNECTED: missed})
            self._report(f"{missed} events were missed while this was not connected")
        self._pending = (lines, hello)
        self._put_pending()

    def _receive(self, lines: bytes) -> None:
        """Put lines that were read."""
        reports = reports_in(lines)
        own = f'"{LOST_HERE}":'.encode()
        slow = 0
        for report in reports:
            if own in report:
                slow += orjson.loads(report)["lost_events"].get("outputs", {}).get(LOST_HERE, 0)
        if slow:
            lines = lines.replace(own, f'"{MISSED_HERE}":'.encode())  # no text of a process looks so: it is escaped
            with self._changed:
                self._lost[MISSED_HERE] += slow
        mark = None
        if self._received.run:
            mark = self._received = Mark(self._received.run, self._received.events + events_in(lines) + slow)
        self._pending = (lines, mark)
        self._put_pending()

    def _put_pending(self) -> bool:
        """Return whether all that was received is in the store. If there is no room, nothing more is read."""
        with self._changed:
            if self._pending is None and self._unreported:
                self._pending = (lost_line(self._unreported), None)
                self._unreported = Counter()
            if self._pending is None:
                return True
            lines, mark = self._pending
            try:
                taken = self._store.put(lines, mark)
            except OSError as error:
                self._say("store", f"the spool: {error.strerror}; reads no more until there is room")
                return False
            if taken:
                self._pending = None
                self._changed.notify_all()
        if taken and self._problems.pop("store", ""):
            self._report("the spool: can be written to again")
        return taken

    def _finish(self, alive: Callable[[], object]) -> None:
        """Let the sender send what waits, unless the store keeps it, and end."""
        with self._changed:
            self._ending = True
            self._progress = time.monotonic()
            self._changed.notify_all()
        while self._thread.is_alive():
            self._thread.join(RECONNECT_DELAY / 4)
            alive()
            if self._pending is not None or self._unreported:
                self._put_pending()
            if self._keeps or time.monotonic() - self._progress > self._drain:
                with self._changed:
                    self._stopped = True
                    self._changed.notify_all()
                self._thread.join(self._drain)  # a request that goes on is still finished, if it is finished soon
                break
        with self._changed:
            left = b"" if self._keeps else self._store.first(self._store.size).lines
            if self._pending is not None:
                left += self._pending[0]
            if count := events_in(left):
                self._lost[UNDELIVERED] += count

    def _say(self, about: str, message: str) -> None:
        """Report a message, unless it was the last one about something."""
        if self._problems.get(about) != message:
            self._problems[about] = message
            self._report(message)

    def _send_all(self) -> None:
        """Send batches until the end. Of the sender's thread."""
        try:
            while (batch := self._next_batch()) is not None:
                self._send(batch)
        except Exception as error:  # of a disk, say: the main thread raises it
            self._failure = error
        self._sender.close()

    def _next_batch(self) -> Batch | None:
        """Wait for lines; return None at the end."""
        with self._changed:
            full_by: float | None = None
            while not self._stopped:
                size = self._store.size
                now = time.monotonic()
                if size and full_by is None:
                    full_by = now + LINGER
                if size and (self._ending or size >= BATCH_LIMIT or (full_by is not None and now >= full_by)):
                    return self._store.first(self._limit)
                if self._ending and not size and self._pending is None and not self._unreported:
                    return None
                self._changed.wait(LINGER if full_by is None else max(0.0, full_by - now))
            return None

    def _send(self, batch: Batch) -> None:
        """Send a batch until the collector has taken or refused it, or until the end."""
        payload = self._encoder.encode(batch.lines)
        delay = FIRST_DELAY
        while payload.body:
            answer = self._sender.post(payload.body)
            if answer.verdict in (AGAIN, UNWANTED):
                self._notice_outage(answer.reason)
                if not self._pause(max(answer.wait, delay * random.uniform(0.5, 1.0))):
                    return
                delay = min(MAX_DELAY, 2 * delay)
                continue
            self._notice_end_of_outage()
            if answer.verdict == TOO_LARGE and batch.lines.count(b"\n") > 1:
                self._limit = max(1, len(batch.lines) // 2)
                return
            refused = min(answer.refused, payload.events) if answer.verdict == TAKEN else payload.events
            if answer.reason:
                what = f"{refused} events refused" if refused else "says"
                self._report(f"{self._sender.address.url}: {what}: {answer.reason}")
            self._count(payload.events - refused, {REFUSED_BY: refused, UNREADABLE: payload.unreadable})
            break
        else:
            self._count(0, {UNREADABLE: payload.unreadable})
        self._limit = min(BATCH_LIMIT, 2 * self._limit)
        with self._changed:
            self._store.done(batch.size)
            self._progress = time.monotonic()
            self._changed.notify_all()

    def _count(self, delivered: int, lost: dict[str, int]) -> None:
        with self._changed:
            self._delivered += delivered
            for reason, count in lost.items():
                if count:
                    self._lost[reason] += count
                    self._unreported[reason] += count

    def _pause(self, seconds: float) -> bool:
        """Wait; return whether to go on."""
        end = time.monotonic() + seconds
        with self._changed:
            while not self._stopped and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._stopped

    def _notice_outage(self, reason: str) -> None:
        now = time.monotonic()
        message = f"{self._sender.address.url}: {reason}; events wait"
        if not self._outage or (message != self._problems.get("sender") and now - self._outage > SAY_INTERVAL):
            self._outage = now
            self._say("sender", message)

    def _notice_end_of_outage(self) -> None:
        if self._outage:
            self._outage = 0.0
            self._problems.pop("sender", None)
            self._report(f"{self._sender.address.url}: takes events again")


def lost_line(counts: "dict[str, int] | Counter[str]") -> bytes:
    """Return a LostEvents with what was lost here."""
    return LossReport(Losses(outputs=dict(counts)), format_timestamp(time.time_ns())).json().encode()


def _wait(seconds: float, wake: int, fd: int = -1) -> bool:
    """Wait for a descriptor; return whether it is ready. wake: a descriptor that ends the wait."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    if fd >= 0:
        poll.register(fd, select.POLLIN)
    ready = dict(poll.poll(seconds * 1000))
    if wake in ready:
        os.read(wake, 64)
    return fd in ready

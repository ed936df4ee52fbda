"""A socket with many readers: each loses alone, and is told; what is in the socket's place is replaced with care."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netmon.errors import NetmonError
from netmon.outputs import server as module
from netmon.outputs.server import LOST_HERE, SocketServer
from netmon.outputs.unix_socket import listen
from tests.support.json_lines import loss_line
from tests.support.waiting import wait_until
from tests.unit.outputs.lines import event, events, lost_in, numbers, parsed

COUNT = 6000
LIMIT = 256 << 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.sock"


class Client:
    """A reader, which reads only if it is told to."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self._chunks: list[bytes] = []
        self.lines = 0  # that were read
        self._thread: threading.Thread | None = None

    def read(self) -> None:
        """Read from now on, to the end."""
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        while data := self.socket.recv(1 << 16):  # a part of a line is at its end, if it was given up
            self._chunks.append(data)
            self.lines += data.count(b"\n")

    @property
    def data(self) -> bytes:
        """What was read so far."""
        return b"".join(self._chunks)

    def finish(self) -> list[dict[str, Any]]:
        """Return what was read, once the server has closed the connection."""
        if self._thread is None:
            self.read()
        assert self._thread is not None
        self._thread.join(60)
        self.socket.close()
        data = self.data
        return parsed(data[: data.rfind(b"\n") + 1])


class Served:
    """A server, and what it has reported."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.said: list[str] = []
        self.server = SocketServer("socket", listen(str(path), 0o600, None), self.said.append, limit)
        self.server.start()

    def connect(self, count: int = 1) -> list[Client]:
        before = self.server.readers
        clients = [Client(self.path) for _ in range(count)]
        wait_until(lambda: self.server.readers == before + count)
        return clients

    def finish(self) -> None:
        self.server.finish()
        self.server.join()


@pytest.fixture
def served(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    """Makes servers that are finished at the end."""
    monkeypatch.setattr(module, "DRAIN_LIMIT", 1.5)
    made: list[Served] = []

    def make(limit: int = LIMIT) -> Served:
        made.append(Served(path, limit))
        return made[-1]

    yield make
    for one in made:
        one.finish()


def put(server: SocketServer, start: int, end: int) -> None:
    for number in range(start, end, 50):
        server.put(events(number, number + 50))


def test_fifteen_readers_get_all_beside_one_that_never_reads(served: Callable[..., Served]) -> None:
    one = served(limit=1 << 20)
    stuck, *reading = one.connect(16)
    for client in reading:
        client.read()
    for number in range(0, COUNT, 50):
        one.server.put(events(number, number + 50))
        wait_until(lambda at=number - 500: min(client.lines for client in reading) > at)  # type: ignore[misc]
    one.finish()
    for client in reading:
        assert numbers(client.finish()) == [*range(COUNT)]
    stuck.read()
    held = stuck.finish()
    assert numbers(held) == [*range(len(held))]
    assert len(held) + one.server.lost == COUNT


def test_a_slow_reader_is_told_what_it_has_missed_where_it_is_missing(served: Callable[..., Served]) -> None:
    one = served()
    (client,) = one.connect()
    put(one.server, 0, COUNT)
    lost = one.server.lost
    assert lost > COUNT // 2
    client.read()
    wait_until(lambda: b"LostEvents" in client.data)
    put(one.server, COUNT, COUNT + 100)
    one.finish()
    lines = client.finish()
    assert lost_in(lines, LOST_HERE) == one.server.lost == lost
    following = 0
    for line in lines:  # each gap is as wide as the LostEvents in it says
        if line["type"] == "LostEvents":
            following += line["lost_events"]["outputs"][LOST_HERE]
        else:
            assert numbers([line]) == [following]
            following += 1
    assert following == COUNT + 100


def test_reports_that_it_has_missed_are_added_up(served: Callable[..., Served]) -> None:
    one = served()
    (client,) = one.connect()
    put(one.server, 0, COUNT)
    for count in (3, 4):
        one.server.put(loss_line(count=count, ring_full=count).encode())
    client.read()
    wait_until(lambda: b"LostEvents" in client.data)
    one.finish()
    (report,) = [line for line in client.finish() if line["type"] == "LostEvents"]
    assert report["lost_events"]["ring_full"] == 7
    assert report["lost_events"]["outputs"] == {LOST_HERE: one.server.lost}


def test_readers_come_and_go(served: Callable[..., Served]) -> None:
    one = served()
    put(one.server, 0, 100)  # nobody is there: nothing is lost
    (first,) = one.connect()
    one.server.put(event(100))
    (second,) = one.connect()
    first.socket.shutdown(socket.SHUT_WR)  # it has nothing to say, but still reads
    second.socket.sendall(b"hello")  # which nobody heeds
    one.server.put(event(101))
    first.read()
    second.read()
    wait_until(lambda: first.lines == 2 and second.lines == 1)
    (third,) = one.connect()
    third.socket.close()
    wait_until(lambda: one.server.readers == 2)
    one.server.put(event(102))
    one.finish()
    assert numbers(first.finish()) == [100, 101, 102]
    assert numbers(second.finish()) == [101, 102]
    assert one.server.lost == 0 and one.said == []


def test_an_idle_server_does_not_run(served: Callable[..., Served]) -> None:
    """Not with a reader that has shut its end down, either: that stays readable."""
    one = served()
    (client,) = one.connect()
    client.socket.shutdown(socket.SHUT_WR)
    (other,) = one.connect()
    one.server.put(event(1))
    wait_until(lambda: select.select([client.socket, other.socket], [], [], 0)[0])
    thread = Path(f"/proc/self/task/{one.server._thread.native_id}/stat")
    wait_until(lambda: thread.read_text().rpartition(")")[2].split()[0] == "S")
    before = _switches(thread)
    select.select([], [], [], 0.2)
    assert _switches(thread) - before < 5


def _switches(stat: Path) -> int:
    """Return how often a thread has waited."""
    text = (stat.parent / "status").read_text()
    return int(text.split("voluntary_ctxt_switches:")[1].split()[0])


def test_no_more_readers_than_it_serves(served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READERS", 2)
    one = served()
    clients = one.connect(2)
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as refused:
            refused.connect(str(one.path))
            assert refused.recv(1) == b""
    assert one.said == ["socket: has 2 readers, as many as it serves: a further one was refused"]
    assert one.server.readers == len(clients)


def test_it_renders_once_for_all_readers(served: Callable[..., Served]) -> None:
    one = served()
    calls: list[int] = []

    def render(lines: Any) -> list[str]:
        calls.append(1)
        return [f"<{line.strip()[:8]}>\n" for line in lines]

    one.server.render = render
    clients = one.connect(3)
    one.server.put(events(0, 2))
    one.finish()
    for client in clients:
        client.read()
    for client in clients:
        assert client._thread is not None
        client._thread.join()
        assert client.data == b'<{"type":>\n' * 2
    assert len(calls) == 1


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_its_permissions_are_those_that_were_asked_for(mode: int, path: Path) -> None:
    before = os.umask(0o077)
    try:
        group = 1234 if os.geteuid() == 0 else os.getegid()
        with listen(str(path), mode, group):
            assert (path.stat().st_mode & 0o777, path.stat().st_gid) == (mode, group)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)


def test_what_is_in_its_place_is_replaced_only_if_it_is_a_socket_that_nobody_serves(path: Path) -> None:
    with (
        listen(str(path), 0o600, None),
        pytest.raises(NetmonError, match="another process serves it; give another path"),
    ):
        listen(str(path), 0o600, None)
    listen(str(path), 0o600, None).close()  # nobody serves it any more
    path.unlink()
    path.write_text("precious")
    with pytest.raises(NetmonError, match="is there already, and is no socket"):
        listen(str(path), 0o600, None)
    assert path.read_text() == "precious"
    path.unlink()
    path.symlink_to("/run/other.sock")
    with pytest.raises(NetmonError, match="is no socket"):
        listen(str(path), 0o600, None)
    path.unlink()
    if os.geteuid() == 0:
        listen(str(path), 0o600, None).close()
        os.chown(path, 1234, 1234)
        with pytest.raises(NetmonError, match=r"belongs to another user \(1234\)"):
            listen(str(path), 0o600, None)
    with pytest.raises(NetmonError, match="No such file or directory"):
        listen(str(path.parent / "nowhere" / "a"), 0o600, None)


def asking(path: Path, request: bytes) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.sendall(request)
    return client


def line_of(client: socket.socket) -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        more = client.recv(1)
        assert more, data
        data += more
    return parsed(data)[0]


def test_a_reader_gets_the_format_that_it_asks_for(served: Callable[..., Served]) -> None:
    one = served()
    formats: dict[str, Any] = {"json": None, "loud": lambda lines: [line.upper() for line in lines]}
    one.server.render_of = formats.__getitem__
    loud, plain, silent = asking(one.path, b"format=loud\n"), asking(one.path, b"format=json\n"), Client(one.path)
    wait_until(lambda: one.server.readers == 3)
    put(one.server, 0, 50)
    silent.read()
    assert line_of(loud)["TYPE"] == "NETWORKEVENT"
    assert line_of(plain)["type"] == "NetworkEvent"
    wait_until(lambda: silent.lines == 50)
    for client in (loud, plain):
        client.close()


def test_a_greeting_tells_how_many_events_there_were(served: Callable[..., Served]) -> None:
    """So a reader that comes again can tell what it has missed, to the event."""
    one = served()
    put(one.server, 0, 100)
    first = asking(one.path, b"hello=yes\n")
    hello = line_of(first)
    assert (hello["type"], hello["events"]) == ("Hello", 100)
    first.close()
    wait_until(lambda: one.server.readers == 0)
    put(one.server, 100, 250)
    one.server.put(loss_line(count=3, ring_full=3).encode())  # no event
    second = asking(one.path, b"format=json,hello=yes\n")
    assert line_of(second) == {**hello, "events": 250}
    one.server.put(event(250))
    assert numbers([line_of(second)]) == [250]
    second.close()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"format=yaml\n", "there is no format yaml"),
        (b"formt=json\n", "formt is no key of a request; they are format, hello"),
        (b"hello=maybe\n", "hello=maybe: give yes or no"),
        (b"\xff\n", "a request is ASCII, like format=ecs"),
        (b"x" * 300, "a request has at most 256 bytes"),
    ],
)
def test_a_request_that_cannot_be_fulfilled(served: Callable[..., Served], request_: bytes, reason: str) -> None:
    one = served()
    (other,) = one.connect()
    client = asking(one.path, request_)
    assert line_of(client) == {"type": "Refused", "reason": reason}
    assert client.recv(1) == b""
    client.close()
    other.read()
    put(one.server, 0, 50)
    wait_until(lambda: other.lines == 50)
    assert one.said == []


def test_a_request_that_comes_too_late_mixes_no_formats(
    served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REQUEST_TIME", 0.0)
    one = served()
    (client,) = one.connect()
    one.server.put(event(1))
    assert numbers([line_of(client.socket)]) == [1]
    client.socket.sendall(b"format=ecs\n")
    assert line_of(client.socket)["type"] == "Refused"

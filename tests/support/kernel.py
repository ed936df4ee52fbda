"""What the kernel tests share: netmon as a child process, and connections whose true addresses are known."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

Event = dict[str, Any]

DEADLINE = 60.0  # seconds: generous, since it only ends what has failed
PROGRAMS = Path("/opt/netmon/bin")


def wait_until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """Return the condition's first true value; fail after deadline seconds."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {deadline:g} s: {what}")


class Ended(NamedTuple):
    """How a netmon ended."""

    returncode: int
    stdout: bytes
    stderr: str

    @property
    def events(self) -> list[Event]:
        return [json.loads(line) for line in self.stdout.splitlines()]


class Netmon:
    """`netmon run` as its users run it, in a child process."""

    def __init__(self, *arguments: str, config: str | None = None, tmp_path: Path | None = None) -> None:
        """Start, and wait until it is ready. config: YAML text, written to a file in tmp_path."""
        if config is not None and tmp_path is not None:
            path = tmp_path / "netmon.yaml"
            path.write_text(config)
            arguments = ("--config", str(path), *arguments)
        # Files: a reader here would compete with netmon, and slow it down.
        self._stdout = tempfile.TemporaryFile()
        self._stderr = tempfile.TemporaryFile()
        self._refused = ["Fail"] if "--outcome" in arguments else ["Establish", "Close"]
        self._events: list[Event] = []
        self._offset = 0
        started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "netmon", "run", "--any-kernel", *arguments],
            stdout=self._stdout,
            stderr=self._stderr,
        )
        wait_until(lambda: self._is_ready() or self.process.poll() is not None, "netmon: ready")
        self.seconds_to_ready = time.monotonic() - started
        assert self._is_ready(), self.stderr

    def _is_ready(self) -> bool:
        return self.stderr.startswith("netmon: ready")

    @property
    def stderr(self) -> str:
        return os.pread(self._stderr.fileno(), 1 << 20, 0).decode()

    @property
    def events(self) -> list[Event]:
        """The events so far."""
        data = b"".join(iter(self._read_on, b""))
        whole = data[: data.rfind(b"\n") + 1]
        self._offset -= len(data) - len(whole)
        self._events += map(json.loads, whole.splitlines())
        return list(self._events)

    def _read_on(self) -> bytes:
        data = os.pread(self._stdout.fileno(), 1 << 20, self._offset)
        self._offset += len(data)
        return data

    @contextmanager
    def watch(self) -> Iterator[list[Event]]:
        """The list yielded is filled, on leaving, with every event since entering."""
        seen: list[Event] = []
        start = self._mark()
        yield seen
        end = self._mark()
        events = self.events
        cookies = [event["network_event"]["cookie"] for event in events]
        first = len(cookies) - cookies[::-1].index(start)
        seen += [event for event in events[first:] if event["network_event"]["cookie"] != end]

    def _mark(self) -> int:
        """Make a connection that fails, wait for its establish and close, and return its cookie."""
        cookie = refused_connection()
        wait_until(
            lambda: (
                types_of([event for event in self.events if event["network_event"]["cookie"] == cookie])
                == self._refused
            ),
            "the marking connection's events",
        )
        return cookie

    def stop(self, number: int = signal.SIGTERM) -> Ended:
        """Send a signal, wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(DEADLINE)
        self._stdout.seek(0)
        return Ended(self.process.returncode, self._stdout.read(), self.stderr)

    def __enter__(self) -> Netmon:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.stop()


def counts_of(stderr: str) -> tuple[int, int, int]:
    """Return what a summary counts: events, lost events, and at most so many missed ones."""
    summary = re.search(r"(\d+) events, (\d+) lost", stderr)
    assert summary, stderr
    missed = re.search(r"at most (\d+) missed", stderr)
    return int(summary[1]), int(summary[2]), int(missed[1]) if missed else 0


def cookie_of(sock: socket.socket) -> int:
    """Return the kernel's own cookie of a socket (SO_COOKIE)."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder)


def refused_connection() -> int:
    """Connect to a port that nobody listens on; return the socket's cookie."""
    with socket.socket() as sock:
        cookie = cookie_of(sock)
        try:
            sock.connect(("127.0.0.1", 1))
        except ConnectionRefusedError:
            return cookie
    raise AssertionError("port 1 is in use")


def disconnect(sock: socket.socket) -> None:
    """connect() to AF_UNSPEC, which Python's socket cannot say."""
    unspec = struct.pack("=H14x", socket.AF_UNSPEC)
    if ctypes.CDLL(None, use_errno=True).connect(sock.fileno(), unspec, len(unspec)):
        raise OSError(ctypes.get_errno(), "connect(AF_UNSPEC)")


def reset(sock: socket.socket) -> None:
    """Close a connection by a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def receive_all(sock: socket.socket) -> int:
    """Receive to the end; return how many bytes."""
    return sum(map(len, iter(lambda: sock.recv(1 << 16), b"")))


# Instructions of classic BPF: code, jump if true, jump if false, operand.
LOAD_RANDOM = (0x20, 0, 0, 0xFFFFF000 + 56)
RETURN_NOTHING, RETURN_ALL = (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)


def drop(sock: socket.socket, part: float = 1.0) -> None:
    """Lose so large a part of the segments that reach a socket: its kernel never sees them (SO_ATTACH_FILTER)."""
    skip_if_less = (0x35, 0, 1, int(part * 2**32))
    program = [LOAD_RANDOM, skip_if_less, RETURN_ALL, RETURN_NOTHING] if part < 1 else [RETURN_NOTHING]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", len(program), ctypes.addressof(code)))


def listen(address: str = "127.0.0.1", family: socket.AddressFamily = socket.AF_INET, port: int = 0) -> socket.socket:
    """Return a listening socket on a free port."""
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(128)
    return sock


class Pair(NamedTuple):
    """Both ends of one loopback connection, and the cookies that name them."""

    client: socket.socket
    server: socket.socket
    client_cookie: int
    server_cookie: int

    def close(self) -> None:
        """Close the client, then the server."""
        self.client.close()
        self.server.close()


def connect_pair(listener: socket.socket, to: tuple[str, int], family: socket.AddressFamily = socket.AF_INET) -> Pair:
    """Connect to a listener of this process and accept."""
    client = socket.socket(family)
    client.connect(to)
    server, _ = listener.accept()
    return Pair(client, server, cookie_of(client), cookie_of(server))


def types_of(events: list[Event]) -> list[str]:
    """Return the events' types without their common prefix: Establish, Accept, Close."""
    return [event["network_event"]["type"].removeprefix("TcpConnection") for event in events]


def types_by_cookie(events: Iterable[Event]) -> dict[int, list[str]]:
    """Return the types of each connection's events."""
    told: dict[int, list[str]] = defaultdict(list)
    for event in events:
        told[event["network_event"]["cookie"]] += types_of([event])
    return told


def ends(event: Event) -> tuple[str, int, str, int]:
    """Return saddr, sport, daddr, dport."""
    network = event["network_event"]
    return network["saddr"], network["sport"], network["daddr"], network["dport"]


def status_of(pid: int | str = "self") -> dict[str, list[str]]:
    """Return /proc/PID/status: key to its words."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def auid_of(pid: int | str = "self") -> int:
    """Return the audit (login) user id."""
    return int(Path(f"/proc/{pid}/loginuid").read_text())


def leave_to_child(sock: socket.socket, then: Callable[[], object] = lambda: None) -> int:
    """Close a socket of which a forked child, which then does that and exits, has the last copy; return its pid."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read_end, 1)
        then()
        os._exit(0)
    sock.close()
    os.write(write_end, b"x")
    os.waitpid(child, 0)
    os.close(read_end)
    os.close(write_end)
    return child

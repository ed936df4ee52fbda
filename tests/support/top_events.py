"""The events of a busy minute, made up, for what `netmon top` shows of them: in tests and in the README's picture."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from typing import Any

from netmon.events import Process
from netmon.top.counts import Top
from netmon.top.feed import OnTick
from tests.support.json_lines import connection_line, process

START = datetime(2026, 11, 29, 15, 42, 39, tzinfo=timezone.utc)
INTERVAL = 2.0
CONTAINER = "3f2a" * 16


def time_at(seconds: float) -> str:
    """Return a time as events have it."""
    at = START + timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def program(pid: int, name: str, args: str = "", ppid: int = 1, uid: int = 0, **changes: Any) -> Process:
    """Return a process."""
    path = f"/usr/bin/{name}"
    return process(pid=pid, tid=pid, ppid=ppid, uid=uid, filename=name, binary_path=path, args=args, **changes)


MAKE = program(2101, "make", "-j8", uid=1000)
PIP = program(2140, "python3.12", "-m pip install -r requirements.txt", ppid=2101, uid=1000)
CURL = program(2177, "curl", "-sO https://example.com/big.iso", ppid=2101, uid=1000)
NGINX = program(812, "nginx", "-g daemon off;", uid=33)
POSTGRES = program(944, "postgres", "", uid=70, container_id=CONTAINER)
APP = program(951, "gunicorn", "app:main", uid=1000, container_id=CONTAINER)


class Scene:
    """Makes events, interval by interval."""

    def __init__(self) -> None:
        self._cookie = 0

    def _next(self) -> int:
        self._cookie += 1
        return self._cookie

    def intervals(self, count: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the events of each interval, as dicts."""
        download = self._next()
        for number in range(count):
            at = number * INTERVAL
            lines = self._of_server(number, at)
            lines += self._of_application(number, at)
            lines += self._of_build(number, at)
            lines += self._of_download(download, number, at)
            yield [json.loads(line) for line in lines]

    def _short(
        self, by: Process, at: float, sent: int, received: int, kind: str = "Establish", **peer: Any
    ) -> list[str]:
        """Return the opening and the close of a connection."""
        cookie = self._next()
        closing = {"duration_us": 91_000, "bytes_sent": sent, "bytes_received": received, "closed_by": "local"}
        handshake = {"handshake_us": 9_400} if kind == "Establish" else {}
        return [
            connection_line(kind, cookie, by=by, time=time_at(at), **peer, **handshake),
            connection_line("Close", cookie, by=by, time=time_at(at + 0.1), **peer, **closing),
        ]

    def _of_server(self, number: int, at: float) -> list[str]:
        clients = round(9 + 7 * math.sin(number / 3))
        lines = []
        for client in range(clients):
            peer: dict[str, Any] = {
                "daddr": f"198.51.100.{7 + client % 5}",
                "dport": 40_000 + number * 20 + client,
                "sport": 443,
            }
            lines += self._short(NGINX, at + client / 50, 48_000 + 2_000 * client, 720, "Accept", **peer)
        return lines

    def _of_application(self, number: int, at: float) -> list[str]:
        lines = []
        for query in range(3 + number % 4):
            ends: dict[str, Any] = {"saddr": "10.0.0.5", "daddr": "10.0.0.6", "dport": 5432}
            lines += self._short(APP, at + query / 9, 900, 6_100, **ends)
            served: dict[str, Any] = {
                "saddr": "10.0.0.6",
                "daddr": "10.0.0.5",
                "sport": 5432,
                "dport": 50_000 + number * 9 + query,
            }
            lines += self._short(POSTGRES, at + query / 9, 6_100, 900, "Accept", **served)
        return lines

    def _of_build(self, number: int, at: float) -> list[str]:
        peer: dict[str, Any] = {"daddr": "203.0.113.20", "dport": 443}
        lines = self._short(PIP, at, 1_100, 90_000 + 40_000 * (number % 5), **peer)
        if number % 3 == 0:
            fields = {"errno": "ECONNREFUSED", "reason": "refused", "daddr": "203.0.113.99", "dport": 3128}
            lines.append(connection_line("Fail", self._next(), by=PIP, time=time_at(at + 0.3), **fields))
        return [_with_parent(line, MAKE) for line in lines]

    def _of_download(self, cookie: int, number: int, at: float) -> list[str]:
        ends = {"daddr": "203.0.113.80", "dport": 443}
        if number == 0:
            line = connection_line("Establish", cookie, by=CURL, time=time_at(at), handshake_us=21_000, **ends)
        else:
            carried = sum(1_700_000 + round(500_000 * math.sin(past)) for past in range(number))
            counts = {"bytes_sent": 510, "bytes_received": carried, "sampled": True}
            line = connection_line("Progress", cookie, by=CURL, time=time_at(at + 1.9), **ends, **counts)
        return [_with_parent(line, MAKE)]


def build_lines(count: int) -> list[str]:
    """Return the events of the build alone, of so many intervals, as lines; at the end the download is over."""
    lines = []
    for events in Scene().intervals(count):
        lines += [json.dumps(event) for event in events if event["process"]["pid"] in (PIP.pid, CURL.pid)]
    last = json.loads(next(line for line in reversed(lines) if '"TcpConnectionProgress"' in line))
    last["network_event"] = {**last["network_event"], "type": "TcpConnectionClose", "closed_by": "peer"}
    return [*lines, json.dumps(last)]


def _with_parent(line: str, parent: Process) -> str:
    return json.dumps({**json.loads(line), "parent": json.loads(parent.model_dump_json())})


def played(count: int, top: Top | None = None) -> Top:
    """Return a Top after so many intervals of the scene."""
    top = top or Top(0.0)
    for number, events in enumerate(Scene().intervals(count), 1):
        for event in events:
            top.add(event)
        top.tick(number * INTERVAL)
    return top


class PlayedFeed:
    """A feed that has counted the scene as soon as it runs."""

    def __init__(self, count: int = 40, status: str = "replay") -> None:
        self.top = Top(0.0)
        self.status = status
        self._count = count

    def run(self, on_tick: OnTick, lock: AbstractContextManager[Any]) -> None:
        with lock:
            played(self._count, self.top)
        on_tick(time_at(self._count * INTERVAL))

    def stop(self) -> None: ...

    def summary(self) -> str:
        return ""

    def was_blind(self) -> bool:
        return False

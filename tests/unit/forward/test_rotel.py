"""A real collector, rotel: `netmon forward` sends to it, and it sends on to a receiver that counts each event."""

from __future__ import annotations

import gzip
import importlib.util
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.forwarding import Forward, Served, own_directory
from tests.support.waiting import wait_until

COUNT = 4000  # before, and as many after
ROTEL = importlib.util.find_spec("rotel")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Receiver:
    """Takes what rotel sends on: OTLP as protobuf, over HTTP. It looks for the events' addresses alone."""

    def __init__(self) -> None:
        self.found: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.found += cookies_in(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def cookies_in(message: bytes) -> list[int]:
    """Return the values of the attribute netmon.cookie in a message of protobuf."""
    key = b"\x0a\x0dnetmon.cookie\x12"  # KeyValue: field 1, 13 bytes; field 2, an AnyValue with field 3, a varint
    found, at = [], 0
    while (at := message.find(key, at) + 1) > 0:
        at += len(key)
        assert message[at] == 0x18
        value = shift = 0
        while True:
            at += 1
            value |= (message[at] & 0x7F) << shift
            shift += 7
            if message[at] < 0x80:
                break
        found.append(value)
    return found


@contextmanager
def rotel(port: int, to: int, directory: Path) -> Iterator[None]:
    """Run the collector."""
    assert ROTEL is not None and ROTEL.submodule_search_locations
    command: list[str | Path] = [
        *(Path(ROTEL.submodule_search_locations[0]) / "rotel-agent", "start"),
        *("--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}"),
        *("--exporter", "otlp", "--otlp-exporter-endpoint", f"http://127.0.0.1:{to}"),
        *("--otlp-exporter-protocol", "http"),
        *("--pid-file", directory / "pid", "--log-file", directory / "log"),
    ]
    with (directory / "output").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(lambda: _listens(port) or process.poll() is not None, "rotel")
        assert process.poll() is None, (directory / "output").read_text()
        yield
    finally:
        process.send_signal(signal.SIGTERM)  # it sends on what it has taken
        process.wait(30)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(ROTEL is None, reason="rotel is not installed")
def test_each_event_is_accounted_for_with_the_collector_stopped_in_between(tmp_path: Path) -> None:
    directory = own_directory()
    directory.chmod(0o755)
    served, receiver, port = Served(directory / "events.sock"), Receiver(), free_port()
    arguments = ("--from", f"unix:{directory}/events.sock", "--to", f"http://127.0.0.1:{port}")
    one = Forward(*arguments, "--spool", f"{directory}/spool")
    try:
        with rotel(port, receiver.port, tmp_path):
            served.wait()
            served.put(0, COUNT)
            wait_until(lambda: len({*receiver.found}) == COUNT, "what comes before")
        served.put(COUNT, 2 * COUNT)
        one.wait_for("events wait")
        one.end()
        wait_until(lambda: served.server.readers == 0, "its end")
        one = Forward(*arguments, "--spool", f"{directory}/spool")
        served.wait()
        served.put(2 * COUNT, 2 * COUNT + 10)
        with rotel(port, receiver.port, tmp_path):
            wait_until(lambda: {*receiver.found} == {*range(2 * COUNT + 10)}, "all events")
        assert ", 0 lost" in one.end()
    finally:
        one.end()
        served.close()
        receiver.close()
        shutil.rmtree(directory)

"""Serves metrics and probes by HTTP, in a process that has no rights."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn

from netmon.control.metrics import CONTENT_TYPE
from netmon.control.protocol import ask
from netmon.errors import NetmonError
from netmon.version import __version__

CLIENTS = 8  # that are served at once; further ones are refused
CLIENT_LIMIT = 10.0  # seconds that a client may take for a line of its request, or to take an answer
FRESH = 1.0  # seconds for which an answer is kept: however many ask, netmon is asked once
TEXT = "text/plain; charset=utf-8"


class MetricsServer(ThreadingMixIn, TCPServer):
    """Answers GET /metrics, /live and /ready.

    It is no HTTPServer of Python's, which asks name servers for the name of its address.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], control: str, read: Callable[[str], str]) -> None:
        """Listen.

        Args:
            address: Host and port.
            control: The control socket to ask.
            read: Returns the metrics of the netmon that serves it. Raises NetmonError.

        Raises:
            OSError: There can be no such socket.
        """
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._control = control
        self._read = read
        self._free = threading.BoundedSemaphore(CLIENTS)
        self._lock = threading.Lock()
        self._kept: tuple[float, str] | None = None
        super().__init__(address, Handler)

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host, port = self.server_address[:2]
        name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://[{name}]:{port}/metrics" if ":" in name else f"http://{name}:{port}/metrics"

    def metrics(self) -> str:
        """Return the metrics, at most FRESH seconds old. Raises NetmonError."""
        with self._lock:
            now = time.monotonic()
            if self._kept is None or now - self._kept[0] > FRESH:
                self._kept = now, self._read(self._control)
            return self._kept[1]

    def probe(self, name: str) -> tuple[bool, str]:
        """Return whether netmon is live, or ready, and what is wrong if it is not. Raises NetmonError."""
        answer = ask(self._control, "status")
        return answer.get(name) is True, "; ".join(map(str, answer.get("problems", ())))

    def process_request(self, request: object, client_address: object) -> None:
        """Serve a client in a thread, unless there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)  # type: ignore[arg-type]
        else:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve a client, in its thread."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the client has gone, or has sent no request."""


class Handler(BaseHTTPRequestHandler):
    """Answers a client."""

    server: MetricsServer
    server_version = f"netmon/{__version__}"
    sys_version = ""
    timeout = CLIENT_LIMIT

    def do_GET(self) -> None:
        """Answer a request."""
        path = self.path.partition("?")[0]
        try:
            if path == "/metrics":
                self._send(200, CONTENT_TYPE, self.server.metrics())
            elif path in ("/live", "/ready"):
                good, problems = self.server.probe(path[1:])
                self._send(200 if good else 503, TEXT, f"{path[1:] if good else f'not {path[1:]}; {problems}'}\n")
            elif path == "/":
                self._send(200, TEXT, "netmon: /metrics, /live, /ready\n")
            else:
                self._send(404, TEXT, "there are /metrics, /live and /ready\n")
        except NetmonError as error:
            self._send(503, TEXT, f"{error}\n")

    def do_HEAD(self) -> None:
        """Answer as to GET, without the content."""
        self.do_GET()

    def _send(self, code: int, kind: str, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Write no log: a line for each scrape is nobody's need."""

"""A strict collector of OTLP over HTTP: it refuses what the protocol does not allow, and can be told to fail."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.schemas.validators import otel_problems

Attributes = dict[str, Any]


class Reply(NamedTuple):
    """An answer to a request."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()


class Collector:
    """A collector on a port of the loopback.

    Attributes:
        cookies: The cookies of the connections of the events, in their order.
        reports: The log records that are reports of losses.
        records: The log records that it has taken, with their attributes as a mapping.
        requests: How many requests it has had.
        headers: Those of the last request.
        resource: The attributes of the last request's resource.
        replies: Its next answers; then it takes all.
        problems: What was wrong with requests.
    """

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        """Listen. port: 0 for any; context: for TLS."""
        self.records: list[Attributes] = []
        self.cookies: list[int] = []
        self.reports: list[Attributes] = []
        self.requests = 0
        self.headers: dict[str, str] = {}
        self.resource: Attributes = {}
        self.replies: list[Reply] = []
        self.problems: list[str] = []
        self.hold: Callable[[], object] = lambda: None  # is called before each answer
        self._connections: list[socket.socket] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if context is not None else ''}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def lost(self) -> dict[str, int]:
        """How many events were lost, by the name of what lost them."""
        counts: dict[str, int] = {}
        for record in list(self.reports):
            for name, count in record.get("netmon.lost_events.outputs", {}).items():
                counts[name] = counts.get(name, 0) + count
        return counts

    def close(self) -> None:
        """Stop listening, and close all connections."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def take(self, headers: dict[str, str], path: str, body: bytes) -> Reply:
        """Return the answer to a request."""
        self.requests += 1
        self.headers = headers
        self.hold()
        if self.replies:
            reply = self.replies.pop(0)
            if reply.status != 200 or reply.body != b"{}":
                return reply
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        problems = otel_problems(_beginning(document := json.loads(body)))  # all of it would take minutes
        if (path, headers["Content-Type"]) != ("/v1/logs", "application/json"):
            problems.append(f"{path}, {headers['Content-Type']}")
        self.problems += problems
        if problems:
            return Reply(400, json.dumps({"message": problems[0]}).encode())
        for resource_logs in document["resourceLogs"]:
            self.resource = _attributes(resource_logs["resource"]["attributes"])
            for scope in resource_logs["scopeLogs"]:
                found = [_attributes(record["attributes"]) for record in scope["logRecords"]]
                self.records += found
                self.reports += [record for record in found if "netmon.lost_events.outputs" in record]
                self.cookies += [record["netmon.cookie"] for record in found if "netmon.cookie" in record]
        return Reply()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                collector._connections.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                reply = collector.take(dict(self.headers), self.path, body)
                self.send_response(reply.status)
                for name, value in (("Content-Length", str(len(reply.body))), *reply.headers):
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):  # it has waited for long enough
                    self.wfile.write(reply.body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _beginning(document: dict[str, Any]) -> dict[str, Any]:
    """Return a LogsData with the first record of each scope alone."""
    of_resources = [
        {**one, "scopeLogs": [{**scope, "logRecords": scope["logRecords"][:1]} for scope in one["scopeLogs"]]}
        for one in document["resourceLogs"]
    ]
    return {**document, "resourceLogs": of_resources}


def _attributes(attributes: list[dict[str, Any]]) -> Attributes:
    return {attribute["key"]: _value(attribute["value"]) for attribute in attributes}


def _value(value: dict[str, Any]) -> Any:
    ((kind, found),) = value.items()
    if kind == "intValue":
        return int(found)
    if kind == "kvlistValue":
        return _attributes(found["values"])
    return [_value(item) for item in found["values"]] if kind == "arrayValue" else found


class Certificates:
    """An authority, and the certificates of a server and of a client, which it has signed."""

    def __init__(self, directory: Path) -> None:
        self.ca, self.other_ca = (directory / f"{name}.pem" for name in ("ca", "other"))
        self.server, self.client = directory / "server.pem", directory / "client.pem"
        for authority in (self.ca, self.other_ca):
            self._make(authority, None, "netmon's tests", "basicConstraints=critical,CA:TRUE")
        self._make(self.server, self.ca, "localhost", "subjectAltName=DNS:localhost")
        self._make(self.client, self.ca, "agent", "extendedKeyUsage=clientAuth")

    def _make(self, path: Path, authority: Path | None, name: str, extension: str) -> None:
        """Make a certificate; its key is in the same file."""
        key = path.with_suffix(".key")
        signed = ["-CA", str(authority), "-CAkey", str(authority.with_suffix(".key"))] if authority else []
        subprocess.run(
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-batch",
                ),
                *(
                    "-days",
                    "2",
                    "-subj",
                    f"/CN={name}",
                    "-addext",
                    extension,
                    *signed,
                    "-keyout",
                    str(key),
                    "-out",
                    str(path),
                ),
            ],
            check=True,
            capture_output=True,
        )
        if authority is not None:
            path.write_text(path.read_text() + key.read_text())

    def context(self, *, wants_client: bool = False) -> ssl.SSLContext:
        """Return the settings of a server."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca))
        context.load_cert_chain(str(self.server))
        context.verify_mode = ssl.CERT_REQUIRED if wants_client else ssl.CERT_NONE
        return context

"""Requests to a collector over HTTP/1.1, with or without TLS."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from netmon.errors import NetmonError, shown
from netmon.forward.otlp import AGAIN, UNWANTED, Answer, meaning_of
from netmon.forward.settings import Address, Tls

if TYPE_CHECKING:
    import ssl

MAX_ANSWER = 64 << 10  # bytes that are read of an answer's body
NO_TLS = "this build of netmon has no TLS (Python's module ssl); install netmon-bpf from PyPI, or use http://"


class Collector:
    """Sends requests to a collector, by one connection that is kept.

    Attributes:
        address: Where it is.
    """

    def __init__(
        self,
        address: Address,
        read_headers: Callable[[], Mapping[str, str]],
        tls: Tls = Tls(),  # noqa: B008 - cannot be changed
        *,
        compressed: bool,
        timeout: float,
    ) -> None:
        """Prepare to connect.

        Args:
            address: Where it is.
            read_headers: Returns further headers. It is called before each connection: a secret may change. Raises
                NetmonError.
            tls: Files, which are read before each connection.
            compressed: Whether bodies are compressed, by gzip.
            timeout: Seconds that a step of the connection may take.

        Raises:
            NetmonError: A file cannot be used.
        """
        self.address = address
        self._read_headers = read_headers
        self._tls = tls
        self._timeout = timeout
        self._own = {
            "Content-Type": "application/json",
            "User-Agent": "netmon",
            **({"Content-Encoding": "gzip"} if compressed else {}),
        }
        self._connection: http.client.HTTPConnection | None = None
        self._context: ssl.SSLContext | None = None
        self._headers: dict[str, str] = {}
        self._prepare()

    def _prepare(self) -> None:
        """Read the files that a connection needs. Raises NetmonError."""
        self._headers = {**self._read_headers(), **self._own}
        if self.address.secure:
            self._context = make_context(self._tls)

    def post(self, body: bytes) -> Answer:
        """Send a request, and return what the answer means. An error is an answer, too: to send it again."""
        is_old = self._connection is not None
        try:
            return self._post(body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if not is_old:
                return Answer(AGAIN, reason=_describe(error))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return Answer(UNWANTED if _is_of_tls(error) else AGAIN, reason=_describe(error))
        # The collector has closed a connection that was idle: that is no failure yet.
        try:
            return self._post(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return Answer(AGAIN, reason=_describe(error))

    def _post(self, body: bytes) -> Answer:
        if self._connection is None:
            self._connect()
        assert self._connection is not None
        self._connection.request("POST", self.address.path, body, self._headers)
        response = self._connection.getresponse()
        answer = meaning_of(response.status, dict(response.headers), response.read(MAX_ANSWER))
        if response.will_close or not response.isclosed() or answer.verdict == UNWANTED:
            self.close()
        return answer

    def _connect(self) -> None:
        try:
            self._prepare()
        except NetmonError:
            # The user of this process may not read it any more: what was read at the start holds.
            if not self._headers or (self.address.secure and self._context is None):
                raise OSError("cannot read its files") from None
        host, port = self.address.host, self.address.port
        if self._context is not None:
            self._connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection; the next request makes one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def make_context(tls: Tls) -> ssl.SSLContext:
    """Return the settings of TLS. The collector's certificate is always checked. Raises NetmonError."""
    try:
        import ssl
    except ImportError:
        raise NetmonError(NO_TLS) from None
    file = tls.ca
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.certificate:
            file = tls.certificate
            context.load_cert_chain(tls.certificate, tls.key or None, password=lambda: "")  # no question at a terminal
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise NetmonError(f"{shown(file)}: {_describe(error)}") from None
    return context


def _is_of_tls(error: Exception) -> bool:
    """Return whether a certificate is not accepted, which only a change of the configuration mends."""
    return "CERTIFICATE" in str(getattr(error, "reason", "") or "") or type(error).__name__.startswith("SSLCert")


def _describe(error: Exception) -> str:
    """Return an error's reason, harmless."""
    verification = getattr(error, "verify_message", "")
    if verification:
        return f"the certificate is not accepted: {shown(str(verification))}"
    if isinstance(error, TimeoutError):
        return "does not answer"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return shown(text)

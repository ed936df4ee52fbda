"""Where to send events to, and how: from flags, and from the environment variables of OpenTelemetry's exporters."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from netmon.errors import shown

LOGS_PATH = "/v1/logs"
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_HEADERS = 64
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What this program sets itself.
_OWN_HEADERS = ("content-type", "content-encoding", "content-length", "host", "transfer-encoding", "connection")


class Address(NamedTuple):
    """A collector's address.

    Attributes:
        url: As it is shown.
        secure: Whether it is reached by TLS.
        host: Its name or address.
        port: Its port.
        path: The path of requests.
    """

    url: str
    secure: bool
    host: str
    port: int
    path: str

    @property
    def is_local(self) -> bool:
        """Whether it is this host, so that nobody between can read what is sent."""
        return self.host == "localhost" or self.host == "::1" or self.host.startswith("127.")


class Tls(NamedTuple):
    """Files of TLS, in PEM; "" stands for none.

    Attributes:
        ca: The authorities that vouch for the collector; "": the system's.
        certificate: This side's certificate, with the chain.
        key: Its key; "": it is in the certificate's file.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""


def parse_address(text: str) -> Address:
    """Return the address that a URL names: without a path, that of OTLP's logs is added. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{shown(text)} is no URL of a collector; write it like https://collector.example:4318")
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a password, which everybody can see in the list of processes; give --headers-file FILE")
    if parts.query or parts.fragment:
        raise ValueError(f"{shown(text)} has a query or a fragment, which OTLP has not; leave it out")
    try:
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except ValueError:
        raise ValueError(f"{shown(text)} has no valid port; write it like https://collector.example:4318") from None
    path = parts.path if parts.path not in ("", "/") else LOGS_PATH
    if not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError(f"{shown(text)}: write other characters of the path as %20")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    url = f"{parts.scheme}://{host}:{port}{path}"
    return Address(url, parts.scheme == "https", parts.hostname, port, path)


def endpoint_of(environment: Mapping[str, str]) -> str:
    """Return the URL that the environment names; "" if none. The general one is the URL that `/v1/logs` is added to."""
    if own := environment.get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"):
        return own
    general = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    return f"{general.rstrip('/')}{LOGS_PATH}" if general else ""


def variable(environment: Mapping[str, str], name: str) -> str:
    """Return a variable of the exporter: that for logs, or the general one; "" if neither is set."""
    return environment.get(f"OTEL_EXPORTER_OTLP_LOGS_{name}") or environment.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def parse_pairs(text: str, what: str) -> dict[str, str]:
    """Return the pairs of `key=value,key=value`, whose values are percent-encoded. Raises ValueError."""
    pairs = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{what}: write pairs like key=value, with commas between them")
        pairs[key.strip()] = unquote(value.strip())
    return pairs


def parse_header_lines(text: str) -> dict[str, str]:
    """Return the headers of a file: a line each, `Name: value`, and comments. Raises ValueError without a value."""
    headers = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"line {number}: write a header like Authorization: Bearer TOKEN")
        headers[name.strip()] = value.strip()
    return headers


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers that a request may have. Raises ValueError, which shows no value: it may be a secret."""
    if len(headers) > MAX_HEADERS:
        raise ValueError(f"has more than {MAX_HEADERS} headers")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{shown(name)} is no name of a header")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"{shown(name)} is set by netmon; leave it out")
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"the value of {shown(name)} has characters that no header may have")
    return dict(headers)

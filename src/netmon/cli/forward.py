"""`netmon forward`: sends the events of a running netmon to a collector, without privileges."""

from __future__ import annotations

import argparse
import os
import signal
import stat
from collections.abc import Mapping
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_FAILED, EXIT_OK
from netmon.cli.console import say
from netmon.cli.flags import FORWARD_USER, add_forward_flags, flag_error
from netmon.errors import NetmonError, shown

if TYPE_CHECKING:
    from netmon.cli.confine import User
    from netmon.forward.settings import Address, Tls
    from netmon.forward.source import Source
    from netmon.forward.store import Store

DNS_PORT = 53
MAX_HEADERS_FILE = 64 << 10  # bytes
STDIN_FILENO = 0


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "forward",
        help="send the events of a running netmon to a collector, by OTLP over HTTP",
        usage="netmon forward [--from SOURCE] --to URL [flag ...]",
        description="Send events to a collector by OTLP over HTTP, as a process of its own without privileges. It "
        "reads the socket of `netmon run --output unix:PATH`, and keeps events until the collector has taken them. The "
        "environment variables of OpenTelemetry's exporters (OTEL_EXPORTER_OTLP_ENDPOINT, ..._HEADERS, "
        "OTEL_RESOURCE_ATTRIBUTES) hold, too; flags win over them.",
    )
    parser.set_defaults(command=forward)
    add_forward_flags(parser)


def forward(options: argparse.Namespace) -> int:
    """Forward events until a signal, or until the source ends. Raises ConfigError, another NetmonError."""
    signals = _Signals()

    # All that is used later: this process may be unable to read netmon's modules once it is another user.
    import encodings.idna  # noqa: F401

    from netmon.cli.confine import confine_forwarder
    from netmon.cli.session import notifier
    from netmon.forward.forwarder import UNDELIVERED, Forwarder
    from netmon.forward.http import Collector
    from netmon.forward.otlp import Encoder
    from netmon.forward.spool import Spool
    from netmon.forward.store import Memory
    from netmon.schemas.host import read_host

    address = _address_of(options)
    compression = options.compression or _compression_of(os.environ)
    user = _user_of(options)
    tls = _tls_of(options)
    collector = Collector(
        address,
        partial(_read_headers, options.headers_file),
        tls,
        compressed=compression == "gzip",
        timeout=options.timeout or _timeout_of(os.environ),
    )
    encoder = Encoder(read_host(), _resource_of(options), compress=compression == "gzip")
    notify = notifier()
    reads = [path for path in (options.headers_file, *tls) if path]
    if options.confine:
        finish = confine_forwarder(
            user=user, ports=(address.port, DNS_PORT), reads=[*reads, *{os.path.dirname(path) or "." for path in reads}]
        )
    else:
        finish = _keep_rights
    spool = Spool(options.spool, options.spool_size) if options.spool is not None else None
    finish(spool.directory if spool is not None else None)
    store: Store = Memory() if spool is None else spool
    if not (address.secure or address.is_local):
        say(f"{address.url}: what is sent is not encrypted; use https:// where others can read the network")
    source = _source_of(options)
    forwarder = Forwarder(source, store, encoder, collector, say, keeps=spool is not None, drain=options.drain)

    left = f", {spool.found} bytes wait" if spool is not None and spool.found else ""
    say(f"ready, forwards {source.name} to {address.url}{left}")
    notify("READY=1")
    counts = forwarder.run(lambda: signals.stopped, signals.wake, lambda: notify("WATCHDOG=1"))
    notify("STOPPING=1")
    lost = ", ".join(f"{count} {reason.removeprefix('forward: ')}" for reason, count in counts.lost.items())
    waits = f", {counts.waiting} bytes wait in {shown(options.spool)}" if spool is not None and counts.waiting else ""
    say(f"{counts.delivered} events forwarded, {sum(counts.lost.values())} lost{f' ({lost})' if lost else ''}{waits}")
    store.close()
    return EXIT_FAILED if counts.lost.get(UNDELIVERED) else EXIT_OK


class _Signals:
    """The first SIGINT or SIGTERM stops; a second one kills, as usual.

    Attributes:
        stopped: Whether one has come.
        wake: A descriptor that becomes readable then.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.wake, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, signal.SIG_DFL)
        self.stopped = True


def _keep_rights(_directory: int | None) -> None:
    return None


def _address_of(options: argparse.Namespace) -> Address:
    from netmon.forward.settings import endpoint_of, parse_address

    url = options.to or endpoint_of(os.environ)
    if not url:
        raise flag_error("to", "is missing; give the URL of a collector, like https://collector.example:4318")
    try:
        return parse_address(url)
    except ValueError as error:
        raise flag_error("to", str(error)) from None


def _compression_of(environment: Mapping[str, str]) -> str:
    from netmon.forward.settings import variable

    return "none" if variable(environment, "COMPRESSION") == "none" else "gzip"


def _timeout_of(environment: Mapping[str, str]) -> float:
    from netmon.forward.settings import variable

    text = variable(environment, "TIMEOUT")  # milliseconds
    return int(text) / 1000 if text.isascii() and text.isdigit() and int(text) else 10.0


def _tls_of(options: argparse.Namespace) -> Tls:
    from netmon.forward.settings import Tls, variable

    certificate = options.client_cert or variable(os.environ, "CLIENT_CERTIFICATE")
    key = options.client_key or variable(os.environ, "CLIENT_KEY")
    if key and not certificate:
        raise flag_error("client_key", "needs --client-cert")
    return Tls(options.ca or variable(os.environ, "CERTIFICATE"), certificate, key)


def _read_headers(path: str | None) -> dict[str, str]:
    """Return the headers of the environment, and those of a file. Raises NetmonError, which shows no value."""
    from netmon.forward.settings import check_headers, parse_header_lines, parse_pairs, variable

    where = "OTEL_EXPORTER_OTLP_HEADERS"
    try:
        headers = parse_pairs(variable(os.environ, "HEADERS"), "it")
        check_headers(headers)
        if path is not None:
            where = shown(path)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
            with open(fd, "rb") as file:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise ValueError("is no regular file")
                data = file.read(MAX_HEADERS_FILE + 1)
            if len(data) > MAX_HEADERS_FILE:
                raise ValueError(f"is larger than {MAX_HEADERS_FILE >> 10} KiB")
            headers |= check_headers(parse_header_lines(data.decode()))
    except UnicodeDecodeError:
        raise NetmonError(f"{where}: is no text in UTF-8") from None
    except ValueError as error:
        raise NetmonError(f"{where}: {error}") from None
    except OSError as error:
        raise NetmonError(f"{where}: {error.strerror}") from None
    return headers


def _resource_of(options: argparse.Namespace) -> dict[str, str]:
    from netmon.forward.settings import parse_pairs

    resource = {}
    try:
        resource = parse_pairs(os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""), "OTEL_RESOURCE_ATTRIBUTES")
    except ValueError as error:
        raise NetmonError(str(error)) from None
    if name := os.environ.get("OTEL_SERVICE_NAME"):
        resource["service.name"] = name
    for text in options.resource:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise flag_error("resource", f"{shown(text)}: write it like host.name=node-7")
        resource[key] = value
    return resource


def _user_of(options: argparse.Namespace) -> User | None:
    """Return the user to become. Raises ConfigError."""
    if options.user is None and (os.geteuid() != 0 or not options.confine):
        return None
    from netmon.cli.run import user_of

    options.user = options.user or FORWARD_USER
    return user_of(options)


def _source_of(options: argparse.Namespace) -> Source:
    from netmon.forward.source import SocketSource, Source

    kind, _, path = options.source.partition(":")
    if options.source == "-":
        return Source("standard input", STDIN_FILENO)
    if kind != "unix" or not path:
        raise flag_error("--from", f"{shown(options.source)} is no source; give unix:PATH, or - for standard input")
    return SocketSource(path)

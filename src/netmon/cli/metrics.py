"""`netmon metrics`: the metrics of a netmon that runs, for Prometheus.

It is a process of its own, which needs no rights but to connect to the control socket: netmon itself has no network.
"""

from __future__ import annotations

import argparse
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_OK
from netmon.cli.console import describe, say, show_lines
from netmon.cli.flag_names import flag_error
from netmon.cli.flags import add_socket_flag, socket_of
from netmon.errors import NetmonError, shown

if TYPE_CHECKING:
    from types import FrameType

MODE = 0o644  # of the text file: node_exporter has another user


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "metrics",
        help="print the metrics of a netmon that runs, or serve them to Prometheus",
        description="Ask a netmon that runs, the service or one with --control, for its metrics, and print them in "
        "Prometheus's text format. Connections are counted with netmon run --metrics.",
    )
    add_socket_flag(parser)
    to = parser.add_mutually_exclusive_group()
    to.add_argument(
        "--textfile", metavar="FILE", help="write them to this file, which is replaced at once, for node_exporter"
    )
    to.add_argument(
        "--listen",
        type=_address,
        metavar="ADDRESS:PORT",
        help="serve them by HTTP at /metrics, and probes at /live and /ready, until a signal",
    )
    parser.set_defaults(command=metrics)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (colon and host and port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no address and port; write it like 127.0.0.1:9464")
    return host, int(port)


def metrics(options: argparse.Namespace) -> int:
    """Print, write or serve the metrics. Raises ConfigError, NetmonError."""
    path = socket_of(options)
    if options.listen is not None:
        return _serve(path, *options.listen)
    text = read_metrics(path)
    if options.textfile is None:
        show_lines([text])
    else:
        try:
            replace_file(options.textfile, text)
        except OSError as error:
            raise NetmonError(f"{shown(options.textfile)}: {error.strerror or error}") from None
    return EXIT_OK


def read_metrics(path: str) -> str:
    """Return the metrics of the netmon that serves a socket. Raises NetmonError."""
    from netmon.control.metrics import expose
    from netmon.control.protocol import ask

    answer = ask(path, "status")
    try:
        return expose(answer)
    except (KeyError, TypeError, ValueError, AttributeError):
        version = shown(str(answer.get("version")))
        raise NetmonError(f"that netmon is of another version ({version}); use its own netmon metrics") from None


def replace_file(path: str, text: str) -> None:
    """Write a file anew: readers find the old one or the new one, never a part. Raises OSError."""
    beside = f"{path}.{os.getpid()}.tmp"  # node_exporter reads files that end with .prom alone
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    try:
        with open(fd, "w") as file:
            file.write(text)
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def _serve(path: str, host: str, port: int) -> int:
    from netmon.control.http import MetricsServer

    try:
        server = MetricsServer((host, port), path, read_metrics)
    except OSError as error:
        raise flag_error("listen", f"{host}:{port}: {describe(error)}") from None

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(EXIT_OK)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    say(f"metrics are at {server.url}")
    with server:
        server.serve_forever()
    return EXIT_OK

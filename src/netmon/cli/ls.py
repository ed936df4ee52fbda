"""`netmon ls`: lists the TCP connections that are open now."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_OK
from netmon.cli.console import describe, flush_results, say, show_lines
from netmon.cli.flags import add_ls_flags, config_of, flag_error
from netmon.errors import shown
from netmon.layout import Direction
from netmon.nearest import remedy
from netmon.schemas import SCHEMAS

if TYPE_CHECKING:
    from netmon.decode.known_process import KnownProcess
    from netmon.decode.raw_event import RawEvent
    from netmon.kernel.sock_diag import Seen
    from netmon.terminal.view import View

STDOUT_FILENO = 1
COLUMNS = (
    "process.filename,process.pid,network_event.direction,network_event.daddr,network_event.dport,network_event.state,"
    "network_event.bytes_sent,network_event.bytes_received,network_event.rtt_us"
)
# The flags that add keys, and choose no connections.
REPORTS = ("parent", "context", "workload")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "ls",
        help="list the connections that are open now, with the process that holds each",
        description="List the TCP connections that are open now, and exit: those of all processes and network "
        "namespaces of this host. On a terminal each is a line for people; in a pipe or file each is a line of JSON. "
        "Nothing is attached to the kernel's functions. A process that holds a connection together with N others is "
        "shown as name[pid]+N. Without filters a message at the end says how many sockets of this network namespace "
        "belong to no process.",
    )
    parser.set_defaults(command=ls)
    add_ls_flags(parser, SORT_KEYS, REPORTS)


def ls(options: argparse.Namespace) -> int:
    """List what is open. Raises ConfigError, OutputError, another NetmonError."""
    view = view_of(options, on_terminal=os.isatty(STDOUT_FILENO))
    order = _order_of(options)
    reports = {name: getattr(options, name) for name in REPORTS}
    # Without these flags, which alone make no configuration.
    config = config_of(argparse.Namespace(**{**vars(options), **dict.fromkeys(REPORTS)}))
    from netmon.listing import list_open

    before = _read_sockets() if config is None else None
    found = list_open(config, **reports, any_kernel=options.any_kernel)
    remark = _ownerless(before, found) if before is not None else ""
    lines = (event.json() for event in order(list(found.values())))  # long: never all at once
    show_lines(lines if view is None else view.lines(lines))
    if remark:
        flush_results()  # the message comes last
        say(remark)
    return EXIT_OK


def view_of(options: argparse.Namespace, *, on_terminal: bool) -> View | None:
    """Return the view that the flags ask for, and whether it is for a terminal; None for JSON as it is.

    Raises ConfigError.
    """
    if not on_terminal and options.format is options.fields is options.template is None:
        return None
    from netmon.cli.views import choose_format, field_view, is_ascii_only, is_coloured, schema_view, terminal_width

    name = choose_format(options, on_terminal=on_terminal)
    if name == "json" and options.fields is None:
        return None
    coloured = is_coloured(options, os.environ, on_terminal=on_terminal)
    ascii_only = is_ascii_only()
    if name in SCHEMAS:
        return schema_view(name)
    if name != "line":
        return field_view(name, options, COLUMNS, coloured=coloured, ascii_only=ascii_only)
    from netmon.terminal.list_view import ListView
    from netmon.users import Users

    width = terminal_width(STDOUT_FILENO) if on_terminal else None
    users = Users(ascii_only=ascii_only)
    return ListView(users.name, width=width, coloured=coloured, ascii_only=ascii_only)


def _read_sockets() -> Seen | None:
    """Return the sockets of this network namespace; None where the kernel cannot tell them."""
    from netmon.kernel.sock_diag import read_sockets

    try:
        return read_sockets()
    except OSError as error:
        say(f"sockets that belong to no process are not counted: sock_diag: {describe(error)}")
        return None


def _ownerless(before: Seen, found: dict[int, RawEvent]) -> str:
    """Return how many sockets belong to no process, in words."""
    from netmon.kernel.sock_diag import count_ownerless

    after = _read_sockets()
    return count_ownerless(before, found, after).describe() if after is not None else ""


@lru_cache(maxsize=1 << 16)
def _fields(process: KnownProcess) -> dict[str, Any]:
    return process.fields


def _of_process(key: str) -> Callable[[RawEvent], Any]:
    return lambda event: _fields(event.process)[key]


def _of_connection(*keys: str) -> Callable[[RawEvent], Any]:
    """Return what sums up some details; None where one is not known."""

    def value(event: RawEvent) -> Any:
        values = [event.details.get(key) for key in keys]
        return None if None in values else values[0] if len(values) == 1 else sum(values)

    return value


def _port(event: RawEvent) -> int:
    """Return the server's port: the peer's, or this host's where the peer has connected."""
    return event.sport if event.details["direction"] == Direction.INGRESS.name.lower() else event.dport


# By the key: what of a connection is compared, and whether the largest comes first.
SORT_KEYS: dict[str, tuple[Callable[[RawEvent], Any], bool]] = {
    "pid": (lambda event: event.process.pid, False),
    "name": (_of_process("filename"), False),
    "uid": (_of_process("uid"), False),
    "peer": (lambda event: event.addresses[len(event.addresses) // 2 :], False),
    "port": (_port, False),
    "state": (_of_connection("state"), False),
    "bytes": (_of_connection("bytes_sent", "bytes_received"), True),
    "sent": (_of_connection("bytes_sent"), True),
    "received": (_of_connection("bytes_received"), True),
    "resent": (_of_connection("segments_retransmitted"), True),
    "rtt": (_of_connection("rtt_us"), True),
    "age": (_of_connection("duration_us"), True),
    "idle": (_of_connection("idle_ms"), True),
    "holders": (_of_connection("holders"), True),
}


def _order_of(options: argparse.Namespace) -> Callable[[list[RawEvent]], Sequence[RawEvent]]:
    """Return what brings connections into order. Raises ConfigError."""
    if options.sort is None:
        return (lambda events: events[::-1]) if options.reverse else (lambda events: events)
    if options.sort not in SORT_KEYS:
        meant = remedy(options.sort, SORT_KEYS, f"give one of {', '.join(SORT_KEYS)}", cutoff=0.5)
        raise flag_error("sort", f"{shown(options.sort)} is nothing to sort by; {meant}")
    value, largest_first = SORT_KEYS[options.sort]
    return lambda events: order_by(events, value, largest_first=largest_first != options.reverse)


def order_by(
    events: list[RawEvent], value: Callable[[RawEvent], Any], *, largest_first: bool = False
) -> Sequence[RawEvent]:
    """Return events by a value; those whose value is not known come last."""
    known = [event for event in events if value(event) is not None]
    unknown = [event for event in events if value(event) is None]
    return sorted(known, key=value, reverse=largest_first) + unknown

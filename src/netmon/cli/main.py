"""The netmon command: parses, calls, reports, and maps errors to exit codes.

Standard output carries results only (events, schemas, the check's table); everything else goes to standard error.
Exit codes: 0 fine, 1 failed while running, 2 bad usage or configuration. A command imports what it needs itself:
start-up is felt.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from netmon import __version__
from netmon.cli.console import say
from netmon.cli.flags import duration, size
from netmon.errors import ConfigError, NetmonError

HELP_WIDTH = 80

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    if sys.stdout is None:
        say("standard output is closed")
        return EXIT_FAILED
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except OSError as error:  # of standard output: commands have dealt with all else
        # Python must not try to write what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return (
            EXIT_OK if isinstance(error, BrokenPipeError) else _fail(f"standard output: {error.strerror}", EXIT_FAILED)
        )
    return code


def _dispatch(arguments: Sequence[str] | None) -> int:
    try:
        options = _parser().parse_args(arguments)
        return int(options.command(options))
    except SystemExit as end:  # argparse's: --help, --version, bad usage
        return int(end.code or 0)
    except ConfigError as error:
        return _fail(error, EXIT_USAGE)
    except NetmonError as error:
        return _fail(error, EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _fail(error: object, code: int) -> int:
    say(error)
    return code


def _run(options: argparse.Namespace) -> int:
    from netmon.cli.run import run

    options.any_kernel = _any_kernel(options)
    run(options)
    return EXIT_OK


def _any_kernel(options: argparse.Namespace) -> bool:
    return options.any_kernel or os.environ.get("NETMON_ANY_KERNEL") == "1"


def _check(options: argparse.Namespace) -> int:
    from netmon.kernel.requirements import check_host

    needs = check_host(any_kernel=_any_kernel(options))
    for need in needs:
        print(f"{'ok' if need.ok else 'FAIL':<5}{need.name}: {need.detail}")
        if not need.ok and need.remedy:
            print(f"     {need.remedy}")
    return EXIT_OK if all(need.ok for need in needs) else EXIT_FAILED


def _validate(options: argparse.Namespace) -> int:
    from netmon.config import Config

    Config.from_yaml(options.file)
    say(f"{options.file} is valid")
    return EXIT_OK


def _schema(options: argparse.Namespace) -> int:
    import json

    from netmon.config import config_schema
    from netmon.events import event_schema

    schema = event_schema() if options.of == "event" else config_schema()
    print(json.dumps(schema, indent=2))
    return EXIT_OK


class _Parser(argparse.ArgumentParser):
    """One with our choices, which its subparsers inherit."""

    def __init__(self, **options: Any) -> None:
        # argparse makes a formatter for each flag, and asks shutil, which is slow to import, how wide a terminal is.
        formatter = partial(argparse.HelpFormatter, width=HELP_WIDTH)
        super().__init__(formatter_class=formatter, allow_abbrev=False, **options)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="netmon",
        description="Report each TCP connection on this host with the process behind it, as JSON.",
    )
    parser.add_argument("--version", action="version", version=f"netmon {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    check = commands.add_parser("check", help="say whether this host can run netmon, and what it lacks")
    check.add_argument("--any-kernel", action="store_true", help="accept kernels older than 6.2")
    check.set_defaults(command=_check)
    validate = commands.add_parser("validate", help="check a configuration file")
    validate.add_argument("file", metavar="FILE")
    validate.set_defaults(command=_validate)
    schema = commands.add_parser("schema", help="print the JSON Schema of the events or of the configuration")
    schema.add_argument("of", choices=("event", "config"))
    schema.set_defaults(command=_schema)
    return parser


def _add_run(commands: argparse._SubParsersAction[_Parser]) -> None:
    run = commands.add_parser(
        "run",
        help="watch connections; one JSON event a line on standard output",
        description="Watch TCP connections until SIGINT or SIGTERM: one JSON event a line on standard output. "
        "Without --config the flags below say what to report; without those, everything.",
    )
    run.set_defaults(command=_run)
    run.add_argument("--config", metavar="FILE", help="YAML configuration (docs/config.md)")
    run.add_argument(
        "--any-kernel",
        action="store_true",
        help="try on a kernel older than 6.2, too (or set NETMON_ANY_KERNEL=1)",
    )
    run.add_argument(
        "--aggregate",
        type=duration,
        metavar="PERIOD",
        help="report sums by process, peer, port and direction each PERIOD (10s, 5m), not each connection",
    )
    run.add_argument(
        "--no-lost-events", dest="lost_events", action="store_false", help="no LostEvents among the events"
    )
    run.add_argument(
        "--ring-size",
        type=size,
        metavar="SIZE",
        help="of the buffer between kernel and reader, a power of two (default: 4M)",
    )
    run.add_argument(
        "--batch-delay",
        type=duration,
        metavar="TIME",
        help="how long a first event waits for others to be read with it (default: 80ms)",
    )
    run.add_argument("--existing", action="store_true", help="report connections that are open at the start, too")
    run.add_argument(
        "--outcome", action="store_true", help="report a request when it has succeeded or failed, and why it failed"
    )
    run.add_argument(
        "--statistics", action="store_true", help="closes tell duration, bytes, retransmits and what ended them"
    )
    run.add_argument(
        "--opener",
        action="store_true",
        help="closes tell the process that opened the connection, if it was another one",
    )
    run.add_argument("--parent", action="store_true", help="events tell the process's parent, too")
    run.add_argument(
        "--context", action="store_true", help="events tell network namespace, interface, mark and the process's cgroup"
    )
    direction = run.add_argument_group("direction", "both when none is given")
    direction.add_argument("--ingress", action="store_true", help="accepted connections")
    direction.add_argument("--egress", action="store_true", help="connections that processes here ask for")
    address = run.add_argument_group(
        "addresses",
        "each may be repeated; src is this host's end, dst the peer's, either matches; "
        "a family (IPv4, IPv6) without any is not filtered",
    )
    address.add_argument("--src-ip", action="append", default=[], metavar="CIDR")
    address.add_argument("--dst-ip", action="append", default=[], metavar="CIDR")
    address.add_argument("--deny-ip", action="store_true", help="report all but these")
    port = run.add_argument_group("ports", "each may be repeated; a range is like 8000-8999; src, dst as for addresses")
    port.add_argument("--src-port", action="append", default=[], metavar="PORT")
    port.add_argument("--dst-port", action="append", default=[], metavar="PORT")
    port.add_argument("--deny-port", action="store_true", help="report all but these")
    netns = run.add_argument_group("network namespaces", "of the connections' sockets")
    netns.add_argument(
        "--netns", action="append", default=[], help="an inode number or a path, like /run/netns/NAME; may be repeated"
    )
    netns.add_argument("--deny-netns", action="store_true", help="report all but these")
    process = run.add_argument_group(
        "processes",
        "each may be repeated; one uid, one euid, one auid, one of name, prefix, path, one cgroup and one container "
        "id must match",
    )
    for name in ("uid", "euid", "auid"):
        process.add_argument(f"--{name}", action="append", type=int, default=[], metavar="ID")
    process.add_argument("--name", action="append", default=[], help="the executable's file name")
    process.add_argument("--prefix", action="append", default=[], help="how its path begins")
    process.add_argument("--path", action="append", default=[], help="its full path")
    process.add_argument("--cgroup", action="append", default=[], metavar="PATH", help="its cgroup, or one around it")
    process.add_argument("--container-id", action="append", default=[], metavar="ID", help="64 digits, or the first 12")
    process.add_argument("--deny-process", action="store_true", help="report all but these")

"""The netmon command: parses, calls, reports, and maps errors to exit codes.

Standard output carries results only (events, schemas, the check's table); everything else goes to standard error.
Exit codes: 0 fine, 1 failed while running, 2 bad usage or configuration. A command imports what it needs itself:
start-up is felt.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from netmon import __version__
from netmon.errors import ConfigError, NetmonError

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.monitor import Monitor
    from netmon.probes import Losses

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

# Of `netmon run`: what a configuration file would say.
FLAGS = (
    *("ingress", "egress", "src_ip", "dst_ip", "deny_ip"),
    *("uid", "euid", "auid", "name", "prefix", "path", "deny_process"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    if sys.stdout is None:
        _say("standard output is closed")
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


def _say(text: object) -> None:
    # Without standard error nobody can be told; print() would take standard output instead.
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"netmon: {text}", file=sys.stderr, flush=True)


def _fail(error: object, code: int) -> int:
    for line in str(error).splitlines():
        _say(line)
    return code


def _run(options: argparse.Namespace) -> int:
    stop = _StopOnSignal()
    from netmon.monitor import Monitor

    monitor = Monitor(_config(options), any_kernel=_any_kernel(options))
    stop.stops(monitor)
    with monitor:
        _say("ready")
        count = sum(map(_write, _lines(monitor)))
    _say(_summary(count, monitor.losses))
    return EXIT_OK


def _any_kernel(options: argparse.Namespace) -> bool:
    return options.any_kernel or os.environ.get("NETMON_ANY_KERNEL") == "1"


class _StopOnSignal:
    """From its creation on, the first SIGINT or SIGTERM stops the monitor, even before there is one.

    A second one, should output be stuck, kills as usual.
    """

    def __init__(self) -> None:
        self._monitor: Monitor | None = None
        self._stopped = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._stopped = True
        if self._monitor is not None:
            self._monitor.stop()

    def stops(self, monitor: Monitor) -> None:
        """Say which monitor there is now."""
        self._monitor = monitor
        if self._stopped:
            monitor.stop()


def _lines(monitor: Monitor) -> Iterator[list[str]]:
    """Yield batches of lines until the monitor is stopped, or nobody reads them any more."""
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)
    while not monitor.stopped:
        yield from monitor.json_lines(timeout=1)
        if any(state & (select.POLLERR | select.POLLHUP) for _, state in reader.poll(0)):
            raise BrokenPipeError


def _write(lines: list[str]) -> int:
    sys.stdout.buffer.write("".join(lines).encode())
    sys.stdout.buffer.flush()
    return len(lines)


def _summary(count: int, losses: Losses) -> str:
    reasons = ", ".join(f"{'at most ' * (name == 'missed')}{value} {name}" for name, value in losses.reasons() if value)
    return f"{count} events, {losses.events} lost" + (f" ({reasons})" if reasons else "")


def _config(options: argparse.Namespace) -> Config | None:
    """Return what to watch; None is everything, for which no models are needed."""
    flags = [name for name in FLAGS if getattr(options, name)]
    if options.config is None:
        return config_from_flags(vars(options)) if flags else None
    if flags:
        raise ConfigError([f"{_flag(flags[0])}: goes into the file that --config names; give one or the other"])
    from netmon.config import Config

    return Config.from_yaml(options.config)


def config_from_flags(options: dict[str, Any]) -> Config:
    """Return the configuration that `netmon run`'s flags describe: as YAML would, under the same checks."""
    from netmon.config import Config

    filters = {family: part for family in ("ipv4_filter", "ipv6_filter") if (part := _ip_filter(options, family))}
    both = options["ingress"] == options["egress"]
    config: dict[str, Any] = {
        direction: {"enabled": True, **filters} for direction in ("ingress", "egress") if both or options[direction]
    }
    process = {key: options[key] for key in ("uid", "euid", "auid") if options[key]}
    binary = {key: options[key] for key in ("name", "prefix", "path") if options[key]}
    if binary:
        process["binary"] = binary
    if process:
        config["process_filter"] = {**process, "deny_list": options["deny_process"]}
    for flag, needed, present in (
        ("deny_ip", "--src-ip or --dst-ip", filters),
        ("deny_process", "--uid, --euid, --auid, --name, --prefix or --path", process),
    ):
        if options[flag] and not present:
            raise ConfigError([f"{_flag(flag)}: denies what {needed} names; give one"])
    try:
        return Config.from_dict(config)
    except ConfigError as error:
        raise ConfigError(_as_flags(error.problems)) from None


def _ip_filter(options: dict[str, Any], family: str) -> dict[str, Any]:
    """Return one family's part of the addresses: a colon tells IPv6."""
    lists = {
        end: [address for address in options[end] if (":" in address) == (family == "ipv6_filter")]
        for end in ("src_ip", "dst_ip")
    }
    present = {end: addresses for end, addresses in lists.items() if addresses}
    return {**present, "deny_list": options["deny_ip"]} if present else {}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _as_flags(problems: Sequence[str]) -> list[str]:
    """Name problems by their flags, once, not by the keys of each direction that they were put under."""
    key = re.compile(r"^configuration: (?:\w+\.)*(\w+)(?:\[\d+\])?: ")
    return list(dict.fromkeys(key.sub(lambda match: f"{_flag(match[1])}: ", problem) for problem in problems))


def _check(options: argparse.Namespace) -> int:
    from netmon.check import check_host

    needs = check_host(any_kernel=_any_kernel(options))
    for need in needs:
        print(f"{'ok' if need.ok else 'FAIL':<5}{need.name}: {need.detail}")
        if not need.ok and need.remedy:
            print(f"     {need.remedy}")
    return EXIT_OK if all(need.ok for need in needs) else EXIT_FAILED


def _validate(options: argparse.Namespace) -> int:
    from netmon.config import Config

    Config.from_yaml(options.file)
    _say(f"{options.file} is valid")
    return EXIT_OK


def _schema(options: argparse.Namespace) -> int:
    import json

    from netmon.config import config_schema
    from netmon.events import event_schema

    schema = event_schema() if options.of == "event" else config_schema()
    print(json.dumps(schema, indent=2))
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    validate.add_argument("file", type=Path, metavar="FILE")
    validate.set_defaults(command=_validate)
    schema = commands.add_parser("schema", help="print the JSON Schema of the events or of the configuration")
    schema.add_argument("of", choices=("event", "config"))
    schema.set_defaults(command=_schema)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        help="watch connections; one JSON event a line on standard output",
        description="Watch TCP connections until SIGINT or SIGTERM: one JSON event a line on standard output. "
        "Without --config the flags below say what to report; without those, everything.",
    )
    run.set_defaults(command=_run)
    run.add_argument("--config", type=Path, metavar="FILE", help="YAML configuration (docs/config.md)")
    run.add_argument(
        "--any-kernel",
        action="store_true",
        help="try on a kernel older than 6.2, too (or set NETMON_ANY_KERNEL=1)",
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
    process = run.add_argument_group(
        "processes", "each may be repeated; one uid, one euid, one auid and one of name, prefix, path must match"
    )
    for name in ("uid", "euid", "auid"):
        process.add_argument(f"--{name}", action="append", type=int, default=[], metavar="ID")
    process.add_argument("--name", action="append", default=[], help="the executable's file name")
    process.add_argument("--prefix", action="append", default=[], help="how its path begins")
    process.add_argument("--path", action="append", default=[], help="its full path")
    process.add_argument("--deny-process", action="store_true", help="report all but these")

"""The flags of netmon's commands, and the configuration that they and a file describe."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from netmon import amounts
from netmon.cli.flag_names import FLAGS, PROCESS_LISTS, flag_of
from netmon.cli.flag_names import FlagError as FlagError
from netmon.cli.flag_names import flag_error as flag_error
from netmon.errors import shorten
from netmon.limits import (
    DEFAULT_BATCH_DELAY,
    DEFAULT_CONTROL,
    DEFAULT_LINE_LIMIT,
    DEFAULT_RECORD_LIMIT,
    DEFAULT_RING_SIZE,
    DEFAULT_TOP_INTERVAL,
    MAX_LINE_LIMIT,
    MINIMUM_KERNEL,
)
from netmon.report import ANCESTORS_HELP, EVENTS, EVENTS_HELP, OPTIONS, PROGRESS_HELP
from netmon.schemas import FORMATS

if TYPE_CHECKING:
    from netmon.config.checked import CheckedConfig

OUTPUT_OF_RUN = (
    "on a terminal a line a connection, with --outcome and --statistics; else JSON, with the events that the flags "
    "ask for (docs/output.md)"
)
# Of commands that nobody looks after while they run.
NO_CONTROL: dict[str, Any] = {"control": None, "control_group": None, "metrics": False}
# The report options that `netmon learn` turns on, and what turning each off does.
LEARNED = {
    "names": "learn addresses alone, not the names that DNS gave for them",
    "workload": "do not tell units and containers apart",
    "existing": "leave out the connections that are already open",
}


FORWARD_SOURCE = "unix:/run/netmon/events.sock"
FORWARD_USER = "nobody"  # whom root becomes
SPOOL_SIZE = 1 << 30  # bytes


class _Values(argparse.Action):
    """Extends a list by the values of a flag, which commas separate, and notes how the flag was spelled."""

    def __init__(self, parse: Callable[[str], Any] = str, **options: Any) -> None:
        super().__init__(default=[], **options)
        self._parse = parse

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        flag = str(option_string)
        items = [item.strip() for item in str(values).split(",")]
        if "" in items:
            parser.error(
                f"{flag}: {shorten(values)} has an empty value; write one, or several with commas between them"
            )
        try:
            parsed = [self._parse(item) for item in items]
        except ValueError as error:
            parser.error(f"{flag}: {error}")
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), *parsed])
        namespace.spelled = {**getattr(namespace, "spelled", {}), self.dest: flag}


class _Switch(argparse.Action):
    """Sets a switch to its constant, and notes that the user has done so: a flag wins over the file."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        _values: str | Sequence[Any] | None,
        _option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, self.const)
        namespace.given = {*getattr(namespace, "given", ()), self.dest}


def _add_switch(to: argparse._ActionsContainer, name: str, help: str, *, default: bool | None = False) -> None:
    """Add a switch: the flag that changes the default, and without a line of help the one that a file may need."""
    on, off = flag_of(name), f"--no-{flag_of(name)[2:]}"
    shown, hidden = (off, on) if default else (on, off)
    to.add_argument(shown, dest=name, action=_Switch, const=not default, default=default, help=help)
    to.add_argument(hidden, dest=name, action=_Switch, const=bool(default), default=default, help=argparse.SUPPRESS)


def _add_list(
    to: argparse._ActionsContainer, *flags: str, metavar: str, help: str, parse: Callable[[str], Any] = str
) -> None:
    """Add a flag with values. flags: what it is called; the last one names it in the configuration."""
    dest = flags[-1][2:].replace("-", "_")
    to.add_argument(*flags, dest=dest, action=_Values, parse=parse, metavar=metavar, help=help)


def _amount(parse: Callable[[str], float]) -> Callable[[str], float]:
    """Return a type for argparse that parses a time or a size."""

    def checked(text: str) -> float:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{shorten(text)} {error}") from None

    return checked


def _output(text: str) -> dict[str, Any]:
    """Return the output that a flag describes."""
    from netmon.config.outputs import parse_output  # seldom needed

    try:
        return parse_output(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{shorten(text)}: {error}") from None


def number(text: str) -> int | str:
    """Return a number if the text is one, as YAML would, else the text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else text


# An address and a port in one: 10.0.0.1:443, [::1]:443.
_WITH_PORT = re.compile(r"(?:([0-9.]+(?:/[0-9]+)?)|\[([0-9a-fA-F:.]+)\]):([0-9]+)")


def _address(flag: str, port_flag: str) -> Callable[[str], str]:
    """Return what parses an address, which is checked later: here a port that is written behind it is noticed."""

    def parse(text: str) -> str:
        if match := _WITH_PORT.fullmatch(text):
            address = match[1] or match[2]
            raise ValueError(f"{shorten(text)} has a port; write {flag} {address} {port_flag} {match[3]}")
        return text

    return parse


def _user_id(text: str) -> int:
    """Return a user's id, given by name or number."""
    return _id(text, "user", "pwd", "getpwnam", "pw_uid")


def _group_id(text: str) -> int:
    """Return a group's id, given by name or number."""
    return _id(text, "group", "grp", "getgrnam", "gr_gid")


def _id(text: str, kind: str, module: str, function: str, field: str) -> int:
    negative = text.removeprefix("-")
    if negative.isascii() and negative.isdigit():
        return int(text[:21])
    from importlib import import_module

    try:
        return int(getattr(getattr(import_module(module), function)(text), field))
    except (KeyError, ValueError):
        raise ValueError(f"{shorten(text)} is no {kind} of this host; give a {kind}'s name or id") from None


def _process_id(text: str) -> int:
    value = number(text.removeprefix("-"))
    if isinstance(value, str):
        raise ValueError(
            f"{shorten(text)} is not a process id, which is a number; pgrep -x NAME prints those of a name"
        )
    return -value if text.startswith("-") else value


def add_run_flags(run: argparse.ArgumentParser) -> None:
    """Add `netmon run`'s flags to its parser."""
    run.add_argument(
        "--config",
        metavar="FILE",
        help="read what to report, and any setting below, from a YAML file with its drop-ins, or from the files of a "
        "directory (netmon help config); a flag wins (or set NETMON_CONFIG)",
    )
    _add_expect_flag(run)
    run.add_argument(
        "--aggregate",
        type=_amount(amounts.period),
        metavar="PERIOD",
        help="each PERIOD (10s, 5m), report aggregates by process, peer, port and direction, not single connections",
    )
    _add_monitor_flags(run)
    output = add_output_flags(run)
    output.add_argument(
        "--output",
        dest="outputs",
        action="append",
        type=_output,
        metavar="OUTPUT",
        help="where to write events, several times for several places: stdout, file:PATH, unix:PATH, "
        "journald or syslog, with settings like ,format=ecs,rotate_size=100M,keep=7 behind it (netmon help outputs)",
    )
    _add_control_flags(run)
    _add_report_flags(run)
    _add_connection_flags(run)
    _add_name_flags(run)
    _add_process_flags(run)


def add_forward_flags(parser: argparse.ArgumentParser) -> None:
    """Add `netmon forward`'s flags to its parser."""
    add = parser.add_argument
    add(
        "--from",
        dest="source",
        metavar="SOURCE",
        default=FORWARD_SOURCE,
        help=f"where events come from: unix:PATH, or - for lines of JSON on standard input ({FORWARD_SOURCE})",
    )
    add("--to", metavar="URL", help="the collector, like https://collector.example:4318")
    add(
        "--headers-file",
        metavar="FILE",
        help="headers of the requests, a line each, like `Authorization: Bearer TOKEN`; read again for each connection",
    )
    add("--ca", metavar="FILE", help="authorities that vouch for the collector, in PEM; without it the system's")
    add("--client-cert", metavar="FILE", help="this side's certificate, in PEM, with its chain")
    add("--client-key", metavar="FILE", help="the key of --client-cert, if it is in a file of its own")
    add("--compression", choices=("gzip", "none"), help="of requests (gzip)")
    add(
        "--timeout",
        type=_amount(amounts.duration),
        metavar="TIME",
        help="how long the collector may take for a step of a request (10s)",
    )
    add(
        "--spool",
        metavar="DIR",
        help="keep events that wait in files of this directory, so that they survive a restart; without it in memory",
    )
    add(
        "--spool-size",
        type=_amount(amounts.size),
        metavar="SIZE",
        default=SPOOL_SIZE,
        help=f"how much may wait in --spool ({amounts.size_text(SPOOL_SIZE)})",
    )
    add(
        "--drain",
        type=_amount(amounts.duration),
        metavar="TIME",
        default=10.0,
        help="at the end, without --spool, give up once the collector has taken nothing for this time (10s)",
    )
    add(
        "--resource",
        action="append",
        metavar="KEY=VALUE",
        default=[],
        help="an attribute of the resource that events come from, like host.name=node-7, several times for several",
    )
    add(
        "--user",
        metavar="USER",
        help=f"become this user (a name or number); root without it becomes {FORWARD_USER}",
    )
    add("--no-confine", dest="confine", action="store_false", help="keep the rights that it was started with")


def add_exec_flags(parser: argparse.ArgumentParser) -> None:
    """Add `netmon exec`'s flags to its parser: those of `netmon run` but what would choose other processes."""
    parser.add_argument("--output", metavar="FILE", help="write events to this file, not to standard error")
    parser.add_argument(
        "--report",
        metavar="FORM",
        help="in place of events, report at the end who connected where, when, how often, what failed and how many "
        "bytes were carried: table, json or markdown; or rules, which expect just that",
    )
    _add_expect_flag(parser, "; the exit code is then 3")
    parser.add_argument("--wait-all", action="store_true", help="wait for the command's descendants, too")
    parser.add_argument("--root", action="store_true", help="under sudo: run the command as root")
    _add_monitor_flags(parser)
    add_output_flags(parser)
    _add_report_flags(parser)
    _add_connection_flags(parser)
    _add_name_flags(parser)
    parser.set_defaults(**NO_CONTROL)
    parser.set_defaults(config=None, aggregate=None, deny_process=False, **{name: [] for name in PROCESS_LISTS})


def add_ls_flags(parser: argparse.ArgumentParser, sort_keys: Iterable[str], reports: Iterable[str]) -> None:
    """Add `netmon ls`'s flags to its parser: those of `netmon run` that choose connections, keys and a format."""
    _add_any_kernel_flag(parser)
    output = add_output_flags(parser, "on a terminal a line a connection; else JSON (docs/output.md)", each=False)
    output.add_argument("--sort", metavar="KEY", help=f"in the order of {', '.join(sort_keys)} (default: pid)")
    output.add_argument("--reverse", action="store_true", help="the other way round")
    for name in reports:
        output.add_argument(flag_of(name), action="store_true", help=OPTIONS[name].help)
    _add_connection_flags(parser)
    _add_process_flags(parser)
    absent: dict[str, object] = {name: None for name in OPTIONS if name not in reports}
    parser.set_defaults(config=None, events=[], failures=False, **absent)


def add_replay_flags(parser: argparse.ArgumentParser) -> None:
    """Add `netmon replay`'s flags to its parser: those of `netmon run` that choose connections and a format."""
    parser.add_argument("--config", metavar="CONFIG", help="write only the events that this configuration lets pass")
    _add_expect_flag(parser)
    add_argv_flag(parser)
    add_output_flags(parser, "on a terminal a line a connection; else JSON: the events that were recorded")
    _add_connection_flags(parser)
    _add_name_flags(parser)
    _add_process_flags(parser)
    parser.set_defaults(events=[], failures=False, aggregate=None, **dict.fromkeys(OPTIONS))


def add_learn_flags(parser: argparse.ArgumentParser) -> None:
    """Add `netmon learn`'s flags to its parser: its own, and those of `netmon run` that choose connections."""
    parser.add_argument(
        "--for",
        dest="seconds",
        type=_amount(amounts.learning),
        metavar="TIME",
        help="how long to watch: 10m, 24h (default: until SIGINT or SIGTERM)",
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        help="learn from a recording (netmon run --record) or lines of JSON, without a kernel; -: standard input",
    )
    parser.add_argument("--output", metavar="FILE", help="write to this file, not to standard output")
    for name, help in LEARNED.items():
        _add_switch(parser, name, help, default=True)
    _add_monitor_flags(parser)
    _add_connection_flags(parser)
    _add_process_flags(parser)
    absent = {name: None for name in OPTIONS if name not in LEARNED}
    parser.set_defaults(config=None, events=[], failures=False, aggregate=None, **absent, **NO_CONTROL)


def _add_expect_flag(to: argparse.ArgumentParser, more: str = "") -> None:
    """Add the flag for an expectation. more: what else it does."""
    to.add_argument(
        "--expect",
        metavar="FILE",
        help=f"report and count what this configuration does not expect, as netmon learn has written it{more}",
    )


def add_top_flags(parser: argparse.ArgumentParser) -> None:
    """Add `netmon top`'s flags to its parser: its own, and those of `netmon run` that choose connections."""
    _add_any_kernel_flag(parser)
    view = parser.add_argument_group("view", "keys change these while it runs")
    view.add_argument(
        "--by",
        metavar="WHAT",
        default="process",
        help="process, tree (processes below their parents, with what their descendants do), peer, port or container "
        "(default: process)",
    )
    view.add_argument(
        "--sort",
        metavar="KEY",
        default="bytes",
        help="bytes, sent, received, connections, failures, open or name: of the last interval first (default: bytes)",
    )
    view.add_argument("--reverse", action="store_true", help="the other way round")
    view.add_argument(
        "--filter",
        metavar="WORDS",
        default="",
        help="rows that have all these words in their texts or in those of their last connections; not those after !",
    )
    view.add_argument(
        "--interval",
        type=_amount(amounts.interval),
        default=DEFAULT_TOP_INTERVAL,
        metavar="TIME",
        help=f"how often to count anew (default: {DEFAULT_TOP_INTERVAL:.0f}s)",
    )
    view.add_argument("--replay", metavar="FILE", help="show a recording (netmon run --record FILE), without a kernel")
    _add_switch(view, "color", "no colours (or set NO_COLOR=1)", default=True)
    scripts = parser.add_argument_group(
        "scripts", "snapshots in place of the view, as in a pipe; textual is not needed"
    )
    scripts.add_argument("--once", dest="count", action="store_const", const=1, help="one snapshot, as -n 1")
    scripts.add_argument("-n", "--count", type=_count, metavar="N", help="so many snapshots, one each interval")
    scripts.add_argument("--format", metavar="FORMAT", help="line or json (default: line on a terminal, else json)")
    scripts.add_argument("--rows", type=_count, metavar="N", help="no more than so many rows (default: all)")
    _add_ring_flag(parser)
    _add_record_flags(parser)
    _add_rights_flags(parser)
    _add_connection_flags(parser)
    _add_process_flags(parser)
    absent: dict[str, object] = dict.fromkeys(OPTIONS)
    parser.set_defaults(config=None, events=[], failures=False, aggregate=None, **absent)


def _count(text: str) -> int:
    """Return a positive number."""
    value = number(text)
    if isinstance(value, str) or value < 1:
        raise argparse.ArgumentTypeError(f"{shorten(text)} is no positive number")
    return value


def _socket_path(text: str) -> str:
    from netmon.config.outputs import check_socket_path  # seldom needed

    try:
        return check_socket_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{shorten(text)} {error}") from None


def _add_control_flags(run: argparse.ArgumentParser) -> None:
    control = run.add_argument_group("looking after it", "docs/operations.md")
    control.add_argument(
        "--control",
        type=_socket_path,
        metavar="SOCKET",
        help=f"serve netmon status, reload and metrics there; they ask {DEFAULT_CONTROL} by default",
    )
    control.add_argument(
        "--control-group",
        metavar="GROUP",
        help="a group whose members may ask for the status and metrics, too, beside root",
    )
    _add_switch(control, "metrics", "count connections for netmon metrics: by result, their times, by executable")


def add_socket_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag of the commands that ask a netmon which runs."""
    parser.add_argument(
        "--control",
        type=_socket_path,
        metavar="SOCKET",
        help=f"the socket that netmon run --control serves (or set NETMON_CONTROL; default: {DEFAULT_CONTROL})",
    )


def socket_of(options: argparse.Namespace) -> str:
    """Return the socket to ask: a flag wins over NETMON_CONTROL."""
    return options.control or os.environ.get("NETMON_CONTROL") or DEFAULT_CONTROL


def _add_any_kernel_flag(run: argparse.ArgumentParser) -> None:
    _add_switch(run, "any_kernel", f"also try kernels older than {MINIMUM_KERNEL} (or set NETMON_ANY_KERNEL=1)")


def add_argv_flag(run: argparse.ArgumentParser) -> None:
    """Add the flag for the arguments of processes as a list."""
    _add_switch(run, "argv", "add the arguments of processes as a list, the first one too (ecs, ocsf, otel have it)")


def _add_monitor_flags(run: argparse.ArgumentParser) -> None:
    """Add the flags that say how events are read, and with which rights."""
    _add_any_kernel_flag(run)
    _add_switch(run, "lost_events", "leave LostEvents out of the output", default=True)
    add_argv_flag(run)
    _add_ring_flag(run)
    run.add_argument(
        "--batch-delay",
        type=_amount(amounts.batch_delay),
        metavar="TIME",
        help="how long the first event of a batch waits for further events "
        f"(default: {DEFAULT_BATCH_DELAY * 1000:.0f}ms)",
    )
    run.add_argument(
        "--line-limit",
        type=_amount(amounts.line_limit),
        metavar="SIZE",
        help="how long a line may be: the texts of processes are cut to it, and the event says so "
        f"(default: {DEFAULT_LINE_LIMIT >> 10}K; at most {MAX_LINE_LIMIT >> 10}K)",
    )
    _add_record_flags(run)
    _add_rights_flags(run)


def _add_ring_flag(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--ring-size",
        type=_amount(amounts.ring_size),
        metavar="SIZE",
        help=f"size of the buffer between kernel and reader, a power of two (default: {DEFAULT_RING_SIZE >> 20}M)",
    )


def _add_record_flags(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--record", metavar="FILE", help="also write the raw records to this new file; `netmon replay` reads it"
    )
    run.add_argument(
        "--record-limit",
        type=amounts.size,
        metavar="SIZE",
        help=f"how large that file may become (default: {DEFAULT_RECORD_LIMIT >> 30}G)",
    )


def _add_rights_flags(run: argparse.ArgumentParser) -> None:
    run.add_argument("--user", metavar="USER", help="become this user, a name or a number, once attached")
    _add_switch(run, "confine", "keep all rights after the start, for debugging (docs/operations.md)", default=True)


def _add_name_flags(run: argparse.ArgumentParser) -> None:
    names = run.add_argument_group(
        "names of peers", "of outgoing connections, as far as DNS has told them; they turn --names on (docs/names.md)"
    )
    _add_list(
        names,
        "--domain",
        metavar="PATTERN",
        help="a name like api.github.com; in place of a label * is any one, ** one or more: '**.github.com'",
    )
    names.add_argument("--deny-domain", action="store_true", help="report connections that do not match")


def _add_report_flags(run: argparse.ArgumentParser) -> None:
    report = run.add_argument_group(
        "report options", "what to report beyond the plain events; --no-NAME turns off what a file turns on"
    )
    for name, option in OPTIONS.items():
        _add_switch(
            report, name, option.help + ("" if option.with_aggregate else " (not with --aggregate)"), default=None
        )
    report.add_argument(
        "--ancestors",
        type=_amount(amounts.ancestors),
        metavar="NUMBER",
        help=ANCESTORS_HELP,
    )
    report.add_argument(
        "--progress",
        type=_amount(amounts.progress),
        metavar="TIME",
        help=f"{PROGRESS_HELP} (not with --aggregate)",
    )
    _add_list(
        report,
        "--events",
        metavar="LIST",
        help=f"{EVENTS_HELP}: some of {', '.join(EVENTS)} (not with --aggregate)",
    )
    report.add_argument(
        "--failures",
        action="store_true",
        help="connection attempts that fail, alone: --egress --outcome --events fail",
    )


def _add_connection_flags(run: argparse.ArgumentParser) -> None:
    direction = run.add_argument_group("directions", "both are reported if neither flag is given")
    direction.add_argument("--ingress", action="store_true", help="connections that processes on this host accept")
    direction.add_argument("--egress", action="store_true", help="connections that processes on this host open")
    address = run.add_argument_group(
        "addresses",
        "LOCAL and SRC are always THIS HOST's end, PEER and DST always the PEER's, for accepted connections, too. A "
        "connection matches if each flag that is given lists it: --local A --peer B is from A to B. IPv6 "
        "connections are left out if only IPv4 addresses are given, and the other way round",
    )
    _add_list(
        address,
        *("--local", "--src-ip"),
        metavar="CIDR",
        parse=_address("--local", "--local-port"),
        help="this host's address: 10.1.2.3, 10.0.0.0/8, ::1",
    )
    _add_list(
        address,
        *("--peer", "--dst-ip"),
        metavar="CIDR",
        parse=_address("--peer", "--peer-port"),
        help="the peer's address",
    )
    address.add_argument("--deny-ip", action="store_true", help="report connections that do not match")
    address.add_argument("-4", "--ipv4", action="store_true", help="IPv4 connections alone")
    address.add_argument("-6", "--ipv6", action="store_true", help="IPv6 connections alone")
    port = run.add_argument_group("ports", "numbers, and ranges like 8000-8999; src and dst as for addresses")
    _add_list(port, "--port", metavar="PORT", parse=number, help="the port of either end")
    _add_list(
        port,
        *("--local-port", "--src-port"),
        metavar="PORT",
        parse=number,
        help="this host's port; of accepted connections, the server's",
    )
    _add_list(port, "--peer-port", "--dst-port", metavar="PORT", parse=number, help="the peer's port")
    port.add_argument("--deny-port", action="store_true", help="report connections that do not match")
    netns = run.add_argument_group("network namespaces")
    _add_list(
        netns,
        "--netns",
        metavar="NETNS",
        parse=number,
        help="the network namespace of the socket: an inode number, or a path like /run/netns/NAME",
    )
    netns.add_argument("--deny-netns", action="store_true", help="report connections that do not match")


def _add_process_flags(run: argparse.ArgumentParser) -> None:
    process = run.add_argument_group(
        "processes",
        "a process matches if it has one of the uids, one of the euids, one of the auids, one of the gids, one of the "
        "names, prefixes or paths, one of the cgroups, and one of the container ids that are given",
    )
    for name, kind in (("uid", "real"), ("euid", "effective"), ("auid", "audit (login)")):
        _add_list(process, f"--{name}", metavar="USER", parse=_user_id, help=f"{kind} user, a name or an id")
    _add_list(process, "--gid", metavar="GROUP", parse=_group_id, help="real group, a name or an id")
    _add_list(
        process,
        "--name",
        metavar="NAME",
        help="file name of the executable, or what the program was called by: a link or a script",
    )
    _add_list(process, "--comm", metavar="NAME", help="the latter alone: the kernel's name of the process")
    _add_list(process, "--prefix", metavar="PATH", help="leading part of the executable's path")
    _add_list(process, "--path", metavar="PATH", help="full path of the executable")
    _add_list(process, "--cgroup", metavar="PATH", help="its cgroup, or one above it")
    _add_list(process, "--container-id", metavar="ID", help="all 64 digits, or at least the first 12")
    _add_list(process, "--pid", metavar="PID", parse=_process_id, help="id of a running process")
    _add_list(
        process,
        "--tree",
        metavar="PID",
        parse=_process_id,
        help="a running process with all that it has started and will start; a process matches if it is one of these, "
        "or has one of the --pid",
    )
    process.add_argument("--deny-process", action="store_true", help="report processes that do not match")


def add_output_flags(
    run: argparse.ArgumentParser, description: str = OUTPUT_OF_RUN, *, each: bool = True
) -> argparse._ArgumentGroup:
    """Add the flags that say how events are written; return their group.

    Args:
        run: The command's parser.
        description: What is written without them.
        each: Whether a line may be an event.
    """
    output = run.add_argument_group("output", description)
    output.add_argument("--format", metavar="FORMAT", help=f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    output.add_argument(
        "--fields",
        metavar="PATHS",
        help="the columns of a table or the keys of JSON, by their paths in the JSON: "
        "process.pid,network_event.daddr (netmon help fields)",
    )
    output.add_argument(
        "--template", metavar="TEXT", help="a line for each event, like '{process.pid} {network_event.daddr}'"
    )
    if each:
        _add_switch(output, "each", "lines: one for each event, not for each connection")
    _add_switch(output, "color", "no colours (or set NO_COLOR=1) on a terminal", default=True)
    return output


def writes_to_stdout(options: argparse.Namespace) -> bool:
    """Return whether standard output is among the outputs of `netmon run`."""
    return options.outputs is None or any(fields["type"] == "stdout" for fields in options.outputs)


def config_of(options: argparse.Namespace) -> CheckedConfig | None:
    """Return the configuration that flags of `netmon run` describe by themselves.

    Args:
        options: The parsed flags.

    Returns:
        The configuration; None without such a flag, which reports everything.

    Raises:
        ConfigError: The flags have problems.
    """
    if not describe_configuration(options):
        return None
    from netmon.cli.flag_config import EVERYTHING, FlagConfig  # a start without such flags needs none of this

    return FlagConfig(vars(options)).over(EVERYTHING)


def describe_configuration(options: argparse.Namespace) -> bool:
    """Return whether a flag of the configuration is given, or a report option is turned off."""
    given = getattr(options, "given", ())
    return any(getattr(options, name, None) or name in given for name in FLAGS)

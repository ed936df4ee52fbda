"""The topics of `netmon help`. What a model, a schema or a table says elsewhere is taken from there."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

WIDTH = 80

FILTERS = """\
Which connections are reported: those that pass every filter that is given. The
filters run in the kernel, when a connection opens; its close follows.

Whose end is whose. In flags, in the configuration and in events alike:
  local, src   THIS HOST's end, also of connections that it accepts
  peer, dst    the PEER's end
So the port of a server on this host is --local-port, or --port.

How flags are combined:
  values of one flag      OR    --peer 10.0.0.0/8,192.168.0.0/16
  flags of another kind   AND   --peer 10.0.0.0/8 --peer-port 443 --uid alice
  from A to B                   --local A --peer B
  all but these                 --deny-ip, --deny-port, --deny-netns,
                                --deny-domain or --deny-process: what the flags
                                of that kind together do not match
  --name, --comm, --prefix, --path: one of them is enough, and so it is of --pid
  and --tree.

Addresses. With IPv4 addresses alone, IPv6 connections are not reported, and the
other way round: give addresses of both families. -4 and -6 leave one family out.
IPv4 addresses in IPv6 sockets (::ffff:10.1.2.3) count as IPv4.

Names. --domain '**.github.com': outgoing connections to a name, as far as DNS
has told it. * stands for one label, ** for one or more. One without a known name
matches nothing. Unlike the other filters it runs in netmon itself.

Directions. --egress: connections that this host opens. --ingress: those that it
accepts. Without either, both. --failures: attempts that fail, alone.

Programs. --name is compared with the file name of the executable, and with what
the program was called by: python3 finds python3.11, nc finds nc.openbsd, and a
script's name its processes, unless env starts it (#!/usr/bin/env). Then netmon
says so when it starts; `netmon exec -- SCRIPT` follows a script in any case.

In a file. `netmon help config` lists the keys. There src_ip and dst_ip of one
filter are alternatives unless it has `match: all`, and a family without a filter
is not filtered. A filter's flags replace that filter of the file, in both
directions."""

EXIT_CODES = {
    "0": "success; check: this host can run netmon",
    "1": "a failure at run time, or the kernel did not run the programs all the time; check: something is missing; "
    "status, reload, metrics: nobody answers; status --live, --ready: it is not; reload: the file is refused",
    "2": "the arguments or the configuration are wrong, or there is no command",
    "3": "with --expect: something was not expected, or events were lost",
    "130": "interrupted by Ctrl-C before it was ready",
}
EXEC_EXIT_CODES = {
    "125": "netmon itself has failed, and the command was not started",
    "126": "the command is not executable",
    "127": "the command is not found",
    "128+n": "signal n has killed the command",
}


def _rows(rows: Iterable[tuple[str, str]], indent: str = "  ") -> Iterator[str]:
    """Yield lines of two columns; the second is wrapped, and begins on a line of its own if the first is long."""
    column = 26
    for left, right in rows:
        lines = textwrap.wrap(right, WIDTH - column) or [""]
        if len(indent + left) >= column:
            yield indent + left
        else:
            lines[0] = f"{indent + left:<{column}}{lines[0]}"
        start = 0 if len(indent + left) >= column else 1
        if start:
            yield lines[0]
        yield from (" " * column + line for line in lines[start:])


def _exit_codes() -> str:
    return "\n".join(
        [
            *_rows(EXIT_CODES.items()),
            "netmon exec returns the command's own exit code, or:",
            *_rows(EXEC_EXIT_CODES.items()),
        ]
    )


def _events() -> str:
    """Describe the types of events, and the events that --events chooses from."""
    from netmon.events import LostEvents, NetworkEvent, NetworkSummary
    from netmon.report import EVENTS

    types = [(model.__name__, _first_line(model)) for model in (NetworkEvent, NetworkSummary, LostEvents)]
    needs = {"": "always", "ingress": "with --ingress", "egress": "with --egress"}
    chosen = [
        (event, f"TcpConnection{event.capitalize()}, {needs.get(needed, f'needs --{needed}')}")
        for event, needed in EVENTS.items()
    ]
    return "\n".join(
        [
            "In a pipe or a file each event is a line of JSON. Its `type`:",
            *_rows(types),
            "Of a NetworkEvent, `network_event.type` says what happened. --events chooses:",
            *_rows(chosen),
            "`netmon help fields` lists the keys, `netmon schema event` is their JSON Schema.",
        ]
    )


def _first_line(model: Any) -> str:
    return str(model.__doc__).partition("\n")[0]


def _fields() -> str:
    """List the keys of events by their paths, with their descriptions."""
    from netmon.terminal.fields import described_paths

    others = {"parent": "with --parent", "opener": "with --opener, in closes by another process"}
    rows = [row for row in described_paths() if row[0].partition(".")[0] not in others]
    rows += [(f"{name}.*", f"The keys of process; {when}.") for name, when in others.items()]
    return "\n".join(_rows(rows, indent=""))


def _config() -> str:
    """List the keys of a configuration file."""
    from netmon.config import config_schema

    schema = config_schema()
    lines = [
        "netmon run --config FILE reads a YAML file; flags win over it. For example:",
        "",
        "  egress:",
        "    enabled: true",
        "    ipv4_filter: {dst_ip: [10.0.0.0/8]}",
        "  process_filter:",
        "    binary: {name: [curl]}",
        "",
        "Drop-ins, netmon.d/*.yaml beside netmon.yaml, are merged into it. A list of",
        "addresses may name a file with one a line: file:/etc/netmon/feeds/drop.txt.",
        "`netmon validate FILE` checks one, with --explain in words. The keys:",
    ]
    return "\n".join([*lines, *_rows(_keys_of(schema, schema))])


def _keys_of(section: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in section["properties"].items():
        yield prefix + key, value.get("description", "")
        reference = value.get("$ref") or next((part["$ref"] for part in value.get("allOf", ()) if "$ref" in part), None)
        if reference:
            yield from _keys_of(schema["$defs"][reference.rpartition("/")[2]], schema, f"{prefix}{key}.")


OUTPUTS = """\
--output says where events go; it may be given several times, and standard output
is one of these only if it is named. In a file: run: {outputs: [...]}.

  stdout                        standard output, in the form that --format names
  file:PATH                     a file, which is appended to
  unix:PATH                     a socket that local readers connect to
  journald                      entries of the journal, each key a field
  syslog[:PATH]                 messages of RFC 5424 to a local syslog, /dev/log

Settings follow, separated by commas:

  format=json|ecs|ocsf|otel     how events are written to a file or socket
  events=close+fail+lost        write only these events
  rotate_size=100M              rotate a file before it is larger
  rotate_every=24h              rotate a file each period
  keep=7, compress=gzip         how many old files to keep, and how
  mode=0660, group=adm          who may connect to a socket

  netmon run --output file:/var/log/netmon.jsonl,rotate_size=100M,keep=7 \\
             --output unix:/run/netmon.sock,format=ecs

To a collector: netmon forward, a process of its own, reads the socket.

SIGUSR1 opens files by their names again, for logrotate. An output that is stuck,
full or broken loses events alone; LostEvents and the summary count them by name."""

RULES = """\
Rules, in a file, name the events that are worth knowing; with rules, only those
are reported:

  rules:
  - rule: shell-connects-out
    when: binary_name in ["bash", "sh"] AND NOT ip_dst == "10.0.0.0/8"
    severity: high

  ==  !=  in [...]  not in [...]      one value, or one of several
  <  <=  >  >=  port_dst == 8000-8999 numbers, sizes (64K), durations (20ms)
  like "/usr/*/curl"                  * within a part of a path, ** across
  NOT  AND  OR  ( )                   in this order

What an event does not have is neither true nor false: NOT of it is neither.
`netmon rules check FILE` says what is wrong with rules, `netmon rules explain`
why one matches. docs/rules.md has all. The attributes:"""


def _rules() -> str:
    """List what rules can compare."""
    from netmon.rules.attributes import ATTRIBUTES

    def needs(options: tuple[str, ...]) -> str:
        return f" (needs {' or '.join(options)})" if options else ""

    rows = [(name, f"{attribute.help}{needs(attribute.needs)}.") for name, attribute in ATTRIBUTES.items()]
    return "\n".join([RULES, *_rows(rows)])


TOPICS: dict[str, tuple[str, Callable[[], str]]] = {
    "filters": ("which connections are reported, and how flags are combined", lambda: FILTERS),
    "events": ("the types of events", _events),
    "fields": ("the keys of events, for --fields and --template", _fields),
    "config": ("the keys of a configuration file", _config),
    "outputs": ("where events go, several places at once", lambda: OUTPUTS),
    "rules": ("which events are worth knowing, by name", _rules),
    "exit-codes": ("what the exit code says", _exit_codes),
}

"""Recordings on the command line: which file, and which of its events."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from netmon.cli import STANDARD_INPUT
from netmon.cli.flag_names import COMMAND_LINE, FlagError, flag_error
from netmon.cli.flags import config_of, describe_configuration
from netmon.errors import ArgumentError, DecodeError, NetmonError, Problem

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.config.checked import CheckedConfig
    from netmon.monitor import Monitor
    from netmon.recording.form import Header

    Passes = Callable[[dict[str, Any]], bool]


def open_recording(path: str, *, argv: bool = False) -> tuple[Monitor, Header]:
    """Return a monitor that replays a recording, not started, and the recording's header.

    Args:
        path: Of the recording.
        argv: Whether its events have the arguments of processes as a list, too.

    Raises:
        ConfigError: The file cannot be read: another one was meant.
        DecodeError: It is no recording, or damaged.
    """
    from netmon.monitor import Monitor

    try:
        monitor = Monitor.replay(path, argv=argv)
    except DecodeError:
        raise
    except NetmonError as error:
        raise FlagError([Problem(COMMAND_LINE, None, (), None, str(error))]) from None
    assert monitor.recording is not None
    return monitor, monitor.recording.header


def chosen_events(options: argparse.Namespace, header: Header) -> Passes | None:
    """Return what tells whether an event, a dict, is chosen by the flags or by a file; None: all are.

    Raises ConfigError.
    """
    if not describe_configuration(options):
        if options.config is None:
            return None
        from netmon.config import Config

        return _filter(Config.from_yaml(options.config), header, "config")
    if options.config is not None:
        raise flag_error("config", "cannot be combined with flags that choose events; write them into the file")
    for name, reason in (
        ("tree", "events do not say who descends from whom; give the --pid of each process"),
        ("--comm", "events do not say what a process calls itself; give --name, which is the executable's"),
    ):
        if getattr(options, name.removeprefix("--")):
            raise flag_error(name, reason)
    if paths := [one for one in options.netns if isinstance(one, str)]:
        raise flag_error("netns", f"{paths[0]!r} is a path of this host; give the number that the events have")
    config = config_of(options)
    assert config is not None
    to_blame = (name for name in ("netns", "cgroup", "domain", "deny_domain") if getattr(options, name, None))
    return _filter(_without_comm(config), header, next(to_blame, "cgroup"))


def _without_comm(config: CheckedConfig) -> CheckedConfig:
    """Leave out what --name looks for beyond the names of executables."""
    process = config.process_filter
    if process is None or process.binary is None:
        return config
    return config._replace(process_filter=process._replace(binary=process.binary._replace(comm=None)))


def _filter(config: Config | CheckedConfig, header: Header, flag: str) -> Passes:
    """Return a filter. flag: what is to blame if the events do not say what it takes."""
    from netmon.filters.events import EventFilter

    try:
        report = header.report
        return EventFilter(config, with_context=report.context, with_names=report.names or report.sni).passes
    except ArgumentError as error:
        raise flag_error(flag, error.reason) from None


class Recorded(NamedTuple):
    """Events of a recording, or of lines of JSON.

    Attributes:
        events: As dicts with the keys of the JSON.
        directions: Those that were watched; both if that is not known.
    """

    events: Iterator[dict[str, Any]]
    directions: tuple[str, ...] = ("ingress", "egress")


def read_recorded(path: str) -> Recorded:
    """Return the events of a recording or of lines of JSON. path: `-` is standard input.

    Raises DecodeError, NetmonError, OSError; so does reading the events.
    """
    from netmon.files import read_events

    if path == STANDARD_INPUT:
        return Recorded(event.model_dump() for event in read_events(sys.stdin.buffer))
    if not _is_recording(path):
        return Recorded(event.model_dump() for event in read_events(path))
    from netmon.monitor import Monitor

    monitor = Monitor.replay(path)
    assert monitor.recording is not None
    watched = monitor.recording.filters.watched
    return Recorded(_events_of(monitor), watched.directions)


def _events_of(monitor: Monitor) -> Iterator[dict[str, Any]]:
    from orjson import loads

    with monitor:
        for lines in monitor.json_lines():
            yield from map(loads, lines)


def _is_recording(path: str) -> bool:
    from netmon.recording.form import MAGIC

    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC

"""Which form a run's events are written in: the flags, standard output and the environment decide."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from netmon.cli.console import say
from netmon.cli.flags import flag_error
from netmon.errors import shown
from netmon.nearest import remedy
from netmon.schemas import FORMATS, SCHEMAS

if TYPE_CHECKING:
    from netmon.filters.compiled import Watched
    from netmon.schemas.host import Host
    from netmon.terminal.view import View

STDOUT_FILENO = 1


def prepare_view(
    options: argparse.Namespace, *, on_terminal: bool, fd: int = STDOUT_FILENO
) -> Callable[[Watched], View | None]:
    """Check the flags that say how events are written, and turn on what a format needs.

    Args:
        options: The parsed flags of `netmon run`. Report options may be added.
        on_terminal: Whether events are written to a terminal.
        fd: The descriptor that they are written to.

    Returns:
        A function that takes what is watched, and returns the view; None for JSON as it is.

    Raises:
        ConfigError: The flags have problems.
    """
    name = choose_format(options, on_terminal=on_terminal)
    if name in ("line", "table"):
        add_reports(options)
    if name in SCHEMAS:
        options.argv = True
    if name == "json" and options.fields is None:
        return lambda _watched: None

    def make(watched: Watched) -> View:
        view = make_view(name, options, watched, on_terminal=on_terminal, fd=fd)
        if name != "line" and options.aggregate is None:
            _say_what_is_missing(name, options, watched)
        return view

    return make


def _say_what_is_missing(name: str, options: argparse.Namespace, watched: Watched) -> None:
    """Say which of the fields that the user has named stay empty, and what they need."""
    from netmon.terminal.field_views import parse_template
    from netmon.terminal.fields import parse_fields
    from netmon.terminal.needs import missing_for

    if name == "template":
        paths = [part for part in parse_template(options.template) if isinstance(part, tuple)]
    else:
        paths = parse_fields(options.fields) if options.fields is not None else []
    for path in paths:
        if missing := missing_for(path, watched.report):
            say(f"{'.'.join(path)} is in no event: it needs {missing}")


def choose_format(options: argparse.Namespace, *, on_terminal: bool) -> str:
    """Return the format that the flags ask for: one of FORMATS.

    Args:
        options: The parsed flags of `netmon run`.
        on_terminal: Whether standard output is a terminal.

    Raises:
        ConfigError: The flags have problems.
    """
    name: str | None = options.format
    if name is not None and name not in FORMATS:
        otherwise = f"the formats are {', '.join(FORMATS)}"
        raise flag_error("format", f"{shown(name)} is no format; {remedy(name, FORMATS, otherwise)}")
    if name is None:
        if options.template is not None:
            name = "template"
        elif on_terminal:
            name = "table" if options.fields is not None else "line"
        else:
            name = "json"
    if name == "template" and options.template is None:
        raise flag_error("format", "template needs --template; write it like '{process.pid} {network_event.daddr}'")
    if name != "template" and options.template is not None:
        raise flag_error("template", f"cannot be combined with --format {name}; leave one or the other out")
    if name not in ("json", "table") and options.fields is not None:
        reason = "names its fields itself" if name == "template" else "has fields of its own"
        raise flag_error("fields", f"--format {name} {reason}; use --format table, or leave --fields out")
    return name


def add_reports(options: argparse.Namespace) -> None:
    """Turn on the report options that lines for a person are made of, unless something else says what to report."""
    if options.config is None and options.aggregate is None:
        if options.statistics is None:
            options.statistics = True
        if options.outcome is None:
            options.outcome = options.egress or not options.ingress


def make_view(
    name: str,
    options: argparse.Namespace,
    watched: Watched,
    *,
    on_terminal: bool,
    fd: int = STDOUT_FILENO,
    host: Host | None = None,
) -> View:
    """Return the view of a format.

    Args:
        name: The format, as of choose_format().
        options: The parsed flags of `netmon run`.
        watched: What is reported.
        on_terminal: Whether events are written to a terminal.
        fd: The descriptor that they are written to.
        host: Where the events come from; None: this host.

    Raises:
        ConfigError: A field does not exist.
    """
    if name in SCHEMAS:
        return schema_view(name, host)
    coloured = is_coloured(options, os.environ, on_terminal=on_terminal)
    ascii_only = is_ascii_only()
    if name == "line":
        from netmon.terminal.line_view import LineView
        from netmon.users import Users

        return LineView(
            Users(ascii_only=ascii_only).name,
            width=(lambda: terminal_width(fd)) if on_terminal else lambda: None,
            coloured=coloured,
            ascii_only=ascii_only,
            each=options.each or not _has_outcomes(watched),
            totals=on_terminal,
        )
    from netmon.terminal.field_views import CONNECTION_COLUMNS, FLOW_COLUMNS

    columns = CONNECTION_COLUMNS if options.aggregate is None else FLOW_COLUMNS
    return field_view(name, options, columns, coloured=coloured, ascii_only=ascii_only)


def schema_view(name: str, host: Host | None = None) -> View:
    """Return the view of one of SCHEMAS. host: where the events come from; None: this host."""
    from netmon.schemas.host import read_host
    from netmon.schemas.renderer import Renderer

    return Renderer(name, read_host() if host is None else host)


def field_view(name: str, options: argparse.Namespace, columns: str, *, coloured: bool, ascii_only: bool) -> View:
    """Return the view of a format that shows fields. columns: of a table without --fields. Raises ConfigError."""
    from netmon.terminal.field_views import JsonView, TableView, TemplateView
    from netmon.terminal.fields import FieldError, parse_fields

    try:
        if name == "template":
            return TemplateView(options.template, say, ascii_only=ascii_only)
        if name == "json":
            return JsonView(parse_fields(options.fields), say)
        paths = parse_fields(columns if options.fields is None else options.fields)
        return TableView(paths, coloured=coloured, ascii_only=ascii_only)
    except FieldError as error:
        raise flag_error("template" if name == "template" else "fields", str(error)) from None


def _has_outcomes(watched: Watched) -> bool:
    """Return whether the events say of each connection whether it was established, and how it ended."""
    report = watched.report
    return report.statistics and report.events is None and (report.outcome or not watched.egress)


def is_coloured(options: argparse.Namespace, environ: Mapping[str, str], *, on_terminal: bool) -> bool:
    """Return whether to use colours (https://no-color.org, https://bixense.com/clicolors)."""
    if not options.color or environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return on_terminal and environ.get("TERM", "dumb") != "dumb"


def is_ascii_only() -> bool:
    """Return whether to write ASCII only: the user's locale has no UTF-8."""
    from netmon.cli.environment import given_environment

    return not expects_utf8(given_environment())


def expects_utf8(environ: Mapping[str, str]) -> bool:
    """Return whether the user's locale has UTF-8. Python itself has it in any locale, so the environment is asked."""
    locale = next(filter(None, map(environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    return "utf8" in locale.lower().replace("-", "")


def terminal_width(fd: int) -> int | None:
    """Return the terminal's width now: asked for each batch, it follows each resize. None if it has none."""
    try:
        return os.get_terminal_size(fd).columns or None
    except OSError:  # it has hung up
        return None

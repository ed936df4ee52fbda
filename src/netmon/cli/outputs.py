"""Opens the outputs that flags and a configuration ask for (`--output`, `run.outputs`)."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netmon import amounts
from netmon.cli.console import say
from netmon.cli.flags import flag_error, writes_to_stdout
from netmon.cli.group import group_of
from netmon.config.outputs import OUTPUT_FORMATS, check_output
from netmon.errors import NetmonError, shown
from netmon.outputs.base import Output
from netmon.outputs.file import FileOutput
from netmon.outputs.opened import Outputs
from netmon.schemas import SCHEMAS

if TYPE_CHECKING:
    from netmon.cli.confine import User
    from netmon.outputs.writer import Writer
    from netmon.schemas.directions import Directions
    from netmon.schemas.host import Host

STDOUT = "stdout"
LOGS = ("journald", "syslog")


def open_outputs(
    options: argparse.Namespace, user: User | None, reopen_by: Callable[[Callable[[], None]], object]
) -> Outputs:
    """Open the outputs.

    Args:
        options: The parsed flags of `netmon run`, with the file's settings. Arguments as a list are turned on, if a
            schema has them.
        user: The user whom the process will become.
        reopen_by: Takes what opens files by their names again; it may be called in a signal handler.

    Raises:
        ConfigError: The outputs do not go together, or with other flags.
        NetmonError: One cannot be opened.
    """
    try:
        described = [check_output(fields) for fields in options.outputs]
    except ValueError as error:  # the process that reads the configuration has checked it
        raise NetmonError(f"the process that reads the configuration has answered nonsense: {error}") from None
    _refuse_conflicts(described, options)
    formats = [fields.get("format") or _default_format(options) for fields in described]
    schemas = {*formats} & {*SCHEMAS}
    directions, host = _for_schemas() if schemas else (None, None)
    options.argv = bool(options.argv or schemas)
    opened: list[Output | Writer] = []
    for fields, schema in zip(described, formats, strict=True):
        output = _open(fields, user)
        sink = output if isinstance(output, Output) else output.output
        if "events" in fields:
            from netmon.outputs.choice import Choice

            sink.choice = Choice(fields["events"])
        if schema in SCHEMAS and host is not None:
            from netmon.schemas.renderer import Renderer

            sink.render = Renderer(schema, host, directions).lines
        opened.append(output)
    files = [output for output in opened if isinstance(output, FileOutput)]

    def begin() -> None:
        for file in files:
            file.check_rights()

    def reopen() -> None:
        for file in files:
            file.reopen()

    reopen_by(reopen)
    note = directions.note if directions is not None else None
    return Outputs(opened, note, {file.directory: file.rotates for file in files}, begin)


def _for_schemas() -> tuple[Directions, Host]:
    from netmon.schemas.directions import Directions
    from netmon.schemas.host import read_host

    return Directions(), read_host()


def _default_format(options: argparse.Namespace) -> str:
    return options.format if options.format in OUTPUT_FORMATS else "json"


def _refuse_conflicts(described: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Raise ConfigError if two outputs are the same, or flags are for standard output, which is none of them."""
    places = [*map(_place, described)]
    for place in places:
        if places.count(place) > 1:
            raise flag_error("output", f"{shown(place)} is there twice; leave one out")
    if writes_to_stdout(options):
        return
    for name in ("fields", "template", "each"):
        if getattr(options, name):
            raise flag_error(name, "is for standard output; add --output stdout, or leave it out")
    if options.format is not None and options.format not in OUTPUT_FORMATS:
        raise flag_error("format", f"{shown(options.format)} is for standard output; add --output stdout")


def _open(fields: Mapping[str, Any], user: User | None) -> Output | Writer:
    """Open an output. Raises NetmonError."""
    if fields["type"] == STDOUT:
        from netmon.outputs.standard_output import StandardOutput

        return StandardOutput()
    if fields["type"] == "file":
        owner = None if user is None else (user.uid, user.gid)
        try:
            return FileOutput(fields["path"], _rotation(fields), say, owner=owner)
        except ValueError as error:  # of the compression
            raise flag_error("output", str(error)) from None
    if fields["type"] in LOGS:
        return _open_log(fields)
    from netmon.outputs.server import SocketServer
    from netmon.outputs.unix_socket import listen

    group = group_of(fields["group"], "output") if "group" in fields else None
    path = fields["path"]
    server = SocketServer(path, listen(path, int(fields.get("mode", "0600"), 8), group), say)
    server.render_of = _Renderers().of
    return server


def _open_log(fields: Mapping[str, Any]) -> Output:
    """Open journald or a syslog. Raises NetmonError."""
    from netmon.outputs.datagram import DatagramOutput

    if fields["type"] == "journald":
        from netmon.outputs import journal

        path = fields.get("path", journal.SOCKET)
        return DatagramOutput(_place(fields), path, journal.to_entry, say, takes_files=True)
    from netmon.outputs import syslog

    path = fields.get("path", syslog.SOCKET)
    return DatagramOutput(_place(fields), path, syslog.SyslogEncoder().encode, say)


def _place(fields: Mapping[str, Any]) -> str:
    """Return where an output writes to, which names it."""
    return os.path.realpath(fields["path"]) if "path" in fields else str(fields["type"])


class _Renderers:
    """Makes what renders the formats that readers ask for, each once: only then is it imported."""

    def __init__(self) -> None:
        self._made: dict[str, Callable[[Iterable[str]], list[str]]] = {}

    def of(self, name: str) -> Callable[[Iterable[str]], list[str]] | None:
        """Return what renders a format; None for JSON as it is. Raises KeyError if there is no such format."""
        if name == "json":
            return None
        if name not in SCHEMAS:
            raise KeyError(name)
        if name not in self._made:
            from netmon.schemas.host import read_host
            from netmon.schemas.renderer import Renderer

            self._made[name] = Renderer(name, read_host()).lines
        return self._made[name]


def _rotation(fields: Mapping[str, Any]) -> Any:
    if "rotate_size" not in fields and "rotate_every" not in fields:
        return None
    from netmon.outputs.rotation import Rotation

    return Rotation(
        size=amounts.size(fields["rotate_size"]) if "rotate_size" in fields else None,
        every=amounts.period(fields["rotate_every"]) if "rotate_every" in fields else None,
        keep=fields.get("keep", Rotation().keep),
        compress=fields.get("compress", ""),
    )

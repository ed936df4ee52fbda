"""Opens the outputs that flags and a configuration ask for (`--output`, `run.outputs`)."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
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
    places = [os.path.realpath(fields["path"]) if "path" in fields else STDOUT for fields in described]
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
    from netmon.outputs.server import SocketServer
    from netmon.outputs.unix_socket import listen

    group = group_of(fields["group"], "output") if "group" in fields else None
    path = fields["path"]
    return SocketServer(path, listen(path, int(fields.get("mode", "0600"), 8), group), say)


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

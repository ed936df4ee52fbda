"""Refuses, at the start, paths of flags at which no file can be made."""

from __future__ import annotations

import argparse
import os

from netmon.cli.flag_names import flag_error
from netmon.errors import shown


def refuse_impossible_files(options: argparse.Namespace) -> None:
    """Raise ConfigError if no file can be made where --record or --output is to make one.

    Paths of a configuration file are not looked at: what is missing may be there at the service's next start.
    """
    record = options.record
    if record is not None:
        if record and os.path.lexists(record) and not os.path.isdir(record):
            raise flag_error("record", f"{shown(record)}: exists already; name another file, or remove it")
        _refuse("record", record)
    single = getattr(options, "output", None)  # of `netmon exec`
    outputs = getattr(options, "outputs", None) or ()
    for path in [single] if single is not None else [fields["path"] for fields in outputs if "path" in fields]:
        _refuse("output", path)


def _refuse(flag: str, path: str) -> None:
    if not path:
        raise flag_error(flag, "is empty; give the path of a file")
    if os.path.isdir(path):
        raise flag_error(flag, f"{shown(path)}: is a directory; give the path of a file in it")
    directory = os.path.dirname(path) or "."
    if not os.path.lexists(directory):
        raise flag_error(
            flag, f"{shown(path)}: there is no directory {shown(directory)}; make it, or give another path"
        )
    if not os.path.isdir(directory):
        raise flag_error(flag, f"{shown(path)}: {shown(directory)} is no directory; give another path")

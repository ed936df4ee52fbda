"""The section `run:` of a configuration file: settings of `netmon run` that are flags, too. A flag wins."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from netmon.errors import ConfigError, Problem

if TYPE_CHECKING:
    from netmon.config import Config


def apply_file(options: argparse.Namespace) -> None:
    """Read the configuration file, and set the flags that are not given to its settings.

    Raises:
        ConfigError: The file has problems.
    """
    from netmon.config import Config

    config = Config.from_yaml(options.config, resolve=True)
    options.file = config  # for read_file(): at the start it is read once
    options.file_run = config.run
    given = getattr(options, "given", ())
    for name, value in config.run.values().items() if config.run is not None else ():
        # Switches have a default, the other flags have none.
        if name not in given and (isinstance(value, bool) or getattr(options, name) is None):
            setattr(options, name, value)


def read_file(options: argparse.Namespace) -> Config:
    """Return the file's configuration: as apply_file() has read it, then read again.

    Raises:
        ConfigError: The file has problems, or the settings of the run have changed.
    """
    from netmon.config import Config

    config: Config | None = vars(options).pop("file", None)
    if config is not None:
        return config
    config = Config.from_yaml(options.config, resolve=True)
    if config.run != getattr(options, "file_run", config.run):
        message = "has changed, which a reload cannot do; restart netmon, or set it back"
        raise ConfigError([Problem(options.config, None, ("run",), None, message)])
    return config

"""The configuration file: flags on top of it, and its section `run:`, settings that are flags, too. A flag wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netmon.cli.config_process import ConfigProcess
from netmon.cli.flag_names import COMMAND_LINE, FlagError
from netmon.cli.flags import describe_configuration
from netmon.errors import ConfigError, Problem

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from netmon.config.checked import CheckedConfig
    from netmon.filters.compiled import CompiledFilters


def begin_reading_file(options: argparse.Namespace) -> Callable[[], CompiledFilters]:
    """Begin to read the file in a process of its own.

    Returns:
        A function that waits for it, sets the flags that are not given to the file's settings, and returns what the
        file and the flags on top of it filter. It raises ConfigError with the problems of the file, or if the settings
        are not those that it had before; and NetmonError.

    Raises:
        ConfigError: The flags have problems.
        OSError: There can be no further process.
    """
    process = ConfigProcess(options.config, flags_over_file(options))

    def finish() -> CompiledFilters:
        try:
            filters, settings = process.result()
        except ConfigError as error:
            if {problem.source for problem in error.problems} == {COMMAND_LINE}:
                raise FlagError(error.problems) from None
            raise ConfigError([_with_service(problem) for problem in error.problems]) from None
        try:
            apply_settings(options, settings)
        except BaseException:
            filters.release()
            raise
        return filters

    return finish


def _with_service(problem: Problem) -> Problem:
    """Return a problem with the port of the service that is named: the process that has found it cannot look it up."""
    from netmon.config.ports import NOT_A_PORT, explain_service  # seldom needed

    if problem.message != NOT_A_PORT or problem.value is None:
        return problem
    return problem._replace(message=explain_service(problem.value.strip("'")) or NOT_A_PORT)


def flags_over_file(options: argparse.Namespace) -> Callable[[CheckedConfig], CheckedConfig]:
    """Return what puts the flags on top of the file's configuration. Raises FlagError, and so does what it returns."""
    if not describe_configuration(options):
        return lambda base: base
    from netmon.cli.flag_config import FlagConfig

    flags = FlagConfig(vars(options))

    def put_over(base: CheckedConfig) -> CheckedConfig:
        aggregate = base.run.values().get("aggregate") if base.run is not None else None
        return flags.over(base, aggregate)

    return put_over


def apply_settings(options: argparse.Namespace, settings: Mapping[str, Any]) -> None:
    """Set the flags that are not given to the settings of a file that has been read.

    Raises:
        ConfigError: The file has been read before, and its settings were others.
    """
    if settings != getattr(options, "file_settings", settings):
        message = "has changed, which a reload cannot do; restart netmon, or set it back"
        raise ConfigError([Problem(options.config, None, ("run",), None, message)])
    options.file_settings = settings
    given = getattr(options, "given", ())
    for name, value in settings.items():
        # Switches have a default, the other flags have none.
        if name not in given and (isinstance(value, bool) or getattr(options, name) is None):
            setattr(options, name, value)

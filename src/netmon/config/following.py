"""The configuration of a run that follows one command."""

from __future__ import annotations

from netmon.config.models import Config, ProcessFilter
from netmon.errors import ArgumentError


def following(config: Config | None, pid: int) -> Config:
    """Return a configuration that reports only a process and its descendants.

    Args:
        config: What to report of them; None: everything.
        pid: The process.

    Raises:
        ArgumentError: The configuration itself follows processes, or inverts its process filter.
    """
    config = config or Config.everything()
    process = config.process_filter or ProcessFilter(descendants=(pid,))
    if config.process_filter is not None:
        for key in ("pid", "descendants", "deny_list"):
            if getattr(process, key):
                raise ArgumentError("config", f"has process_filter.{key}, but exec() follows its command; leave it out")
    process = process.model_copy(update={"descendants": (pid,)})
    return config.model_copy(update={"process_filter": process})

"""netmon's log messages: at debug level, for Python's logging only."""

from __future__ import annotations

import sys
from typing import Any


def debug_logger(name: str) -> Any:
    """Return a logger; None when its debug messages are not wanted."""
    # A process that has not imported logging wants none, and importing it is slow.
    logging: Any = sys.modules.get("logging")
    logger = logging and logging.getLogger(name)
    return logger if logger and logger.isEnabledFor(logging.DEBUG) else None

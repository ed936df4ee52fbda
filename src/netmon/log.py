"""What the library says, to Python's logging alone and at debug level."""

from __future__ import annotations

import sys
from typing import Any


def debug_logger(name: str) -> Any:
    """Return the logger, or None when nobody listens at debug level."""
    # Nobody listens to a log in a process that has not imported logging, which is slow to import.
    logging: Any = sys.modules.get("logging")
    logger = logging and logging.getLogger(name)
    return logger if logger and logger.isEnabledFor(logging.DEBUG) else None

"""Checks the arguments of a Monitor."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping

from netmon.errors import ArgumentError, shorten
from netmon.limits import (
    DEFAULT_LINE_LIMIT,
    MAX_BATCH_DELAY,
    MAX_LINE_LIMIT,
    MAX_PERIOD,
    MAX_RING_SIZE,
    MIN_PERIOD,
    MIN_RECORD_LIMIT,
)


def check_arguments(
    config: object,
    ring_size: int,
    batch_delay: float,
    line_limit: int,
    aggregate: float | None,
    record: object,
    record_limit: int,
) -> None:
    """Check arguments by themselves: they are as of Monitor.

    Raises:
        TypeError: One is of another type.
        ArgumentError: One is out of its range, or excludes another one.
    """
    if isinstance(config, str | bytes | Mapping | os.PathLike):
        raise TypeError(f"config: {shorten(config)} is no Config; use Config.from_dict() or Config.from_yaml()")
    for name, size in (("ring_size", ring_size), ("line_limit", line_limit), ("record_limit", record_limit)):
        if not isinstance(size, int):
            raise TypeError(f"{name}: {shorten(size)} is no number of bytes")
    for name, seconds in (("batch_delay", batch_delay), ("aggregate", aggregate)):
        if not isinstance(seconds, int | float | None):
            raise TypeError(f"{name}: {shorten(seconds)} is no number of seconds")
    if not (mmap.PAGESIZE <= ring_size <= MAX_RING_SIZE and ring_size.bit_count() == 1):
        raise ArgumentError("ring_size", f"{ring_size} is not a power of two from {mmap.PAGESIZE} to {MAX_RING_SIZE}")
    if not 0 <= batch_delay <= MAX_BATCH_DELAY:
        raise ArgumentError("batch_delay", f"{batch_delay} is not from 0 to {MAX_BATCH_DELAY} seconds")
    if not DEFAULT_LINE_LIMIT <= line_limit <= MAX_LINE_LIMIT:
        raise ArgumentError("line_limit", f"{line_limit} is not from {DEFAULT_LINE_LIMIT} to {MAX_LINE_LIMIT} bytes")
    if aggregate is not None and not MIN_PERIOD <= aggregate <= MAX_PERIOD:
        raise ArgumentError("aggregate", f"{aggregate} is not from {MIN_PERIOD} to {MAX_PERIOD} seconds")
    if record_limit < MIN_RECORD_LIMIT:
        raise ArgumentError("record_limit", f"{record_limit} is less than {MIN_RECORD_LIMIT} bytes")
    if record is not None and aggregate is not None:
        raise ArgumentError("record", "cannot be combined with aggregate; leave one or the other out")

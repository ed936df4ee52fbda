"""Makes decoders and process tables that need no kernel and no /proc."""

from __future__ import annotations

from typing import Any

from netmon.decode.clock import Clock
from netmon.decode.decoder import Decoder
from netmon.decode.processes import ProcessTable


class FixedClock(Clock):
    """Its boot was at 2025-11-23T00:00:00Z."""

    def event_time(self, boot_ns: int) -> int:
        return 1_763_856_000_000_000_000 + boot_ns

    start_time = event_time


def make_table(**options: Any) -> ProcessTable:
    """Return an empty table for a kernel whose last capability is number 40."""
    defaults: dict[str, Any] = {
        "bytes_waiting": lambda: 0,
        "set_oldest": lambda oldest: None,
        "read_cmdline": lambda pid, start, exe, comm: None,
    }
    return ProcessTable(FixedClock(), 40, **{**defaults, **options})


def make_decoder(**options: Any) -> Decoder:
    """Return a decoder with a table of its own, made with these options."""
    return Decoder(FixedClock(), make_table(**options))

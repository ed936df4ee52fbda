"""The last step of `netmon check`: the programs are attached for a moment and must report connections made here."""

from __future__ import annotations

import mmap
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

from netmon.errors import BpfError, LibbpfError, NetmonError
from netmon.kernel.features import read_features
from netmon.kernel.programs import PROGRAMS, missing_hooks
from netmon.kernel.requirements import Requirement
from netmon.layout import RecordType
from netmon.limits import MAX_PERIOD
from netmon.monitor import Monitor

NAME = "tracing programs"
BYTES = "byte counts"
DEADLINE = 5.0  # seconds for the events
RING_SIZE = max(64 << 10, mmap.PAGESIZE)
SO_COOKIE = 57  # asm-generic/socket.h; Python has no name for it

# The end of a connection, and the record that must be reported for it.
Wanted = tuple[int, RecordType]


def check_programs() -> Requirement:
    """Load and attach netmon's programs, make connections over loopback, and wait until each event was reported."""
    try:
        with Monitor(any_kernel=True, ring_size=RING_SIZE) as monitor:
            wanted: dict[Wanted, str] = {}
            skipped = []
            for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                try:
                    wanted.update(_connect(family, address))
                except OSError as error:
                    skipped.append(f"no connection to {address} could be made to test them ({error.strerror})")
            missing = _unreported(monitor, wanted)
            why = monitor.blind
            hooks = missing_hooks(read_features(program.hook for program in PROGRAMS if program.is_optional))
    except BpfError as error:
        what, _, remedy = str(error).partition("\n")
        return Requirement(NAME, False, what, remedy)
    except LibbpfError:
        return Requirement(NAME, False, "not tried without a usable libbpf")
    except NetmonError as error:
        return Requirement(NAME, False, str(error))
    if missing:
        remedy = why or "another tool may have replaced these functions (a live patch), or this kernel inlines them"
        return Requirement(NAME, False, f"attached, but not reported: {', '.join(missing)}", remedy)
    found = [f"load, attach, and report {len(wanted)} events of a test", *skipped]
    if hooks:
        found.append(f"this kernel has no {', '.join(hooks)}: some connections may be missed, which is counted")
    return Requirement(NAME, True, "; ".join(found))


def check_bytes() -> Requirement:
    """Attach the programs that count bytes, close a connection, and say whether they read it with its lock held.

    Nothing depends on it but the exactness of counts, so it is always met.
    """
    try:
        with Monitor(any_kernel=True, ring_size=RING_SIZE, aggregate=MAX_PERIOD) as monitor:
            with suppress(OSError):
                list(_connect(socket.AF_INET, "127.0.0.1"))
            return Requirement(BYTES, True, monitor.inexact or "exact")
    except NetmonError as error:
        return Requirement(BYTES, True, f"not tested: {error}")


def _connect(family: socket.AddressFamily, address: str) -> Iterator[tuple[Wanted, str]]:
    """Make a connection and close it; yield what must be reported, each with its name. Raises OSError."""
    with socket.socket(family) as listener, socket.socket(family) as client:
        listener.bind((address, 0))
        listener.listen(1)
        client.settimeout(DEADLINE)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            ends = ((client, "connect", RecordType.ESTABLISH), (server, "accept", RecordType.ACCEPT))
            for end, call, opening in ends:
                cookie = int.from_bytes(end.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), sys.byteorder)
                yield (cookie, opening), f"{call}() at {address}"
                yield (cookie, RecordType.CLOSE), f"close() after {call}() at {address}"


def _unreported(monitor: Monitor, wanted: dict[Wanted, str]) -> list[str]:
    """Read events until all that are wanted have come, or the deadline passes; return the names of the others."""
    missing = dict(wanted)
    end = time.monotonic() + DEADLINE
    while missing and (left := end - time.monotonic()) > 0:
        for batch in monitor.raw_events(timeout=left):
            for event in batch:
                missing.pop((event.cookie, RecordType(event.type)), None)
            if not missing or time.monotonic() >= end:
                break
    return list(missing.values())

"""Defaults and limits that users meet: typed here alone, for the monitor, the command's help and the documentation."""

from __future__ import annotations

MINIMUM_KERNEL = "6.2"

DEFAULT_RING_SIZE = 4 << 20  # bytes: some 75,000 events
MAX_RING_SIZE = 1 << 30

# Seconds that a first event waits for others to be read with it; less while the ring buffer fills fast.
DEFAULT_BATCH_DELAY = 0.08
MAX_BATCH_DELAY = 10.0

# Seconds of a period of aggregation. A period that ends early, as there is much to report, lasts the minimum, or less
# if there would not be enough memory for it.
MIN_PERIOD = 1.0
MAX_PERIOD = 86400.0

# Seconds between two reports of what open connections have carried.
MIN_PROGRESS = 1.0
MAX_PROGRESS = 86400.0

# Ancestors of a process in an event: Limit.MAX_ANCESTORS, which the kernel half has.
MAX_ANCESTORS = 16

# Seconds of an interval of netmon top, at whose end open connections are looked at.
DEFAULT_TOP_INTERVAL = 2.0

# Seconds in which netmon learn watches, at most: a year.
MAX_LEARNING = 366 * 86400.0

# Bytes of an event's line with its newline: the texts of its processes are cut so that it is no longer. The journal
# cuts lines at the maximum. With less than the default, a line's processes would have too little room for their paths.
DEFAULT_LINE_LIMIT = 16 << 10
MAX_LINE_LIMIT = 48 << 10

# The control socket of the service, which `netmon status` asks.
DEFAULT_CONTROL = "/run/netmon/control.sock"

# Bytes of a recording.
DEFAULT_RECORD_LIMIT = 1 << 30
MIN_RECORD_LIMIT = 1 << 20

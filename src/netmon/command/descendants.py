"""The processes that go on when a command has ended: its descendants."""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from netmon.kernel.marks import FollowedProcess

# How often (seconds) to look whether descendants go on.
INTERVAL = 0.5


class Following(Protocol):
    """A monitor that follows a command."""

    def followed(self) -> list[FollowedProcess]:
        """Return the processes that are followed, and that have not ended."""


def running_descendants(monitor: Following) -> Sequence[FollowedProcess]:
    """Return those that run. It looks twice, since one that starts during the first look may be overlooked.

    Raises NetmonError once the monitor is closed.
    """
    return monitor.followed() or monitor.followed()


def wait_for_descendants(monitor: Following, until: int | None = None) -> None:
    """Wait until the last one has ended, or a descriptor is readable. Raises NetmonError once the monitor is closed."""
    poll = select.poll()
    if until is not None:
        poll.register(until, select.POLLIN)
    while running_descendants(monitor) and not poll.poll(INTERVAL * 1000):
        pass

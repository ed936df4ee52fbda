"""What was lost, by reason."""

from __future__ import annotations

from typing import NamedTuple


class Losses(NamedTuple):
    """What was lost, by reason."""

    ring_full: int = 0  # no room in the ring buffer
    no_storage: int = 0  # openings and closes of connections that the kernel had no memory to keep
    missed: int = 0  # at most: runs of a probe that the kernel skipped
    flows_full: int = 0  # events that found no room in the sums (aggregate mode)
    unknown_process: int = 0  # events whose process was not known
    path_incomplete: int = 0  # processes told with part of their path
    args_incomplete: int = 0  # processes whose arguments did not fit the record
    unknown_opener: int = 0  # closes told without the process that opened, which was let go

    @property
    def events(self) -> int:
        """How many events were lost for sure: without the missed ones, of which only the most is known."""
        return self.ring_full + self.no_storage + self.flows_full + self.unknown_process

    def reasons(self) -> list[tuple[str, int]]:
        """Return each reason, in words, with its count."""
        return [(name.replace("_", " "), count) for name, count in self._asdict().items()]

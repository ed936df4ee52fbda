"""The view that shows nothing while events come, and at the end what was learned of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from netmon.learn.learner import Learner
from netmon.learn.write import write_expectation


class LearnView:
    """Learns from a run's events."""

    def __init__(self, directions: Sequence[str], begin: Callable[[], object] = lambda: None) -> None:
        """Make it.

        Args:
            directions: Those that are watched.
            begin: Is called before what was learned is written.
        """
        self.learner = Learner()
        self._directions = directions
        self._begin = begin

    def lines(self, events: Iterable[str]) -> list[str]:
        """Learn from the events; return no lines."""
        from orjson import loads  # slow to import

        for event in events:
            self.learner.add(loads(event))
        return []

    def finish(self) -> list[str]:
        """Return what was learned."""
        self._begin()
        return [write_expectation(self.learner, self._directions)]

    def summary(self) -> list[str]:
        """Return how much was learned."""
        return [
            f"learned {self.learner.summary()}",
            *(f"not learned: {count:,} {reason}" for reason, count in sorted(self.learner.left_out.items())),
        ]

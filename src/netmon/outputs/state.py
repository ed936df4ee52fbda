"""How an output fares, for those who look after a run."""

from typing import NamedTuple


class OutputState(NamedTuple):
    """How an output fares.

    Attributes:
        name: Its name.
        lines: How many lines were handed to it: those of LostEvents among them.
        lost: How many events of these it has lost.
        waiting: How many bytes of lines wait for it.
        readers: How many readers are connected; None if it is not one that readers connect to.
        problem: Why it was closed; "" while it is open.
    """

    name: str
    lines: int
    lost: int
    waiting: int
    readers: int | None
    problem: str

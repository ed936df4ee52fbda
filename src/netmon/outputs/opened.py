"""The outputs of a run, once they are open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netmon.outputs.base import Output
    from netmon.outputs.writer import Writer


class Outputs:
    """The outputs of a run.

    Attributes:
        opened: All of them; those that are Writers write by themselves.
        note: Is called with all lines before they are written.
        directories: The descriptors of directories in which files are made later. True: and removed and renamed.
        begin: Is called once rights are given up.
    """

    def __init__(
        self,
        opened: Sequence[Output | Writer],
        note: Callable[[Sequence[str]], object] | None = None,
        directories: Mapping[int, bool] | None = None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it of these attributes."""
        self.opened = opened
        self.note = note
        self.directories = directories or {}
        self.begin = begin

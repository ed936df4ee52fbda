"""Which processes run."""

from __future__ import annotations

from netmon.kernel.procfs import read_status

MOST = 8192  # processes that are remembered


class Running:
    """Tells whether processes still run. Their ids may be used again, but not with the same start."""

    def __init__(self) -> None:
        self._starts: dict[tuple[int, str], int] = {}

    def __call__(self, pid: int, start_time: str) -> bool:
        """Return whether a process runs. What has ended before the first call may seem to, if its id is used again."""
        key = (pid, start_time)
        try:
            start = read_status(pid).start
        except OSError:
            self._starts.pop(key, None)
            return False
        if len(self._starts) >= MOST:
            self._starts.clear()
        return self._starts.setdefault(key, start) == start

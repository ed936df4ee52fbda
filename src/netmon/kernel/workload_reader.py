"""Finds out how containers and users are called, without being held up: what the decoder asks for workloads."""

from __future__ import annotations

import time

from netmon.kernel.held_up import HeldUpCalls
from netmon.kernel.runtime_files import RuntimeFiles
from netmon.users import PASSWD, Users
from netmon.workload import Names

# Seconds until a container of which nothing was found is looked up once more: a log's link appears some milliseconds
# after the container has started, and a file system that did not answer may do so.
MOMENT = 1.0
MAX_WAITING = 4096  # containers that wait for that


class WorkloadReader:
    """Answers questions about names, for one calling thread (netmon.decode.workloads.NameSource)."""

    def __init__(self, root: str = "/") -> None:
        """Make a reader. root: the host's root directory."""
        self._files = RuntimeFiles(root)
        self._users = Users(root.rstrip("/") + PASSWD)
        self._calls = HeldUpCalls()
        self._due: dict[str, float] = {}

    def container(self, subject: str) -> Names | None:
        """Return the names of a container, as of RuntimeFiles.names(); None if the files could not be read in time."""
        names = self._calls.call(subject, lambda: self._files.names(subject))
        if not names:
            if len(self._due) >= MAX_WAITING:
                self._due.clear()
            self._due[subject] = time.monotonic() + MOMENT
        return names

    def container_again(self, subject: str) -> Names | None:
        """Return what container() does, a moment after that has found nothing; before that, None."""
        if time.monotonic() < self._due.get(subject, 0.0):
            return None
        names = self.container(subject)
        if names is not None:
            self._due.pop(subject, None)
        return names

    def user(self, uid: int) -> str | None:
        """Return a user's name; None if the host has no such user."""
        return self._users.find(uid)

"""Whose records the kernel half refused, because they had used their share of the ring buffer (bpf/fairness.h)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from netmon.layout import PAYER, Limit, Payer
from netmon.losses import OTHERS
from netmon.text import escape

USER_BIT = 1 << Limit.PAYER_USER_BIT
MAX_NAMES = 64  # further ones are counted together
MAX_LENGTH = 200  # characters of a name: of a longer one, the end


class Offenders:
    """Adds up, by name, how many records were refused. The kernel's table forgets payers, but this does not."""

    def __init__(self, memory: memoryview) -> None:
        """memory: of the map `payers`."""
        self._memory = memory
        self._seen: dict[int, Payer] = {}  # by index, those of whom something was refused at the last look
        self._refused: Counter[str] = Counter()

    def look(self) -> Mapping[str, int]:
        """Return how many records were refused so far, by name of the cgroup or user."""
        for index, payer in enumerate(map(Payer._make, PAYER.iter_unpack(self._memory))):
            if not payer.refused:
                continue
            before = self._seen.get(index)
            # The count begins anew when another payer has had the entry meanwhile.
            goes_on = before is not None and before.id == payer.id and before.refused <= payer.refused
            if added := payer.refused - (before.refused if before is not None and goes_on else 0):
                self._refused[self._listed(name_of(payer))] += added
            self._seen[index] = payer
        return dict(self._refused)

    def _listed(self, name: str) -> str:
        return name if name in self._refused or len(self._refused) < MAX_NAMES else OTHERS

    def close(self) -> None:
        """Give the memory back. Idempotent."""
        self._memory.release()


def name_of(payer: Payer) -> str:
    """Return the path of a payer's cgroup, harmless and of a bounded length; `uid 1000` for a user."""
    if payer.id & USER_BIT:
        return f"uid {payer.id ^ USER_BIT}"
    size = Limit.NAME_SIZE
    names = [payer.names[at : at + size].partition(b"\0")[0] for at in range(0, len(payer.names), size)]
    path = b"".join(b"/" + name for name in names if name).decode(errors="backslashreplace")
    return escape(path)[-MAX_LENGTH:] or f"cgroup {payer.id}"

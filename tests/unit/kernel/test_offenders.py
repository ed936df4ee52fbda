"""Who used more than a share of the ring buffer, read from the kernel's table."""

from __future__ import annotations

import pytest

from netmon.kernel.offenders import MAX_LENGTH, MAX_NAMES, USER_BIT, Offenders, name_of
from netmon.layout import PAYER, Limit, Payer
from netmon.losses import OTHERS
from netmon.text import is_harmless


def payer(id: int, refused: int, *names: bytes) -> Payer:
    return Payer(id, 0, 0, refused, b"".join(name.ljust(Limit.NAME_SIZE, b"\0") for name in names))


class Table:
    """The kernel's table, and what is read of it."""

    def __init__(self, size: int = 2) -> None:
        self.memory = bytearray(size * PAYER.size)
        self.offenders = Offenders(memoryview(self.memory))

    def put(self, index: int, entry: Payer) -> None:
        PAYER.pack_into(self.memory, index * PAYER.size, *entry)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (payer(USER_BIT | 1000, 1), "uid 1000"),
        (payer(USER_BIT, 1), "uid 0"),
        (payer(77, 1, b"system.slice", b"cron.service"), "/system.slice/cron.service"),
        (payer(77, 1, b"a", b"b", b"c"), "/a/b/c"),
        (payer(77, 1), "cgroup 77"),
        (payer(77, 1, b"\xff\x1b]0;title"), r"/\xff\u001b]0;title"),
    ],
)
def test_a_payer_is_named_by_its_cgroup_or_user(entry: Payer, name: str) -> None:
    assert name_of(entry) == name


def test_a_hostile_name_is_harmless_and_short() -> None:
    name = name_of(payer(77, 1, *["\u202e".encode() * 85] * Limit.PAYER_LEVEL))
    assert len(name) == MAX_LENGTH
    assert is_harmless(name)


def test_refused_records_are_added_up_by_name() -> None:
    table = Table()
    assert table.offenders.look() == {}
    table.put(0, payer(77, 3, b"a"))
    table.put(1, payer(USER_BIT | 5, 0))
    assert table.offenders.look() == table.offenders.look() == {"/a": 3}
    table.put(0, payer(77, 5, b"a"))
    table.put(1, payer(USER_BIT | 5, 1))
    assert table.offenders.look() == {"/a": 5, "uid 5": 1}


@pytest.mark.parametrize(
    ("entries", "total"),
    [
        ([payer(77, 3, b"a"), payer(78, 2, b"b"), payer(77, 1, b"a")], {"/a": 4, "/b": 2}),
        ([payer(77, 3, b"a"), payer(77, 1, b"a")], {"/a": 4}),  # another one had it between two looks
    ],
)
def test_nothing_is_forgotten_when_a_payer_loses_its_entry(entries: list[Payer], total: dict[str, int]) -> None:
    table = Table()
    for entry in entries:
        table.put(0, entry)
        refused = {**table.offenders.look()}
    assert refused == total


def test_names_are_bounded() -> None:
    table = Table(MAX_NAMES + 5)
    for index in range(MAX_NAMES + 5):
        table.put(index, payer(USER_BIT | index, 2))
    refused = table.offenders.look()
    assert len(refused) == MAX_NAMES + 1
    assert refused[OTHERS] == 2 * 5

"""Names of addresses: whose they are, how many are kept, and who can make others believe them."""

from __future__ import annotations

import tracemalloc

from netmon.names.cache import NameCache, Origin

ADDRESS = b"\xc0\x00\x02\x01"
OTHER_ADDRESS = b"\xc0\x00\x02\x02"


def origin(
    pid: int, *, ppid: int = 1, start: int = 0, parent_start: int = 0, cgroup: int = 50, netns: int = 9
) -> Origin:
    return Origin((pid, start or pid), (ppid, parent_start or ppid), cgroup, netns)


def names(cache: NameCache, who: Origin, address: bytes = ADDRESS, time: int = 100) -> list[tuple[str, str]]:
    return [(name.name, name.scope) for name in cache.names_of(who, address, time)]


def test_the_nearest_who_was_told_counts() -> None:
    cache = NameCache()
    child, parent, grandparent = origin(30, ppid=20, netns=8), origin(20, ppid=10, cgroup=51), origin(10, cgroup=52)
    neighbour, stranger = origin(40, netns=8), origin(41, cgroup=60, netns=8)
    cache.note_process(parent)
    for who, name, scope in (
        (stranger, "stranger.x", "netns"),
        (neighbour, "neighbour.x", "cgroup"),
        (grandparent, "grandparent.x", "ancestor"),
        (parent, "parent.x", "ancestor"),
        (child, "child.x", "process"),
    ):
        cache.add(who, name, [ADDRESS], 1)
        assert names(cache, child)[0] == (name, scope)
        assert len(names(cache, child)) == 1
    assert names(cache, stranger) == [("stranger.x", "process")]


def test_a_forged_answer_names_no_connection_of_who_was_told_otherwise() -> None:
    cache = NameCache()
    honest, forger = origin(20), origin(30)
    cache.add(honest, "honest.x", [ADDRESS], 1)
    for time in range(2, 90):
        cache.add(forger, f"forged{time}.x", [ADDRESS], time)
    assert names(cache, honest) == [("honest.x", "process")]
    assert {scope for _, scope in names(cache, origin(40))} == {"cgroup"}


def test_names_are_the_newest_first_and_few() -> None:
    cache = NameCache()
    for time in range(1, 7):
        cache.add(origin(20), f"{time}.x", [ADDRESS], time)
    cache.add(origin(20), "4.x", [ADDRESS], 9)
    assert [name for name, _ in names(cache, origin(20))] == ["4.x", "6.x", "5.x", "3.x"]
    assert cache.names_of(origin(20), ADDRESS, 100)[0].time_ns == 9
    assert cache.evicted == 2 * 3  # of the process, its cgroup and its network namespace


def test_what_was_told_later_does_not_count() -> None:
    cache = NameCache()
    cache.add(origin(20), "early.x", [ADDRESS], 5)
    cache.add(origin(20), "late.x", [ADDRESS], 50)
    assert names(cache, origin(20), time=20) == [("early.x", "process")]
    assert names(cache, origin(20), time=4) == []


def test_another_address_has_no_name() -> None:
    cache = NameCache()
    cache.add(origin(20), "a.x", [ADDRESS], 1)
    assert names(cache, origin(20), OTHER_ADDRESS) == []


def test_who_has_the_id_of_an_ancestor_that_has_ended_is_none() -> None:
    cache = NameCache()
    cache.add(origin(20, start=5, cgroup=60, netns=0), "before.x", [ADDRESS], 6)  # has ended
    child = origin(30, ppid=20, parent_start=15)
    assert names(cache, child) == []
    cache.add(origin(20, start=15, cgroup=60, netns=0), "parent.x", [ADDRESS], 16)
    assert names(cache, child) == [("parent.x", "ancestor")]


def test_ancestors_in_a_circle_end() -> None:
    cache = NameCache()
    for pid, ppid in ((20, 21), (21, 20)):
        cache.note_process(Origin((pid, 5), (ppid, 5), 0, 0))
    assert names(cache, Origin((20, 5), (21, 5), 0, 0)) == []


def test_the_root_cgroup_and_no_namespace_are_no_neighbourhood() -> None:
    cache = NameCache()
    cache.add(origin(20, cgroup=1, netns=0), "a.x", [ADDRESS], 1)
    assert names(cache, origin(30, cgroup=1, netns=0)) == []


def test_one_process_cannot_evict_what_many_others_were_told() -> None:
    cache = NameCache(limit=400, owner_limit=20)
    for pid in range(20, 40):
        cache.add(origin(pid, cgroup=pid, netns=pid), "kept.x", [ADDRESS], 1)
    for number in range(10_000):
        cache.add(origin(99, cgroup=99, netns=99), f"{number}.x", [number.to_bytes(4, "big")], 2)
    assert all(names(cache, origin(pid, cgroup=pid, netns=pid)) for pid in range(20, 40))
    assert len(cache) == 20 * 3 + 20 * 3
    assert cache.evicted == 3 * (10_000 - 20)


def test_the_memory_of_many_answers_is_bounded() -> None:
    """Each from another process: so many owners, too."""
    cache, half = NameCache(), 0
    tracemalloc.start()
    try:
        for number in range(120_000):
            who = origin(number + 2, ppid=number + 1, cgroup=number % 500 + 2)
            cache.add(who, f"{number}.example", [number.to_bytes(4, "big")], number)
            if number == 60_000:
                half = tracemalloc.get_traced_memory()[0]
        whole = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert whole < 1.1 * half
    assert whole < 32 << 20
    assert len(cache) + cache.evicted == 3 * 120_000

"""What keeps events until they are sent: in memory, and in files that survive a kill at any moment."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from netmon.errors import NetmonError
from netmon.forward.spool import Spool
from netmon.forward.store import Mark, Memory, Store

LIMIT = 1 << 20
PADDING = b"x" * 400


def lines(start: int, end: int) -> bytes:
    return b"".join(b'{"number":%d,"padding":"%s"}\n' % (number, PADDING) for number in range(start, end))


def take(store: Store, limit: int = LIMIT) -> bytes:
    """Take all lines out of a store."""
    found = b""
    while store.size:
        batch = store.first(limit)
        assert batch.size
        found += batch.lines
        store.done(batch.size)
    return found


@pytest.fixture(params=["memory", "spool"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    return (lambda: Memory(LIMIT)) if request.param == "memory" else (lambda: Spool(str(tmp_path / "spool"), LIMIT))


def test_lines_come_out_as_they_went_in(make: Callable[[], Store]) -> None:
    store, chosen, at, sent = make(), random.Random(4), 0, b""
    for _ in range(500):
        count = chosen.randrange(1, 40)
        if store.put(lines(at, at + count), Mark("a", at + count)):
            at += count
        if chosen.random() < 0.5:
            batch = store.first(chosen.randrange(1, 30_000))
            assert batch == store.first(len(batch.lines) or 1) or batch.size > len(batch.lines)
            sent += batch.lines
            store.done(batch.size)
    assert sent + take(store) == lines(0, at)
    assert store.mark == Mark("a", at)
    assert not store.first(LIMIT).lines


def test_it_is_bounded_and_takes_more_once_there_is_room(make: Callable[[], Store]) -> None:
    store, at = make(), 0
    while store.put(lines(at, at + 100), None):
        at += 100
    assert LIMIT // 2 < store.size <= LIMIT
    assert not store.put(lines(at, at + 100), None)
    take(store)
    assert store.put(lines(at, at + 100), None)
    assert take(store) == lines(at, at + 100)


def test_a_batch_has_whole_lines_and_one_at_least(make: Callable[[], Store]) -> None:
    store = make()
    store.put(lines(0, 3), Mark("a", 3))
    if not (batch := store.first(1)).lines:  # a mark alone
        store.done(batch.size)
    assert store.first(1).lines == lines(0, 1)
    assert store.first(len(lines(0, 2)) + 5).lines == lines(0, 2)


def test_a_spool_goes_on_where_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "spool")
    first = Spool(path, LIMIT)
    first.put(lines(0, 600), Mark("a", 600))
    first.put(lines(600, 1200), Mark("a", 1200))
    batch = first.first(1000)
    first.done(batch.size)
    first.close()
    second = Spool(path, LIMIT)
    assert second.mark == Mark("a", 1200)
    assert second.found == second.size > 0
    assert batch.lines + take(second) == lines(0, 1200)
    second.close()
    third = Spool(path, LIMIT)
    assert not take(third) and third.mark == Mark("a", 1200)


@pytest.mark.parametrize("cut", range(0, 1400, 37))
def test_what_was_not_put_as_a_whole_is_removed(tmp_path: Path, cut: int) -> None:
    """A kill may leave any part of what was written last: it does not count as received."""
    path = tmp_path / "spool"
    spool = Spool(str(path), LIMIT)
    spool.put(lines(0, 3), Mark("a", 3))
    (segment,) = path.glob("*.jsonl")
    before = segment.stat().st_size
    spool.put(lines(3, 6), Mark("a", 6))
    whole = segment.stat().st_size
    spool.close()
    os.truncate(segment, min(whole, before + cut))
    again = Spool(str(path), LIMIT)
    is_whole = before + cut >= whole
    assert again.mark == Mark("a", 6 if is_whole else 3)
    again.put(lines(6, 7), Mark("a", 7))
    assert take(again) == lines(0, 6 if is_whole else 3) + lines(6, 7)


def test_files_are_removed_once_they_are_sent(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool(str(path), 4 << 20)
    for number in range(0, 6000, 100):
        spool.put(lines(number, number + 100), Mark("b", number + 100))
    assert len([*path.glob("*.jsonl")]) > 4
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in path.iterdir())
    assert path.stat().st_mode & 0o777 == 0o700
    take(spool)
    (left,) = path.glob("*.jsonl")
    assert left.stat().st_size < 1 << 18
    spool.close()
    assert Spool(str(path), 4 << 20).mark == Mark("b", 6000)


def test_a_damaged_position_sends_again_rather_than_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool(str(path), LIMIT)
    spool.put(lines(0, 10), Mark("a", 10))
    spool.done(spool.first(1000).size)
    spool.close()
    (path / "position").write_bytes(b"\xff" * 30)
    assert take(Spool(str(path), LIMIT)) == lines(0, 10)


def test_directories_that_are_not_for_it(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool(str(path), LIMIT)
    with pytest.raises(NetmonError, match="another process uses it"):
        Spool(str(path), LIMIT)
    spool.close()
    (path / "position").unlink()
    (path / "position").symlink_to("/etc/passwd")
    with pytest.raises(NetmonError, match="Too many levels of symbolic links"):
        Spool(str(path), LIMIT)
    (path / "position").unlink()
    path.chmod(0o777)
    with pytest.raises(NetmonError, match="others may write to it"):
        Spool(str(path), LIMIT)
    (tmp_path / "file").touch()
    with pytest.raises(NetmonError, match="Not a directory"):
        Spool(str(tmp_path / "file"), LIMIT)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_another_users_directory(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir(mode=0o700)
    os.chown(tmp_path / "spool", 1, 1)
    with pytest.raises(NetmonError, match="belongs to user 1, and this process is user 0"):
        Spool(str(tmp_path / "spool"), LIMIT)

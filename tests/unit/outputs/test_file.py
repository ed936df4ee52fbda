"""Files as outputs: what they refuse to write to, rotation, reopening, a full disk, a kill."""

from __future__ import annotations

import gzip
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netmon.errors import NetmonError
from netmon.outputs import queue
from netmon.outputs.file import FileOutput
from netmon.outputs.queue import OutputQueue
from netmon.outputs.rotation import Rotation
from tests.support.waiting import wait_until
from tests.unit.outputs.lines import event, events, in_order, numbers, parsed

SIZE = 64 << 10
COUNT = 2000


class Written:
    """A file with its queue, and what was reported about it."""

    def __init__(self, path: Path, rotation: Rotation | None = None, queue_limit: int = 8 << 20) -> None:
        self.path = path
        self.said: list[str] = []
        self.output = FileOutput(str(path), rotation, self.said.append, queue_limit=queue_limit)
        self.queue = OutputQueue(self.output)
        self.queue.start()

    def write(self, start: int, end: int, step: int = 50) -> None:
        for number in range(start, end, step):
            self.queue.put(events(number, min(end, number + step)))

    def finish(self) -> None:
        self.queue.finish()
        self.queue.join()
        self.output.settle()
        self.output.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def written(path: Path) -> Iterator[Callable[..., Written]]:
    """Makes files that are finished at the end."""
    made: list[Written] = []

    def make(rotation: Rotation | None = None, **options: int) -> Written:
        made.append(Written(path, rotation, **options))
        return made[-1]

    yield make
    for one in made:
        one.queue.finish()
        one.queue.join()


def content(path: Path) -> list[int]:
    """Return the numbers of all events, of the old files first."""
    found: list[int] = []
    for part in in_order(path):
        data = part.read_bytes()
        found += numbers(parsed(gzip.decompress(data) if part.suffix == ".gz" else data))
    return found


def size_of(path: Path) -> int:
    """Return a file's size; -1 while it is being rotated."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def test_it_is_made_for_its_owner_alone_and_appended_to(path: Path, written: Callable[..., Written]) -> None:
    for start in (0, 10):
        one = written()
        one.write(start, start + 10)
        one.finish()
    assert path.stat().st_mode & 0o7777 == 0o600
    assert content(path) == [*range(20)]


def test_what_is_no_file_of_its_own_is_refused(path: Path) -> None:
    def refusal() -> str:
        with pytest.raises(NetmonError) as refused:
            FileOutput(str(path))
        return str(refused.value).removeprefix(f"{path}: ")

    other = path.with_name("other")
    other.write_text("precious")
    path.symlink_to(other)
    assert refusal().startswith("is a symbolic link, which is not followed")
    path.unlink()
    path.hardlink_to(other)
    assert refusal().startswith("has 2 names (hard links)")
    path.unlink()
    os.mkfifo(path)  # opening it must not wait, either
    assert refusal().startswith("is no regular file")
    path.unlink()
    path.mkdir()
    assert refusal() == "Is a directory"
    path.rmdir()
    if os.geteuid() == 0:
        path.write_text("")
        os.chown(path, 1234, 1234)
        assert refusal().startswith("belongs to another user (1234)")
        path.unlink()
    assert other.read_text() == "precious"
    with pytest.raises(NetmonError, match="No such file or directory"):
        FileOutput(str(path.parent / "nowhere" / "a"))


def test_two_do_not_write_to_one_file(path: Path, written: Callable[..., Written]) -> None:
    written()
    with pytest.raises(NetmonError, match="another process writes to it"):
        FileOutput(str(path))


@pytest.mark.parametrize(
    ("before", "after"), [(event(1) + event(2)[:40], event(1)), (b"torn", b""), (b"", b""), (event(1), event(1))]
)
def test_a_torn_last_line_is_removed(before: bytes, after: bytes, path: Path, written: Callable[..., Written]) -> None:
    """A kill leaves one. The next event must not be joined to it."""
    path.write_bytes(before)
    one = written()
    one.write(7, 8)
    one.finish()
    assert path.read_bytes() == after + event(7)


def test_it_is_rotated_by_size(path: Path, written: Callable[..., Written]) -> None:
    one = written(Rotation(size=SIZE, keep=100))
    one.write(0, COUNT)
    one.finish()
    assert content(path) == [*range(COUNT)]
    parts = [*in_order(path)]
    assert len(parts) > 10
    assert all(part.stat().st_size <= SIZE and part.stat().st_mode & 0o777 == 0o600 for part in parts)
    assert one.said == [] and one.queue.lost == 0


def test_the_oldest_files_are_removed(path: Path, written: Callable[..., Written]) -> None:
    one = written(Rotation(size=SIZE, keep=3))
    one.write(0, COUNT)
    one.finish()
    assert {part.name for part in in_order(path)} == {path.name, *(f"{path.name}.{number}" for number in (1, 2, 3))}
    left = content(path)
    assert left == [*range(left[0], COUNT)]


def test_a_line_that_is_longer_than_a_file_has_one_of_its_own(path: Path, written: Callable[..., Written]) -> None:
    one = written(Rotation(size=SIZE, keep=9))
    one.queue.put(event(1) + b"z" * 2 * SIZE + b"\n" + event(2))
    one.finish()
    assert [part.stat().st_size for part in in_order(path)] == [len(event(1)), 2 * SIZE + 1, len(event(2))]


def test_old_files_are_compressed(path: Path, written: Callable[..., Written]) -> None:
    leftover = path.with_name(f"{path.name}.1.gz.tmp")
    leftover.write_text("of a process that was killed")
    one = written(Rotation(size=SIZE, keep=100, compress="gzip"))
    assert not leftover.exists()
    one.write(0, COUNT)
    one.finish()
    assert content(path) == [*range(COUNT)]
    old = [*in_order(path)][:-1]
    assert old and all(part.suffix == ".gz" and part.stat().st_mode & 0o777 == 0o600 for part in old)
    assert sum(part.stat().st_size for part in old) < COUNT * len(event(1)) // 5


def test_it_is_rotated_by_time(path: Path, written: Callable[..., Written], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by one that has passed since another process wrote it, and when the clock is set back."""
    path.write_bytes(event(0))
    day = 86400.0
    os.utime(path, (5 * day + 1, 5 * day + 1))
    now = [6 * day + 1]
    monkeypatch.setattr("netmon.outputs.file.time.time", lambda: now[0])
    monkeypatch.setattr(queue, "READER_INTERVAL", 0.01)
    one = written(Rotation(every=day))
    one.write(1, 2)
    rotated = path.with_name(f"{path.name}.1")
    wait_until(lambda: rotated.exists() and size_of(path) == len(event(1)))
    now[0] += day  # nothing comes, and it is rotated all the same
    wait_until(lambda: size_of(path) == 0)
    one.write(2, 3)
    wait_until(lambda: size_of(path) > 0)
    now[0] -= day
    wait_until(lambda: size_of(path) == 0)
    now[0] += day  # an empty one is not rotated
    one.write(3, 4)
    one.finish()
    assert content(path) == [0, 1, 2, 3] and len([*in_order(path)]) == 4


def test_it_is_opened_again_after_another_program_has_renamed_it(path: Path, written: Callable[..., Written]) -> None:
    one = written()
    total = 0
    for number in range(1, 6):
        one.write(total, total + 100)
        total += 100
        path.rename(path.with_name(f"{path.name}.{10 - number}"))
        one.output.reopen()
        wait_until(path.exists)  # within a second, also if nothing comes
    one.output.reopen()  # it still has its name: nothing changes
    one.write(total, total + 10)
    one.finish()
    assert content(path) == [*range(total + 10)]
    assert one.said == []


def test_if_it_cannot_be_opened_again_the_old_one_goes_on(path: Path, written: Callable[..., Written]) -> None:
    one = written()
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to("/etc/passwd")
    one.output.reopen()
    one.write(0, 10)
    one.finish()
    assert numbers(parsed(moved.read_bytes())) == [*range(10)]
    (said,) = one.said
    assert said.startswith(f"{path}: is a symbolic link")
    assert said.endswith("; goes on with the file that was open before")


def test_a_rotation_that_fails_loses_nothing(path: Path, written: Callable[..., Written]) -> None:
    path.with_name(f"{path.name}.2").mkdir()  # it cannot be removed as a file can
    one = written(Rotation(size=SIZE, keep=2))
    one.write(0, COUNT)
    one.finish()
    assert numbers(parsed(path.read_bytes())) == [*range(COUNT)]
    assert len(one.said) == 1 and f"{path}: cannot be rotated: " in one.said[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounts a file system")
    mounted = tmp_path / "disk"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", mounted], check=True)
    yield mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)


def test_a_full_disk_is_survived_and_what_it_costs_is_counted(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the queue has room for is written once there is room on the disk; the rest is lost, and counted."""
    monkeypatch.setattr(queue, "DRAIN_LIMIT", 2.0)
    other = small_disk / "other"
    other.write_bytes(b"x" * (40 << 10))
    one = Written(small_disk / "events", queue_limit=128 << 10)
    one.write(0, COUNT)
    wait_until(lambda: one.said)
    assert one.said[0].startswith(f"{one.path}: No space left on device; events wait")
    lost = one.queue.lost
    assert lost > COUNT // 2
    data = one.path.read_bytes()
    assert parsed(data)  # whole lines only, while it is full
    other.unlink()
    wait_until(lambda: one.path.stat().st_size > len(data))
    one.finish()
    found = numbers(parsed(one.path.read_bytes()))
    assert len(found) + one.queue.lost == COUNT
    assert found == [*range(len(found))]
    assert one.queue.error is None


def test_a_disk_that_stays_full_leaves_whole_lines_and_is_counted(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "DRAIN_LIMIT", 0.3)
    one = Written(small_disk / "events")
    one.write(0, COUNT)
    one.finish()
    found = numbers(parsed(one.path.read_bytes()))
    assert found == [*range(len(found))] and found
    assert len(found) + one.queue.lost == COUNT
    assert len(one.said) == 1


def test_logrotate_frees_a_full_disk(small_disk: Path) -> None:
    """The file has another name when it is full, and is removed: the next one has room."""
    one = Written(small_disk / "events")
    one.write(0, 500)
    wait_until(lambda: one.said)
    old = small_disk / "old"
    one.path.rename(old)
    first = numbers(parsed(old.read_bytes()))
    old.unlink()
    one.output.reopen()
    wait_until(lambda: one.path.exists() and one.path.stat().st_size)
    second = numbers(parsed(one.path.read_bytes()))
    assert second[0] == first[-1] + 1


def test_a_limit_of_its_size_is_like_a_full_disk(written: Callable[..., Written], path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, hard))
    try:
        one = written()
        one.write(0, 400)
        wait_until(lambda: one.said)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert one.said[0].startswith(f"{path}: File too large; ")
    one.finish()
    assert content(path) == [*range(400)]
    assert one.said[1:] == [f"{path}: is written to again"]


KILLED = """
import sys
from netmon.outputs.file import FileOutput
from netmon.outputs.queue import OutputQueue
from netmon.outputs.rotation import Rotation
from tests.unit.outputs.lines import events
queue = OutputQueue(FileOutput(sys.argv[1], Rotation(size=1 << 16, keep=1000, compress=sys.argv[2]), print))
queue.start()
number = 0
print("ready", flush=True)
while True:
    queue.put(events(number, number + 20))
    number += 20
    while queue._size > 1 << 20:
        pass
"""


@pytest.mark.parametrize("compress", ["", "gzip"])
def test_a_kill_leaves_one_torn_line_at_most(compress: str, path: Path, written: Callable[..., Written]) -> None:
    """At any moment: also while it rotates or compresses."""
    for round_ in range(3):
        command = [sys.executable, "-c", KILLED, str(path), compress]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            count = len([*path.parent.iterdir()])
            wait_until(lambda count=count: len([*path.parent.iterdir()]) > count + 3)  # type: ignore[misc]
            time.sleep(0.007 * round_)  # another moment each time: what a kill meets is left to chance
            process.send_signal(signal.SIGKILL)
        written(Rotation(size=1 << 16, keep=1000, compress=compress)).finish()
        assert not [*path.parent.glob("*.tmp")]
        found = []
        for part in in_order(path):
            data = part.read_bytes()
            if part.suffix == ".gz":
                data = gzip.decompress(data)
            elif part.with_name(f"{part.name}.gz").exists():
                continue  # it was killed between the compressed file and the end of this one
            assert data.endswith(b"\n") or not data
            found += numbers(parsed(data))
        assert found[:1] == [0] or round_
        for part in in_order(path):
            part.unlink()

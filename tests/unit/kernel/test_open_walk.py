"""The walk through open connections, with descriptors in place of the kernel's iterators."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from netmon.errors import BpfError
from netmon.kernel.bpf import Link
from netmon.kernel.open_walk import BUDGET, OpenWalk


class FakeIterator:
    """An attached iterator. A run pauses until its pipe's other end is closed."""

    def __init__(self) -> None:
        self.runs: list[int] = []  # the other end of each
        self.closed = False

    def iterate(self) -> int:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        self.runs.append(write_end)
        return read_end

    def finish(self) -> None:
        os.close(self.runs[-1])

    def close(self) -> None:
        self.closed = True


class Walked:
    """A walk through two maps."""

    def __init__(self) -> None:
        self.table, self.overflow = FakeIterator(), FakeIterator()
        self.allowed: list[int] = []
        self.is_overflowed = True
        iterators = {self.table: lambda: True, self.overflow: lambda: self.is_overflowed}
        self.subject = OpenWalk(cast("dict[Link, Callable[[], bool]]", iterators), self.allowed.append)


@pytest.fixture
def walked() -> Iterator[Walked]:
    made = Walked()
    yield made
    made.subject.close()
    assert made.table.closed and made.overflow.closed


def test_it_goes_on_where_it_has_paused(walked: Walked) -> None:
    assert walked.subject.go_on()
    assert walked.subject.go_on()
    assert (len(walked.table.runs), len(walked.overflow.runs)) == (1, 0)
    walked.table.finish()
    assert walked.subject.go_on()
    assert (len(walked.table.runs), len(walked.overflow.runs)) == (1, 1)
    walked.overflow.finish()
    assert not walked.subject.go_on()
    assert walked.allowed == [BUDGET] * 4


def test_a_walk_that_has_ended_is_followed_by_another_one(walked: Walked) -> None:
    for count in (1, 2):
        assert walked.subject.go_on()
        walked.table.finish()
        assert walked.subject.go_on()
        walked.overflow.finish()
        assert not walked.subject.go_on()
        assert (len(walked.table.runs), len(walked.overflow.runs)) == (count, count)


def test_it_begins_anew(walked: Walked) -> None:
    assert walked.subject.go_on()
    walked.table.finish()
    assert walked.subject.go_on()
    assert walked.subject.go_on(anew=True)
    assert (len(walked.table.runs), len(walked.overflow.runs)) == (2, 1)


def test_it_leaves_out_what_is_empty(walked: Walked) -> None:
    walked.is_overflowed = False
    assert walked.subject.go_on()
    walked.table.finish()
    assert not walked.subject.go_on()
    assert not walked.overflow.runs


def test_a_refusal_names_its_purpose(walked: Walked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walked.table, "iterate", lambda: os.open("/", os.O_RDONLY))  # cannot be read
    with pytest.raises(BpfError, match=r"^look at open connections: Is a directory \(EISDIR\)"):
        walked.subject.go_on()

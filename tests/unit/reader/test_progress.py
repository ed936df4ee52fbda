"""When the source looks at open connections."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from netmon.reader import progress
from netmon.reader.progress import LAST_LIMIT, Progress
from netmon.reader.source import Source

INTERVAL = 30.0


class Looks:
    """A Progress with its time, and a source that has so many parts to look at, each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, interval: float | None, parts: int = 1) -> None:
        self.now = 1000.0
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.looks: list[bool] = []
        self.parts = parts
        self.subject = Progress(cast(Source, SimpleNamespace(report_open=self._report)), interval)

    def _report(self, *, anew: bool = False) -> bool:
        self.looks.append(anew)
        return len(self.looks) % self.parts != 0


def test_it_looks_once_in_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch, INTERVAL)
    assert looks.subject.due() == looks.now + INTERVAL
    assert not looks.subject.look()
    assert looks.looks == []
    looks.now += INTERVAL + 1
    assert not looks.subject.look()
    assert not looks.subject.look()
    assert looks.looks == [False]
    assert looks.subject.due() == looks.now + INTERVAL


def test_it_looks_at_many_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch, INTERVAL, parts=3)
    looks.now += INTERVAL
    assert [looks.subject.look(), looks.subject.due()] == [True, 0.0]
    assert [looks.subject.look(), looks.subject.look()] == [True, False]
    assert looks.subject.due() == looks.now + INTERVAL


def test_without_an_interval_it_looks_at_the_end_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch, None)
    looks.now += INTERVAL
    assert looks.subject.due() is None
    assert not looks.subject.look()
    assert looks.looks == []
    assert not looks.subject.finish()
    assert looks.looks == [True]


def test_the_last_look_begins_anew_and_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch, INTERVAL, parts=100)
    assert looks.subject.finish()
    assert looks.subject.finish()
    looks.now += LAST_LIMIT
    assert not looks.subject.finish()
    assert looks.looks == [True, False, False]

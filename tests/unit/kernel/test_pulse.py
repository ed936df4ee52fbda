"""The time in which the kernel did not run netmon's programs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from netmon.kernel import pulse
from netmon.kernel.pulse import Pulse


class Looks:
    """A Pulse with the time that it reads, and what each look finds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.runs = True
        self.count = 0
        monkeypatch.setattr(pulse, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.pulse = Pulse(self._look)

    def _look(self) -> bool:
        self.count += 1
        return self.runs

    def after(self, seconds: float, runs: bool) -> int:
        """Look some seconds later; return the milliseconds that count as blind so far."""
        self.now += seconds
        self.runs = runs
        self.pulse.look()
        return self.pulse.blind_ms


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def test_programs_that_run_are_never_blind(looks: Looks) -> None:
    assert [looks.after(seconds, runs=True) for seconds in (0, 1, 60)] == [0, 0, 0]
    assert not looks.pulse.failed


def test_looks_once_a_second(looks: Looks) -> None:
    for _ in range(40):
        looks.after(0.25, runs=True)
    assert looks.count == 10


def test_all_time_since_the_last_look_that_found_them_running_counts(looks: Looks) -> None:
    assert looks.after(1.5, runs=False) == 1500
    assert looks.pulse.failed
    assert looks.after(1, runs=False) == 2500


def test_time_until_they_are_found_running_again_counts(looks: Looks) -> None:
    looks.after(1, runs=False)
    assert looks.after(2, runs=True) == 3000
    assert not looks.pulse.failed
    assert looks.after(5, runs=True) == 3000


def test_the_start_is_no_time_in_which_they_did_not_run(looks: Looks) -> None:
    """Loading and attaching take time."""
    looks.now += 10
    looks.pulse.begin()
    assert looks.after(1, runs=False) == 1000

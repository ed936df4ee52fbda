"""Which kernels run which kernel tests, by their markers."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import MARKERS
from vm.archive import KERNELS
from vm.pytest_plugin import CONTENTS, kernel_of

NAMES = [marker.partition("(")[0] for marker in MARKERS]
FULL = ("6.1", "6.12", "newest")  # as tests/README.md has them: they run tests without a marker
KERNEL_TESTS = Path(__file__).parents[1] / "kernel"


class Case(NamedTuple):
    """A test with its parameters, as one kernel runs it."""

    kernel: str
    test: str  # without parameters
    markers: dict[str, tuple[Any, ...]]  # their names and arguments
    fixtures: tuple[str, ...]


class Collector:
    """A pytest plugin that keeps what is collected."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            markers = {name: marker.args for name in NAMES if (marker := item.get_closest_marker(name))}
            fixtures = tuple(getattr(item, "fixturenames", ()))
            self.cases.append(Case(kernel_of(item), item.nodeid.partition("[")[0], markers, fixtures))


def collect() -> list[Case]:
    collector = Collector()
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        ended = pytest.main(["--collect-only", "-p", "no:cacheprovider", str(KERNEL_TESTS)], plugins=[collector])
    assert ended == 0
    return collector.cases


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Every case of the matrix, collected in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(collect).result()


def by_kernel(cases: Iterable[Case]) -> dict[str, set[str]]:
    tests: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        tests[case.kernel].add(case.test)
    return tests


def test_every_kernel_runs_every_core_test(cases: list[Case]) -> None:
    """At least one case of each: parameters of the marker that no case has would leave it out."""
    core = [case for case in cases if "core" in case.markers and "only_on" not in case.markers]
    ran = by_kernel(core)
    assert set(ran) == set(KERNELS)
    assert all(tests == {case.test for case in core} for tests in ran.values())


def test_the_oldest_middle_and_newest_kernel_run_every_test_that_depends_on_a_kernel(cases: list[Case]) -> None:
    tests = by_kernel(case for case in cases if not {"only_on", "once"} & set(case.markers))
    every = set().union(*tests.values())
    assert tests["6.1"] == tests["newest"] == every
    assert tests["6.12"] == every - {case.test for case in cases if "oldest_and_newest" in case.markers}


def test_a_test_that_depends_on_no_kernel_runs_on_one(cases: list[Case]) -> None:
    assert set(by_kernel(case for case in cases if "once" in case.markers)) == {"6.12"}


def test_tests_for_some_kernels_run_on_these(cases: list[Case]) -> None:
    bound = [case for case in cases if "only_on" in case.markers]
    assert {kernel for case in bound for kernel in case.markers["only_on"]} <= set(KERNELS)
    ran = by_kernel(bound)
    for case in bound:
        wanted = [kernel for kernel in case.markers["only_on"] if kernel in FULL or "core" in case.markers]
        assert all(case.test in ran[kernel] for kernel in wanted)


def test_every_marker_is_used(cases: list[Case]) -> None:
    assert set(NAMES) == {name for case in cases for name in case.markers}


def test_no_test_is_both_for_every_kernel_and_for_some(cases: list[Case]) -> None:
    choices = {"core", "oldest_and_newest", "once"}
    assert not [case.test for case in cases if len(choices & set(case.markers)) > 1]


def test_those_that_share_a_netmon_run_one_after_another(cases: list[Case]) -> None:
    """And before all others: so it starts once for each set of flags, and has ended when heavy loads come."""
    for kernel in KERNELS:
        mine = [case for case in cases if case.kernel == kernel and "guest" not in case.markers]
        flags = [case.markers.get("netmon_flags", ()) if "netmon" in case.fixtures else None for case in mine]
        runs = [shared for shared, _ in groupby(flags)]
        assert runs[-1] is None
        assert len(runs) == len(set(runs)) > 2


def test_guests_have_the_contents_that_tests_need(cases: list[Case]) -> None:
    assert {name for case in cases for name in case.markers.get("guest", ())} <= set(CONTENTS)

"""The host's half of the kernel tests: pytest collects them here, guests run them, and this replays their reports.

Each kernel's tests run in one guest, in which pytest runs exactly the chosen items; those marked guest(contents) run in
another one with these contents. A guest that hangs, or dies twice, fails the tests that it has not run. A test that is
skipped in a guest fails.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from vm.archive import KERNELS
from vm.image import FOR_TESTS, WITH_SYSTEMD, Contents
from vm.qemu import BOOTS, Machine

# Seconds without a message after which a guest is taken for dead: it boots, or runs one test, in less.
SILENCE = 300
CONTENTS = {contents.name: contents for contents in (FOR_TESTS, WITH_SYSTEMD)}
# Guests at the same time: one more than this host has CPUs, since a guest sometimes waits.
AT_ONCE = int(os.environ.get("NETMON_GUESTS", "0")) or (os.cpu_count() or 1) + 1

PANIC = "Kernel panic"  # in what a guest's kernel writes to the console

WHENS = ("setup", "call", "teardown")  # the reports of a test that passes
# About what an average test takes, where that is not a second: in guests of some contents, and on some kernels.
SECONDS_A_TEST = {"systemd": 15.0, "6.12-arm64": 2.0, "newest": 1.5, "6.18": 1.5}


class Guest(NamedTuple):
    """Where an item runs."""

    kernel: str
    contents: Contents

    def __str__(self) -> str:
        return f"{self.kernel}-{self.contents.name}"

    def expected(self, tests: int) -> float:
        """Return about how many seconds so many tests take."""
        return tests * SECONDS_A_TEST.get(self.contents.name, SECONDS_A_TEST.get(self.kernel, 1.0))


class GuestRun:
    """A thread that runs one guest with its items, and keeps their reports."""

    def __init__(self, guest: Guest, items: Sequence[pytest.Item], slots: threading.Semaphore) -> None:
        self._guest = guest
        self._items = [item.nodeid for item in items]
        style = items[0].config.option.tbstyle
        self._tb = "long" if style == "auto" else style
        self._slots = slots
        self._changed = threading.Condition()
        self._reports: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._running = ""  # the item that the guest runs
        # Seconds of the guest's processors: for its boot, for the collection, and for each item.
        self.costs: dict[str, float] = {}
        self._finished = False
        self._has_begun = False
        self._closed = False
        self._problem = ""
        self._machine: Machine | None = None
        self._last_message = time.monotonic()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with self._slots:
            try:
                self._run_items(self._items)
                if left := self._left_by_panic():
                    at, tail = self._running, self._machine.console_tail(30) if self._machine else ""
                    print(
                        f"guest: {self._guest} died at {at}, trying that and the rest again:\n{tail}", file=sys.stderr
                    )
                    self._has_begun, self._problem, self._running = False, "", ""
                    self._run_items(left)
            except Exception as error:
                self._problem = f"the guest could not be run: {error!r}"
            finally:
                with self._changed:
                    self._finished = True
                    self._changed.notify_all()

    def _run_items(self, items: Sequence[str]) -> None:
        """Run items in a guest. If it dies while booting, try again."""
        chosen = json.dumps({"kernel": self._guest.kernel, "items": items, "tb": self._tb}).encode()
        for boots_left in reversed(range(BOOTS)):
            self._machine = Machine(
                self._guest.kernel, "vm.guest.run_tests", {"chosen.json": chosen}, self._guest.contents
            )
            self._last_message = time.monotonic()
            self._listen(self._machine)
            if self._has_begun or self._closed or not boots_left:
                break
            tail = self._machine.console_tail(5)
            print(f"guest: {self._guest} died while booting, trying again:\n{tail}", file=sys.stderr)
            self._problem = ""

    def _left_by_panic(self) -> list[str]:
        """Return the items that have not run since the kernel has panicked; none if it has not.

        Emulated processors that patch each other's code sometimes fault. A test at which the kernel panics again has
        failed.
        """
        if self._closed or self._machine is None or PANIC not in self._machine.console_tail():
            return []
        return [item for item in self._items if not self._reports[item]]

    def _listen(self, machine: Machine) -> None:
        ended = False
        for message in machine.messages():
            with self._changed:
                self._last_message = time.monotonic()
                if "phase" in message:
                    self.costs[message["phase"]] = message["processor"]
                else:
                    self._has_begun = True
                self._running = message.get("start", self._running)
                self._keep(message)
                ended = ended or "end" in message
                self._changed.notify_all()
        machine.close()
        if not ended:
            self._problem = self._problem or "the guest ended before its tests did"

    def _keep(self, message: dict[str, Any]) -> None:
        """Keep a report, or what stands for all reports of a test that has passed."""
        if "report" in message:
            self._reports[message["report"]["nodeid"]].append(message["report"])
        elif "passed" in message:
            parts = zip(WHENS, message["seconds"], strict=True)
            self._reports[message["passed"]] += [{"when": when, "duration": seconds} for when, seconds in parts]
        if nodeid := message.get("passed", message.get("ended")):
            self.costs[nodeid] = message["processor"]

    def reports(self, nodeid: str) -> Iterator[dict[str, Any]]:
        """Yield an item's reports: setup, call, teardown. Raises RuntimeError if they do not come.

        Of a test that passes, a report has when and duration alone.
        """
        count = 0
        while True:
            with self._changed:
                while len(self._reports[nodeid]) == count:
                    if self._finished:
                        raise RuntimeError(self._explain(nodeid))
                    self._changed.wait(1)
                    self._check_silence()
                report = self._reports[nodeid][count]
            count += 1
            yield report
            if report["when"] == "teardown":
                return

    def _check_silence(self) -> None:
        if self._machine and time.monotonic() - self._last_message > SILENCE:
            self._problem = f"the guest sent nothing for {SILENCE} s"
            self._machine.close()

    def _explain(self, nodeid: str) -> str:
        if self._problem and self._running not in ("", nodeid):
            return f"not run: {self._problem}, at {self._running}"
        tail = self._machine.console_tail() if self._machine else ""
        problem = self._problem or "the guest never ran this test"
        return f"{problem}; its console ended with:\n{tail}"

    def close(self) -> None:
        """End the guest."""
        self._closed = True
        if self._machine:
            self._machine.close()


class GuestRunner:
    """The pytest plugin."""

    def __init__(self) -> None:
        self._items: dict[Guest, list[pytest.Item]] = defaultdict(list)
        self._runs: dict[Guest, GuestRun] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Run the tests of this host first, then kernel by kernel."""
        order = list(KERNELS)
        items.sort(key=lambda item: order.index(kernel_of(item)) if kernel_of(item) else -1)

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        for item in session.items:
            if guest := guest_of(item):
                self._items[guest].append(item)
        if session.config.option.collectonly:
            return
        slots = threading.Semaphore(AT_ONCE)
        # The longest first, so that the last ones to run end at about the same time.
        for guest, items in sorted(self._items.items(), key=lambda run: run[0].expected(len(run[1])), reverse=True):
            self._runs[guest] = GuestRun(guest, items, slots)

    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        guest = guest_of(item)
        if not guest:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._replay(item, self._runs[guest]):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _replay(self, item: pytest.Item, run: GuestRun) -> Iterator[pytest.TestReport]:
        try:
            for data in run.reports(item.nodeid):
                if "outcome" not in data:
                    yield pytest.TestReport(item.nodeid, item.location, {}, "passed", None, **data)
                    continue
                report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
                if report.skipped and not hasattr(report, "wasxfail"):
                    report.outcome, report.longrepr = (
                        "failed",
                        f"skipped in the guest: {report.longrepr}",
                    )
                yield report
        except RuntimeError as error:
            yield pytest.TestReport(item.nodeid, item.location, dict(item.keywords), "failed", str(error), "call")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """With --durations, list the items that took most of the guests' processor time."""
        if config.option.durations is None:
            return
        for guest, run in self._runs.items():
            terminalreporter.section(f"processor seconds in {guest}: {sum(run.costs.values()):.1f}")
            dearest = sorted(run.costs.items(), key=lambda cost: cost[1], reverse=True)
            for name, seconds in dearest[: config.option.durations or None]:
                terminalreporter.write_line(f"{seconds:8.1f} {name}")

    def pytest_sessionfinish(self) -> None:
        for run in self._runs.values():
            run.close()


def kernel_of(item: pytest.Item) -> str:
    """Return the kernel that an item is for; "" when it runs here."""
    return str(parameters_of(item).get("kernel", ""))


def parameters_of(item: pytest.Item) -> dict[str, object]:
    """Return the values of an item's parameters, by name."""
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec else {}


def guest_of(item: pytest.Item) -> Guest | None:
    """Return where an item runs; None when it runs here."""
    kernel = kernel_of(item)
    marker = item.get_closest_marker("guest")
    return Guest(kernel, CONTENTS[marker.args[0] if marker else FOR_TESTS.name]) if kernel else None

"""Runs the kernel tests that the host has chosen, and sends it their reports."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from vm.guest.channel import Channel, serve

TEST_LIMIT = 200  # seconds


def processor_seconds() -> float:
    """Return how long the guest's processors have worked since it booted."""
    user, nice, system, _, _, irq, soft_irq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")


class Reporter:
    """A pytest plugin that sends each report to the host."""

    def __init__(self, channel: Channel, config: pytest.Config | None = None) -> None:
        self._channel = channel
        self._config = config
        self._console = os.dup(2)  # pytest captures descriptor 2
        self._before = processor_seconds()
        self._reports: list[pytest.TestReport] = []  # of the running test
        channel.send(phase="boot", processor=self._before)

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_collection_finish(self) -> None:
        gc.freeze()
        gc.enable()
        self._channel.send(phase="collection", processor=self._processor_seconds_since())

    def _processor_seconds_since(self) -> float:
        """Return the processor's seconds since the last call."""
        before, self._before = self._before, processor_seconds()
        return self._before - before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """Fail a test that takes too long; end the guest if the test does not end then."""
        signal.signal(signal.SIGALRM, self._fail_for_time)
        signal.alarm(TEST_LIMIT)
        faulthandler.dump_traceback_later(TEST_LIMIT + 30, exit=True, file=self._console)
        try:
            return (yield)
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()

    def _fail_for_time(self, _number: int, _frame: FrameType | None) -> None:
        faulthandler.dump_traceback(file=self._console)
        pytest.fail(f"not done after {TEST_LIMIT} s")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._channel.send(start=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send a test that passes as one short message: the serial port is slow, and most tests pass."""
        if report.passed:
            # Measurements that a test prints are kept in the console's log.
            said = "".join(text for name, text in report.sections if name == "Captured stdout call")
            if report.when == "call" and said:
                os.write(self._console, f"\n{report.nodeid}: {said}".encode())
            report.sections = []
        self._reports.append(report)
        if report.when != "teardown":
            return
        processor = self._processor_seconds_since()
        if all(part.passed and not hasattr(part, "wasxfail") for part in self._reports):
            seconds = [round(part.duration, 3) for part in self._reports]
            self._channel.send(passed=report.nodeid, seconds=seconds, processor=processor)
        else:
            self._send_whole(processor)
        self._reports.clear()

    def _send_whole(self, processor: float) -> None:
        assert self._config is not None
        for report in self._reports:
            data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
            self._channel.send(report=data)
        self._channel.send(ended=self._reports[0].nodeid, processor=processor)


def run_tests(channel: Channel) -> int:
    """Run the items that the host has chosen."""
    gc.disable()  # until the collection is done: looking for garbage takes a quarter of its time
    chosen = json.loads(Path("chosen.json").read_text())
    arguments = [
        *("-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin"),
        *("-q", "--no-header", "--no-summary", "--color=no", f"--tb={chosen['tb']}"),
    ]
    kernel = ["--kernel", chosen["kernel"]]
    return int(pytest.main([*arguments, *kernel, *chosen["items"]], plugins=[Reporter(channel)]))


if __name__ == "__main__":
    serve(run_tests)

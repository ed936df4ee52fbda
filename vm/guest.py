"""What the guest's init runs: the tests, a benchmark, or netmon with sample traffic.

It tells the host by JSON lines on ttyS1.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

import pytest

PORT = "/dev/ttyS1"
TEST_LIMIT = 200  # seconds
ROUNDS_OF_TRAFFIC = 600


class Channel:
    """The second serial port."""

    def __init__(self) -> None:
        self.fd = os.open(PORT, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd, termios.TCSANOW)
        self._lock = threading.Lock()

    def send(self, **message: Any) -> None:
        """Send one message: a line of JSON."""
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self.fd, data) :]


class Reporter:
    """A pytest plugin that sends each report to the host."""

    def __init__(self, channel: Channel, config: pytest.Config | None = None) -> None:
        self._channel = channel
        self._config = config
        self._console = os.dup(2)  # pytest captures what is written to 2 itself

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """Fail a test that takes too long; end the guest when even that does not help."""
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
        assert self._config is not None
        if report.passed:
            # What a test says of a measurement stays in the console's log.
            said = "".join(text for name, text in report.sections if name == "Captured stdout call")
            if report.when == "call" and said:
                os.write(self._console, f"\n{report.nodeid}: {said}".encode())
            report.sections = []
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._channel.send(report=data)


def run_tests(channel: Channel) -> int:
    """Run the items that the host has chosen."""
    chosen = json.loads(Path("chosen.json").read_text())
    arguments = [
        *("-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin"),
        *("-q", "--no-header", "--no-summary", "--color=no", f"--tb={chosen['tb']}"),
    ]
    kernel = ["--kernel", chosen["kernel"]]
    return int(pytest.main([*arguments, *kernel, *chosen["items"]], plugins=[Reporter(channel)]))


def run_netmon(channel: Channel) -> int:
    """Run netmon, with traffic for it to see, until the host says stop."""
    arguments = json.loads(Path("arguments.json").read_text())
    netmon = subprocess.Popen(
        [sys.executable, "-m", "netmon", "run", "--any-kernel", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    ready = threading.Event()

    def relay(stream: IO[bytes], name: str) -> None:
        for line in stream:
            channel.send(**{name: line.decode()})
            if line.startswith(b"netmon: ready"):
                ready.set()

    assert netmon.stdout is not None and netmon.stderr is not None
    threads = [
        threading.Thread(target=relay, args=(stream, name))
        for stream, name in ((netmon.stdout, "stdout"), (netmon.stderr, "stderr"))
    ]
    for thread in threads:
        thread.start()
    traffic = threading.Thread(target=make_traffic, args=(netmon, ready), daemon=True)
    traffic.start()
    threading.Thread(target=stop_when_told, args=(channel, netmon), daemon=True).start()
    code = netmon.wait()
    for thread in threads:
        thread.join()
    return code


def stop_when_told(channel: Channel, netmon: subprocess.Popen[bytes]) -> None:
    os.read(channel.fd, 1)
    netmon.terminate()


def make_traffic(netmon: subprocess.Popen[bytes], ready: threading.Event) -> None:
    """The reference's own samples, once a second, for a while: wget over IPv4 and IPv6 from nginx, telnet to nc."""
    ready.wait(60)
    script = """
    printf 'events {}\\nhttp { server { listen 80; listen [::]:80; } }\\n' > /tmp/nginx.conf
    nginx -c /tmp/nginx.conf
    for _ in $(seq "$0"); do
        sleep 1
        wget -qO- http://127.0.0.1/ ; wget -qO- -6 'http://[::1]/'
        nc -N -l 127.0.0.1 7878 < /dev/null & sleep 0.2; telnet 127.0.0.1 7878 < /dev/null; wait $!
    done
    """
    traffic = subprocess.Popen(
        ["bash", "-c", script, str(ROUNDS_OF_TRAFFIC)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    traffic.wait()
    netmon.terminate()


def run_benchmark(channel: Channel) -> int:
    """Run what the host has planned."""
    from bench.guest import run

    return run(channel)


def main() -> None:
    """Do what the mode says, and tell the host how it ended."""
    channel = Channel()
    code = 1
    try:
        code = {"test": run_tests, "run": run_netmon, "bench": run_benchmark}[sys.argv[1]](channel)
    finally:
        channel.send(end=code)
        termios.tcdrain(channel.fd)


if __name__ == "__main__":
    main()

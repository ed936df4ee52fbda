"""The marker `network`, with a monitor that a test fills. tests/kernel/test_pytest_plugin.py has a real one."""

from __future__ import annotations

import socket
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from netmon.pytest_network import read_item

pytest_plugins = ["pytester"]

# What a test of pytester's has: `connect()` makes an event, as if a process had connected.
CONFTEST = """
import pytest
import netmon.pytest_network as network
from netmon import LostEvents, NetmonError, NetworkEvent
from tests.unit.test_events import SAMPLE
from tests.unit.test_files import LOST

class Monitor:
    opened = 0
    def __init__(self):
        Monitor.opened += 1
        if REFUSES:
            raise NetmonError("load netmon: Operation not permitted: run it as root")
        self.events = []
    def poll(self, timeout):
        events, self.events = self.events, []
        return events
    def close(self):
        print("closed", Monitor.opened)

REFUSES = False
monitors = []
def open_monitor():
    monitors.append(Monitor())
    return monitors[-1]
network.open_monitor = open_monitor

@pytest.fixture
def connect():
    def make(daddr, dport, **process):
        event = {**SAMPLE, "process": {**SAMPLE["process"], **process}}
        event["network_event"] = {**SAMPLE["network_event"], "daddr": daddr, "dport": dport}
        monitors[-1].events.append(NetworkEvent.model_validate(event))
    return make

@pytest.fixture
def lose():
    return lambda: monitors[-1].events.append(LostEvents.model_validate_json(LOST))
"""


def run(pytester: pytest.Pytester, test: str, *options: str, refuses: bool = False) -> pytest.RunResult:
    """Run a file of tests with the plugin."""
    pytester.makeconftest(CONFTEST.replace("REFUSES = False", f"REFUSES = {refuses}"))
    pytester.makepyfile(test)
    installed = entry_points(group="pytest11", name="netmon")
    plugin = () if installed else ("-p", "netmon.pytest_plugin")
    return pytester.runpytest_inprocess(*plugin, "-p", "no:cacheprovider", "--strict-markers", *options)


def test_what_is_allowed_passes_and_what_is_not_fails(pytester: pytest.Pytester) -> None:
    ended = run(
        pytester,
        """
        import pytest
        @pytest.mark.network(allow=["127.0.0.0/8", "[2001:db8::/32]:443", "localhost:5432"])
        def test_allowed(connect):
            connect("127.1.2.3", 80)
            connect("2001:db8::1", 443)
            connect("127.0.0.1", 5432)

        @pytest.mark.network(allow=["127.0.0.0/8:80"])
        def test_not_allowed(connect):
            connect("127.0.0.1", 80)
            connect("127.0.0.1", 81, filename="cu\\u202erl", args="-s \\x1b[31m", pid=4711)
            connect("2001:db8::1", 80)
            connect("2001:db8::1", 80)

        @pytest.mark.network
        class TestClass:
            def test_nothing(self, connect):
                connect("::1", 1)
            @pytest.mark.network(allow=["::1"])
            def test_its_own(self, connect):
                connect("::1", 1)

        def test_unmarked(connect):
            connect("192.0.2.1", 1)

        @pytest.mark.network
        def test_after_it():
            pass
        """,
    )
    ended.assert_outcomes(passed=4, failed=2)
    assert ended.stdout.str().count("closed 1") == 1
    ended.stdout.fnmatch_lines(
        [
            "connected to what @pytest.mark.network does not allow, which is 127.0.0.0/8:80:",
            "  wget[[]2274372] -qO- -6 google.com -> [[]2001:db8::1]:80 (2 times)",
            r"  cu\u202erl[[]4711] -s \u001b[[]31m -> 127.0.0.1:81",
            "connected to what @pytest.mark.network does not allow, which is nothing:",
            "  wget[[]2274372] -qO- -6 google.com -> [[]::1]:1",
        ]
    )


def test_a_test_that_fails_by_itself_keeps_its_own_error(pytester: pytest.Pytester) -> None:
    ended = run(
        pytester,
        """
        import pytest
        @pytest.mark.network
        def test_wrong(connect):
            connect("::1", 1)
            assert 1 == 2
        """,
    )
    ended.assert_outcomes(failed=1)
    ended.stdout.fnmatch_lines(["*assert 1 == 2*", "*network*", "connected to what*", "*-> [[]::1]:1"])


def test_long_lists_are_cut_and_losses_are_warned_of(pytester: pytest.Pytester) -> None:
    ended = run(
        pytester,
        """
        import pytest
        @pytest.mark.network
        def test_many(connect, lose):
            lose()
            for port in range(25):
                connect("::1", port, args="x" * 5000)
        """,
    )
    ended.assert_outcomes(failed=1, warnings=1)
    ended.stdout.fnmatch_lines(["  and 15 more", "*PytestWarning: netmon lost 1 events: this test may have connected*"])
    assert max(map(len, ended.outlines)) < 400


@pytest.mark.parametrize("options", [(), ("--network-required",)])
def test_where_nothing_can_be_watched_it_skips_or_fails_and_says_why(
    pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    test = """
        import pytest
        @pytest.mark.network
        def test_one(): pass
        @pytest.mark.network
        def test_two(): pass
        def test_unmarked(): pass
        """
    ended = run(pytester, test, "-rs", *options, refuses=True)
    ended.assert_outcomes(passed=1, failed=2 * len(options), skipped=2 - 2 * len(options))
    reason = "netmon cannot watch the network: load netmon: Operation not permitted: run it as root"
    ended.stdout.fnmatch_lines([f"*{reason}"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("'127.0.0.1'", "takes one argument: network(allow=[[]'127.0.0.0/8'])"),
        ("allow='127.0.0.1'", "allow='127.0.0.1' is no list; write it like allow=[[]'127.0.0.0/8']"),
        ("allow=['10.0.0.0/99']", "'10.0.0.0/99' is neither an address, a CIDR nor a name; write it like *"),
        ("allow=['db:http']", "'db:http' has no port from 0 to 65535; write it like *"),
        ("allow=['[::1]443']", "'[[]::1]443' is no address and port; write it like *"),
        ("allow=['db:1']", "'db' cannot be looked up: Name or service not known"),
    ],
)
def test_a_wrong_marker_says_what_is_wrong(
    pytester: pytest.Pytester, arguments: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    ended = run(pytester, f"import pytest\n@pytest.mark.network({arguments})\ndef test_one(): pass\n")
    ended.assert_outcomes(failed=1)
    ended.stdout.fnmatch_lines([f"@pytest.mark.network: {reason}"])
    ended.stdout.no_fnmatch_line("*ValueError*")  # the error behind it says the same


@pytest.mark.parametrize(
    ("item", "address", "port", "allowed"),
    [
        ("10.1.2.3", "10.1.2.3", 1, True),
        ("10.1.2.3/8", "10.9.9.9", 1, True),
        ("10.0.0.0/8:53", "10.9.9.9", 53, True),
        ("10.0.0.0/8:53", "10.9.9.9", 54, False),
        ("10.0.0.0/8", "::1", 1, False),
        ("2001:db8::/32", "2001:db8:1::", 1, True),
        ("[::1]:80", "::1", 80, True),
        ("[::1]:80", "::1", 81, False),
        ("[::1]", "::1", 81, True),
        ("*:53", "2001:db8::1", 53, True),
        ("*", "192.0.2.1", 9, True),
        ("localhost", "127.0.0.1", 9, True),
    ],
)
def test_items(item: str, address: str, port: int, allowed: bool) -> None:
    assert read_item(item).includes(address, port) == allowed


def test_it_costs_others_nothing(pytester: pytest.Pytester) -> None:
    """Neither its own module nor a run without the marker imports more than pytest has already."""
    program = "import sys, pytest; before = {*sys.modules}; import netmon.pytest_plugin; "
    program += "print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {*done.stdout.split()} == {"netmon", "netmon.version", "netmon.pytest_plugin"}
    test = "import sys\ndef test_one(): assert 'netmon.monitor' not in sys.modules\n"
    pytester.makepyfile(test)
    installed = entry_points(group="pytest11", name="netmon")
    plugin = () if installed else ("-p", "netmon.pytest_plugin")
    pytester.runpytest_subprocess(*plugin).assert_outcomes(passed=1)

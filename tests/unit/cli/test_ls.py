"""`netmon ls`: its flags, formats, order and messages. What the kernel finds is made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from netmon.cli import ls
from netmon.cli.ls import REPORTS
from netmon.cli.main import main
from netmon.config import Config
from netmon.decode.raw_event import RawEvent
from netmon.kernel.sock_diag import Ownerless, Seen
from netmon.layout import Direction, RecordType, TcpState
from netmon.listing import merge
from tests.support.decoders import make_decoder
from tests.support.records import batch_of, detailed_event, process_record

Asked = list[tuple[Config | None, dict[str, Any]]]


def found() -> dict[int, RawEvent]:
    """Return three connections: of curl, of sshd, and of curl once more, which is still connecting."""
    ingress = {"direction": Direction.INGRESS, "sport": 22, "dport": 50000}
    records = [
        process_record(),
        process_record(process_id=8, pid=9, path=b"/usr/sbin/sshd", argv=b"sshd\0-D\0", uid=0),
        connection(1, rtt_us=20, duration_ns=0),
        connection(2, process_id=8, bytes_sent=1, bytes_received=1, rtt_us=300, **ingress),
        connection(3, state=TcpState.SYN_SENT, bytes_sent=0, bytes_received=0, is_idle_known=0, duration_ns=0),
    ]
    return merge(event for events in make_decoder().raw_events(batch_of(records)) for event in events)


def connection(cookie: int, **changes: Any) -> bytes:
    fields = {"direction": Direction.EGRESS, "state": TcpState.ESTABLISHED, "is_idle_known": 1, "idle_ms": 5}
    return detailed_event(**{"type": RecordType.EXISTING, "cookie": cookie, **fields, **changes})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Lists made-up connections; remembers what was asked for."""
    calls: Asked = []

    def list_open(config: Config | None, **options: Any) -> Mapping[int, RawEvent]:
        calls.append((config, options))
        return found()

    monkeypatch.setattr("netmon.listing.list_open", list_open)
    monkeypatch.setattr("netmon.kernel.sock_diag.read_sockets", lambda: Seen(Ownerless(time_wait=2), {1, 77}))
    return calls


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(asked: Asked, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `netmon ls`; returns its exit code and what it writes."""

    def call(*flags: str) -> tuple[int, str, str]:
        code = main(["ls", *flags])
        written = capfd.readouterr()
        return code, written.out, written.err

    return call


def cookies_of(output: str) -> list[int]:
    return [json.loads(line)["network_event"]["cookie"] for line in output.splitlines()]


def test_json_lines_and_the_sockets_of_no_process(run: Run, asked: Asked) -> None:
    code, output, messages = run()
    assert (code, cookies_of(output)) == (0, [1, 2, 3])
    assert output == "".join(event.json() for event in found().values())
    assert messages == "netmon: 3 more belong to no process: 2 time-wait, 1 in no open file\n"
    ((config, options),) = asked
    assert config is None
    assert options == {**dict.fromkeys(REPORTS, False), "any_kernel": False}


def test_filters_choose_connections_and_nothing_is_said_of_others(run: Run, asked: Asked) -> None:
    assert run("--egress", "--dst-port", "443", "--parent", "--any-kernel")[2] == ""
    ((config, options),) = asked
    assert config is not None
    assert (config.ingress.enabled, config.egress.enabled) == (False, True)
    assert config.egress.port_filter is not None
    assert options == {**dict.fromkeys(REPORTS, False), "parent": True, "any_kernel": True}


def test_context_alone_is_no_filter(run: Run, asked: Asked) -> None:
    assert "belong to no process" in run("--context")[2]
    assert asked[0][0] is None


def test_lines_for_people(run: Run) -> None:
    header, *lines = run("--format", "line")[1].splitlines()
    assert header.split() == "PROCESS USER PEER STATE AGE IDLE SENT RECV RTT ARGUMENTS".split()
    assert [line.split()[0] for line in lines] == ["curl[4242]", "sshd[9]", "curl[4242]"]
    assert "root <- 192.0.2.1 on :22" in " ".join(lines[1].split())


def test_tables_templates_and_fields(run: Run) -> None:
    table = run("--format", "table")[1].splitlines()
    assert [line.split()[:2] for line in table] == [
        ["filename", "pid"],
        ["curl", "4242"],
        ["sshd", "9"],
        ["curl", "4242"],
    ]
    assert run("--template", "{process.pid} {network_event.state}")[1] == (
        "4242 established\n9 established\n4242 syn_sent\n"
    )
    assert run("--fields", "network_event.holders")[1] == '{"network_event":{"holders":1}}\n' * 3


ORDERS = {
    "pid": [2, 1, 3],
    "name": [1, 3, 2],
    "uid": [2, 1, 3],
    "peer": [1, 2, 3],
    "port": [2, 1, 3],
    "state": [1, 2, 3],
    "bytes": [1, 2, 3],
    "sent": [1, 2, 3],
    "received": [1, 2, 3],
    "resent": [1, 2, 3],
    "rtt": [3, 2, 1],
    "age": [2, 1, 3],  # of the others it is not known
    "idle": [1, 2, 3],
    "holders": [1, 2, 3],
}


@pytest.mark.parametrize(("key", "order"), ORDERS.items())
def test_sorting(key: str, order: list[int], run: Run) -> None:
    assert cookies_of(run("--sort", key)[1]) == order


def test_each_key_to_sort_by_is_tested() -> None:
    assert ORDERS.keys() == ls.SORT_KEYS.keys()


def test_the_other_way_round(run: Run) -> None:
    assert cookies_of(run("--reverse")[1]) == [3, 2, 1]
    assert cookies_of(run("--sort", "rtt", "--reverse")[1]) == [1, 2, 3]
    assert cookies_of(run("--sort", "age", "--reverse")[1])[0] == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--sort", "byte"), "--sort: byte is nothing to sort by; did you mean bytes?"),
        (("--sort", "\x1b[2J"), "--sort: '\\x1b[2J' is nothing to sort by; give one of pid, name, uid, peer, port, "),
        (("--format", "tabel"), "--format: tabel is no format; did you mean table?"),
        (("--fields", "process.pdi"), "--fields: process.pdi is no field of an event; did you mean process.pid?"),
        (("--dst-port", "x"), "--dst-port: "),
        (("--deny-port",), "--deny-port: inverts --port, --local-port or --peer-port"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_loaded(
    flags: tuple[str, ...], message: str, run: Run, asked: Asked
) -> None:
    code, output, messages = run(*flags)
    assert (code, output, asked) == (2, "", [])
    assert messages.startswith(f"netmon: {message}")


def test_without_sock_diag_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Seen:
        raise OSError(93, "Protocol not supported")

    monkeypatch.setattr("netmon.kernel.sock_diag.read_sockets", refuse)
    code, output, messages = run()
    assert (code, len(output.splitlines())) == (0, 3)
    assert messages == (
        "netmon: sockets that belong to no process are not counted: sock_diag: Protocol not supported\n"
    )


GONE = """
import sys
from netmon.cli.main import main
from netmon.config import Config
from tests.unit.cli.test_ls import found
import netmon.kernel.sock_diag as sock_diag, netmon.listing
sock_diag.read_sockets = lambda: sock_diag.Seen(sock_diag.Ownerless(time_wait=1), set())
events, count = found(), int(sys.argv[1])
netmon.listing.list_open = lambda *_, **__: {**{n: events[1] for n in range(count)}, **events}
sys.exit(main(["ls", *sys.argv[2:]]))
"""


@pytest.mark.parametrize("flags", [(), ("--format", "line")], ids=["JSON", "lines"])
def test_a_reader_that_goes_away_ends_it_quietly(flags: tuple[str, ...]) -> None:
    read_end, write_end = os.pipe()
    command = [sys.executable, "-c", GONE, "100000", *flags]
    with subprocess.Popen(command, stdout=write_end, stderr=subprocess.PIPE) as process:
        os.close(write_end)
        assert os.read(read_end, 10)
        os.close(read_end)
        _, messages = process.communicate()
    assert (process.returncode, messages) == (0, b"")


def test_a_reader_that_has_gone_before_ends_it_quietly() -> None:
    """The few lines are written at the end, when the buffer is flushed."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([sys.executable, "-c", GONE, "0"], stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_plain_list_imports_nothing_slow() -> None:
    program = (
        "import sys, netmon.listing\n"
        "from netmon.cli.main import main\n"
        "netmon.listing.list_open = lambda *_, **__: {}\n"
        "assert main(['ls', '--context']) == 0\n"
        "print(*sorted({*sys.modules} & {'pydantic', 'dataclasses', 'yaml', 'netmon.terminal'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"

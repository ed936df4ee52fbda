"""Events for journald and for a syslog: fields that cannot be forged, bounded, to a receiver that may be stuck."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from netmon.errors import NetmonError
from netmon.outputs.datagram import DatagramOutput
from netmon.outputs.fanout import Fanout
from netmon.outputs.journal import to_entry
from netmon.outputs.message import message_of, priority_of
from netmon.outputs.syslog import MAX_MESSAGE, SyslogEncoder
from tests.support.json_lines import connection_line, flow_line, loss_line, process
from tests.support.waiting import wait_until

FORGED = process(filename='a\nPRIORITY=0\nx="]', args='b\nMESSAGE=forged "quoted\\" ]', pid=7)


def fields_of(entry: bytes) -> list[tuple[str, str]]:
    """Read journald's native protocol as journald does."""
    found, at = [], 0
    while at < len(entry):
        end = entry.index(b"\n", at)
        line = entry[at:end]
        if b"=" in line:
            name, _, value = line.partition(b"=")
            at = end + 1
        else:
            size = int.from_bytes(entry[end + 1 : end + 9], "little")
            name, value = line, entry[end + 9 : end + 9 + size]
            assert entry[end + 9 + size : end + 10 + size] == b"\n"
            at = end + 10 + size
        found.append((name.decode(), value.decode()))
    return found


def test_an_entry_of_the_journal_has_the_keys_as_fields() -> None:
    fields = fields_of(to_entry(connection_line("Fail", 5, reason="refused", errno="ECONNREFUSED").encode()))
    assert ("MESSAGE", "curl[153] failed to connect to 192.0.2.10:443: refused") in fields
    assert {
        "PRIORITY": "6",
        "NETMON_TYPE": "NetworkEvent",
        "NETMON_EVENT": "TcpConnectionFail",
        "NETMON_COOKIE": "5",
        "NETMON_PROCESS_FILENAME": "curl",
        "NETMON_PROCESS_AUID": "4294967295",
        "SYSLOG_IDENTIFIER": "netmon",
    }.items() <= dict(fields).items()


def test_a_line_end_forges_no_field() -> None:
    fields = fields_of(to_entry(connection_line("Establish", by=FORGED).encode()))
    names = [name for name, _ in fields]
    assert names.count("PRIORITY") == names.count("MESSAGE") == 1
    assert dict(fields)["NETMON_PROCESS_ARGS"] == FORGED.args
    assert "\n" not in dict(fields)["MESSAGE"]


def test_names_of_others_are_no_names_of_fields() -> None:
    line = loss_line(count=3, ring_full=3, outputs={"/tmp/a\nB=": 2}, offenders={"/x=\n": 1})
    fields = dict(fields_of(to_entry(line.encode())))
    assert json.loads(fields["NETMON_LOST_OUTPUTS"]) == {"/tmp/a\nB=": 2}
    assert (fields["PRIORITY"], fields["MESSAGE"]) == ("4", "3 events lost")
    assert all(name.replace("_", "").isalnum() and name.isupper() for name in fields)


def test_a_message_of_syslog() -> None:
    text = SyslogEncoder().encode(connection_line("Establish", by=FORGED).encode()).decode()
    assert text.startswith("<30>1 2026-11-29T15:42:39.832Z ") and "\n" not in text
    head, structured, message = text.partition(" [netmon@32473 ")
    assert head.split()[3:] == ["netmon", str(os.getpid()), "NetworkEvent"]
    assert structured and 'event.cookie="1"' in message and 'process.pid="7"' in message
    assert r"""process.args="b\\nMESSAGE=forged \"quoted\\\" \]" """ in message


def test_a_message_of_syslog_is_bounded() -> None:
    data = SyslogEncoder().encode(connection_line("Establish", by=process(args="é" * 6000)).encode())
    assert len(data) <= MAX_MESSAGE
    assert b' cut="1"]' in data and b"process.pid=" in data and b"process.args=" not in data


@pytest.mark.parametrize(
    ("severity", "priority"), [("critical", 2), ("high", 3), ("medium", 4), ("low", 5), ("info", 6)]
)
def test_a_rule_decides_how_urgent_an_event_is(severity: str, priority: int) -> None:
    event = {**json.loads(connection_line("Establish")), "rules": ["a\x1b"], "severity": severity}
    assert priority_of(event) == priority
    assert message_of(event) == f"curl[153] connects to 192.0.2.10:443 ({severity}: a\\u001b)"
    assert message_of(json.loads(flow_line())).startswith("curl[153] had ")


class Receiver:
    """A receiver of datagrams, which receives only if it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(20)

    def receive(self) -> bytes:
        """Return a datagram, or the file that came in its place."""
        data, fds, _, _ = socket.recv_fds(self.socket, 1 << 20, 1)
        if fds:
            with open(fds[0], "rb") as file:
                file.seek(0)
                return file.read()
        return data

    def close(self) -> None:
        self.socket.close()
        self.path.unlink()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(tmp_path / "log")
    yield receiver
    if receiver.path.exists():
        receiver.close()


def line(number: int) -> str:
    return connection_line("Establish", number)


def test_a_receiver_that_is_stuck_holds_up_nobody_and_gets_all(receiver: Receiver) -> None:
    output = DatagramOutput("journald", str(receiver.path), to_entry, takes_files=True)
    with Fanout([output], report=lambda _message: None) as fanout:
        fanout.write([line(number) for number in range(500)])  # more than a socket's queue holds
        cookies = [dict(fields_of(receiver.receive()))["NETMON_COOKIE"] for _ in range(500)]
    assert cookies == [str(number) for number in range(500)]
    assert fanout.losses() == {}


def test_a_receiver_that_restarts_gets_what_comes_later(receiver: Receiver) -> None:
    said: list[str] = []
    output = DatagramOutput("journald", str(receiver.path), to_entry, said.append)
    with Fanout([output], report=said.append) as fanout:
        fanout.write([line(1)])
        receiver.receive()
        receiver.close()
        fanout.write([line(2)])
        wait_until(lambda: said, "a message")
        again = Receiver(receiver.path)
        assert dict(fields_of(again.receive()))["NETMON_COOKIE"] == "2"
        again.close()
    assert said[0].endswith("events wait, and those without room are lost") and said[-1].endswith("takes events again")


def test_an_entry_that_is_too_large_for_a_datagram_comes_as_a_file(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netmon.outputs.datagram.SEND_BUFFER", 4096)
    output = DatagramOutput("journald", str(receiver.path), to_entry, takes_files=True)
    args = "x" * 40_000
    data = connection_line("Establish", by=process(args=args)).encode()
    assert output.write_some(data, 0, 1) == len(data)
    assert dict(fields_of(receiver.receive()))["NETMON_PROCESS_ARGS"] == args
    output.close()


def test_without_a_receiver_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(NetmonError, match="No such file or directory"):
        DatagramOutput("syslog", str(tmp_path / "log"), SyslogEncoder().encode)

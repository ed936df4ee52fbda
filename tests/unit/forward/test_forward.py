"""`netmon forward` before a collector: each event is taken, waits, or is counted as lost, whatever fails."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netmon.forward.forwarder import MISSED_HERE, NOT_CONNECTED, REFUSED_BY
from tests.support.collector import Certificates, Collector, Reply
from tests.support.forwarding import EVENT_SIZE, Forward, Served, lines, own_directory
from tests.support.waiting import wait_until


@pytest.fixture
def directory() -> Iterator[Path]:
    directory = own_directory()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()
    assert collector.problems == []


@pytest.fixture
def served(directory: Path) -> Iterator[Served]:
    directory.chmod(0o755)
    served = Served(directory / "events.sock")
    yield served
    served.close()


@pytest.fixture
def start(directory: Path) -> Iterator[Callable[..., Forward]]:
    started: list[Forward] = []

    def start(url: str, *arguments: str, source: str = "", environment: dict[str, str] | None = None) -> Forward:
        source = source or f"unix:{directory}/events.sock"
        started.append(Forward("--from", source, "--to", url, *arguments, environment=environment))
        return started[-1]

    yield start
    for one in started:
        one.end(signal.SIGKILL)


def expect(collector: Collector, end: int) -> None:
    """Wait until a collector has the events up to a number, each once and in their order."""
    wait_until(lambda: len(collector.cookies) >= end or collector.problems, f"{end} events")
    assert collector.problems == []
    assert collector.cookies == [*range(end)]


def test_events_and_who_they_come_from(collector: Collector, served: Served, start: Callable[..., Forward]) -> None:
    secret = {
        "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20abc",
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=test,host.name=from-environment",
    }
    one = start(collector.url, "--resource", "service.name=edge", "--resource", "host.name=node-7", environment=secret)
    served.wait()
    served.put(0, 3000)
    expect(collector, 3000)
    assert collector.headers["Authorization"] == "Bearer abc"
    assert collector.headers["Content-Encoding"] == "gzip"
    assert "abc" not in Path(f"/proc/{one.process.pid}/cmdline").read_text()
    resource = collector.resource
    assert (resource["host.name"], resource["service.name"]) == ("node-7", "edge")
    assert (resource["os.type"] == "linux" and "host.id" in resource) or not Path("/etc/machine-id").exists()
    assert "netmon: 3000 events forwarded, 0 lost\n" in one.end()
    assert one.process.returncode == 0


def test_lines_of_standard_input(collector: Collector, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines(0, 5000) + b"no event\n" + lines(5000, 5001))
    with path.open() as file:
        one = Forward("--from", "-", "--to", collector.url, stdin=file)
        assert one.process.wait(60) == 0
    assert "5001 events forwarded, 1 lost (1 unreadable)" in one.end()
    assert sorted(collector.cookies) == [*range(5001)]
    assert collector.lost == {"forward: unreadable": 1}


def test_a_collector_that_is_down_for_a_while(directory: Path, served: Served, start: Callable[..., Forward]) -> None:
    """Without a spool events wait in memory, and without room in netmon, which tells what it had to drop."""
    first = Collector()
    port = first.port
    one = start(first.url)
    served.wait()
    served.put(0, 100)
    expect(first, 100)
    first.close()
    count = 100 + (16 << 20) // EVENT_SIZE  # more than 8 MiB in memory, 4 MiB in netmon, and what sockets hold
    served.put(100, count)
    one.wait_for("events wait")
    wait_until(lambda: served.server.lost, "what finds no room")
    second = Collector(port)
    wait_until(lambda: len(second.cookies) + second.lost.get(MISSED_HERE, 0) >= count - 100, "all events")
    served.put(count, count + 10)
    wait_until(lambda: count + 9 in second.cookies[-10:], "those that come later")
    assert second.lost == {MISSED_HERE: served.server.lost}
    assert len({*second.cookies}) == len(second.cookies) == count + 10 - 100 - served.server.lost
    assert second.cookies == sorted(second.cookies)
    assert second.problems == []
    second.close()
    said = one.end()
    assert "takes events again" in said
    assert f"{served.server.lost} lost ({served.server.lost} too slow)" in said


@pytest.mark.parametrize("spooled", [False, True], ids=["memory", "spool"])
def test_answers_of_a_collector(
    collector: Collector, directory: Path, served: Served, start: Callable[..., Forward], spooled: bool
) -> None:
    collector.replies = [
        Reply(503, b'{"message":"overloaded"}', (("Retry-After", "1"),)),
        Reply(429, b""),
        Reply(401, b"token expired"),  # which may be renewed in the file
        Reply(200, b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}'),
    ]
    one = start(collector.url, *(["--spool", f"{directory}/spool"] if spooled else []))
    served.wait()
    served.put(0, 10)
    one.wait_for("2 events refused: too old")
    collector.replies = [Reply(413), Reply(413), Reply(), Reply(400, b'{"message":"\x1b[31m"}')]
    served.put(10, 200)
    one.wait_for("events refused: HTTP 400")
    served.put(200, 210)
    wait_until(lambda: 209 in collector.cookies and REFUSED_BY in collector.lost, "the last event")
    refused = 200 - 10 - len([cookie for cookie in collector.cookies if cookie < 200])
    assert 0 < refused < 190
    wait_until(lambda: collector.lost == {REFUSED_BY: refused + 2}, "reports of what was refused")
    said = one.end()
    assert f"{refused + 2} lost ({refused + 2} refused by the collector)" in said
    assert "HTTP 503: overloaded; events wait" in said
    assert "\x1b" not in said


def test_headers_of_a_file_are_read_again(
    collector: Collector, directory: Path, served: Served, start: Callable[..., Forward]
) -> None:
    path = directory / "headers"
    path.write_text("# a comment\nAuthorization: Bearer old\n")
    path.chmod(0o644)
    start(collector.url, "--headers-file", str(path))
    served.wait()
    collector.replies = [Reply(403, b"")]
    served.put(0, 1)
    wait_until(lambda: collector.headers.get("Authorization") == "Bearer old", "the first request")
    new = directory / "new"
    new.write_text("Authorization: Bearer new\n")
    new.chmod(0o644)
    new.replace(path)  # as Kubernetes and others renew secrets
    expect(collector, 1)
    assert collector.headers["Authorization"] == "Bearer new"


def test_tls(directory: Path, served: Served, start: Callable[..., Forward]) -> None:
    """The collector's certificate is checked; a wrong authority, or none of one's own, loses nothing."""
    certificates = Certificates(directory)
    for file in directory.glob("*.pem"):
        file.chmod(0o644)
    collector = Collector(context=certificates.context(wants_client=True))
    wrong = start(collector.url, "--ca", str(certificates.other_ca))
    served.wait()
    served.put(0, 10)
    wrong.wait_for("the certificate is not accepted: ")
    assert collector.requests == 0
    wrong.end()
    assert "10 lost (10 not delivered)" in wrong.said or "10 not delivered" in wrong.said
    assert wrong.process.returncode == 1
    own = ("--ca", str(certificates.ca), "--client-cert", str(certificates.client))
    right = start(collector.url, *own)
    served.wait()
    served.put(0, 10)
    expect(collector, 10)
    right.end()
    collector.close()
    assert collector.problems == []


def test_a_kill_and_a_restart_with_a_spool(
    directory: Path, served: Served, start: Callable[..., Forward], collector: Collector
) -> None:
    """Each event arrives, perhaps twice, or is counted as missed, also those that were on their way."""
    arguments = ("--spool", f"{directory}/spool")
    at = 0
    for round_ in range(4):
        one = start(collector.url, *arguments)
        wait_until(lambda: served.server.readers == 1, "the new reader")
        for _ in range(20):
            served.put(at, at + 200)
            at += 200
        if round_ % 2:
            progress = len(collector.cookies) + 1000
            wait_until(lambda enough=progress: len(collector.cookies) > enough, "some progress")  # type: ignore[misc]
        one.end(signal.SIGKILL)
        wait_until(lambda: served.server.readers == 0, "its end")
        served.put(at, at + 50)  # nobody is there
        at += 50
    start(collector.url, *arguments)
    wait_until(lambda: served.server.readers == 1, "the last reader")
    served.put(at, at + 1)

    def missed() -> int:
        unique = {
            record["log.record.uid"]: record for record in list(collector.reports)
        }.values()  # what was sent twice counts once
        return sum(record["netmon.lost_events.outputs"].get(NOT_CONNECTED, 0) for record in unique)

    wait_until(lambda: len({*collector.cookies}) + missed() >= at + 1, "all events")
    assert len({*collector.cookies}) + missed() == at + 1
    assert missed() >= 4 * 50


def test_a_stop_and_a_start_of_the_collector_with_a_spool(
    directory: Path, served: Served, start: Callable[..., Forward]
) -> None:
    """Nothing is lost, though neither netmon's queue nor memory could hold it, and though it is restarted."""
    count = (8 << 20) // EVENT_SIZE
    before = Collector()
    before.close()
    arguments = (before.url, "--spool", f"{directory}/spool")
    one = start(*arguments)
    served.wait()
    for number in range(0, count, 2000):
        served.put(number, min(count, number + 2000))
        wait_until(lambda: not next(iter(served.server._readers.values())).pieces, "room")
    one.wait_for("events wait")
    wait_until(lambda: sum(file.stat().st_size for file in directory.glob("spool/*.jsonl")) > count * EVENT_SIZE)
    said = one.end()
    assert "0 lost" in said and "bytes wait in" in said
    wait_until(lambda: served.server.readers == 0, "its end")
    after = Collector(before.port)
    start(*arguments)
    expect(after, count)
    wait_until(lambda: len([*directory.glob("spool/*.jsonl")]) == 1, "the removal of what was sent")
    after.close()
    assert after.problems == [] and after.lost == {}


def test_a_full_disk(directory: Path, served: Served, start: Callable[..., Forward]) -> None:
    spool = directory / "spool"
    spool.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,uid=65534,gid=65534,mode=700", "tmpfs", spool]
    ).returncode:
        pytest.skip("takes root's right to mount")
    try:
        gone = Collector()
        gone.close()
        one = start(gone.url, "--spool", str(spool))
        served.wait()
        count = (8 << 20) // EVENT_SIZE
        served.put(0, count)
        one.wait_for(f"the spool: {os.strerror(errno.ENOSPC)}")
        wait_until(lambda: served.server.lost, "what finds no room")
        back = Collector(gone.port)
        wait_until(lambda: len(back.cookies) + back.lost.get(MISSED_HERE, 0) >= count, "all events")
        assert back.lost == {MISSED_HERE: served.server.lost}
        assert len({*back.cookies}) == len(back.cookies) == count - served.server.lost
        one.wait_for("the spool: can be written to again")
        one.end()
        back.close()
    finally:
        subprocess.run(["umount", "-l", spool], check=True)


def test_stopped_and_continued(collector: Collector, served: Served, start: Callable[..., Forward]) -> None:
    one = start(collector.url)
    served.wait()
    served.put(0, 1000)
    one.send(signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{one.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    served.put(1000, 5000)
    one.send(signal.SIGCONT)
    expect(collector, 5000)
    assert served.server.lost == 0


def test_netmon_restarts(directory: Path, collector: Collector, start: Callable[..., Forward]) -> None:
    """What the new one reports before the connection is counted; what the old one has reported arrives."""
    path = directory / "events.sock"
    first = Served(path)
    one = start(collector.url)
    first.wait()
    first.put(0, 1000)
    first.close()
    one.wait_for("netmon has ended; waits for it")
    second = Served(path)
    second.put(1000, 1010)  # perhaps nobody is there yet
    second.wait()
    second.put(1010, 1020)
    wait_until(lambda: 1019 in collector.cookies, "the events of the new one")
    missed = collector.lost.get(NOT_CONNECTED, 0)
    assert missed in (0, 10)
    assert len(collector.cookies) == 1020 - missed
    second.close()
    one.end()


def test_a_collector_that_answers_nothing(served: Served, start: Callable[..., Forward], collector: Collector) -> None:
    """A request that hangs is given up, and sent again."""
    released = time.monotonic() + 3
    collector.hold = lambda: wait_until(lambda: time.monotonic() > released, "the release")
    one = start(collector.url, "--timeout", "500ms")
    served.wait()
    served.put(0, 10)
    one.wait_for("does not answer; events wait")
    wait_until(lambda: {*collector.cookies} == {*range(10)}, "the events")
    collector.hold = lambda: None


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ((), "--to: is missing; give the URL of a collector, like https://collector.example:4318", 2),
        (("--to", "collector:4318"), "collector:4318 is no URL of a collector", 2),
        (("--to", "https://user:secret@c"), "has a password, which everybody can see", 2),
        (("--to", "http://c", "--from", "/tmp/x"), "/tmp/x is no source; give unix:PATH", 2),
        (("--to", "http://c", "--resource", "host"), "host: write it like host.name=node-7", 2),
        (("--to", "http://c", "--client-key", "k"), "--client-key: needs --client-cert", 2),
        (("--to", "https://c", "--ca", "/nowhere"), "/nowhere: No such file or directory", 1),
        (("--to", "http://c", "--headers-file", "/dev/zero"), "/dev/zero: is no regular file", 1),
        (("--to", "http://c", "--spool", "/proc/x"), "/proc/x: ", 1),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], message: str, code: int) -> None:
    one = Forward(*arguments)
    one.process.wait(60)
    said = one.end()
    assert message in said and "secret" not in said
    assert one.process.returncode == code


def test_a_wrong_header_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_text("Authorization: Bearer s3cret\x01\n")
    one = Forward("--to", "http://c", "--headers-file", str(path))
    one.process.wait(60)
    assert "the value of Authorization has characters that no header may have" in one.end()
    assert "s3cret" not in one.said


def test_a_line_of_the_collector_is_an_event(
    collector: Collector, served: Served, start: Callable[..., Forward]
) -> None:
    """Lines keep their ids, so that what was sent twice is found."""
    start(collector.url, "--compression", "none")
    served.wait()
    served.put(0, 2)
    expect(collector, 2)
    first, second = collector.records
    assert "Content-Encoding" not in collector.headers
    assert len({first["log.record.uid"], second["log.record.uid"]}) == 2
    assert json.loads(lines(0, 1))["process"]["pid"] == first["process.pid"]

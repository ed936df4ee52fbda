"""`netmon replay`: what `netmon run --record` has recorded, on a terminal and in a pipe."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import netmon
from netmon import Config, NetworkEvent
from netmon.cli.main import main
from netmon.outputs.base import Output
from tests.support.schemas.validators import ecs_problems
from tests.support.scripted_source import scripted
from tests.unit.cli.test_run import EVENTS, _handlers, run_on  # noqa: F401
from tests.unit.recording.test_replay import ALL, scene

OPTIONS = ("--exec", "--progress", "30s", "--events", "establish,close,progress", "--statistics", "--parent")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    with scripted(*scene(), record=path, config=ALL) as monitor:
        list(monitor.json_lines())
    return path


def replay(*arguments: str | Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error. Its output closes standard output."""
    stdout = os.dup(1)
    try:
        code = main(["replay", *map(str, arguments)])
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
    return code, *capfd.readouterr()


def test_it_writes_the_json_that_the_run_wrote(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, events = tmp_path / "recording", tmp_path / "events"
    output = Output("file", os.open(events, os.O_WRONLY | os.O_CREAT))
    run_on([output], lambda filler: filler.send(1 + EVENTS), arguments=["--record", str(path), *OPTIONS])
    capfd.readouterr()
    assert replay(path, capfd=capfd) == (0, events.read_text(), f"netmon: {EVENTS} events, 0 lost\n")


def test_it_writes_lines_tables_templates_and_fields(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, lines, said = replay(recording, "--format", "line", "--each", capfd=capfd)
    assert "curl[4242]" in lines and "10.0.0.1" not in lines.splitlines()[0]
    assert "netmon: 6 events, 1 lost (1 unknown process, 1 workload unknown)" in said
    _, table, _ = replay(recording, "--fields", "process.pid,network_event.cookie", "--format", "table", capfd=capfd)
    assert table.splitlines()[1].split() == ["4242", "99"]
    _, text, _ = replay(recording, "--template", "<{process.pid}>", capfd=capfd)
    assert text.startswith("<4242>\n")
    _, fields, _ = replay(recording, "--fields", "process.pid", capfd=capfd)
    assert fields.startswith('{"process":{"pid":4242}}\n')


def test_a_configuration_chooses_events(recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "netmon.yaml"
    config.write_text("egress: {enabled: true}\nprocess_filter: {pid: [9]}\n")
    _, lines, _ = replay(recording, "--config", config, "--template", "{process.pid}", capfd=capfd)
    assert lines == "9\n4242\n"  # another process closes the connection
    events = [*netmon.replay(recording, Config.from_yaml(config))]
    assert [event.process.pid for event in events if isinstance(event, NetworkEvent)] == [9, 4242]
    config.write_text("egress: {enabled: true}\nprocess_filter: {descendants: [9]}\n")
    code, _, said = replay(recording, "--config", config, capfd=capfd)
    assert (code, said.startswith("netmon: --config: has process_filter.descendants, but")) == (2, True)


def test_flags_choose_events(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, lines, said = replay(recording, "--peer", "2001:db8::/32", "--template", "{network_event.daddr}", capfd=capfd)
    assert lines == "2001:db8::2\n"
    assert "netmon: 1 of 6 events, 1 lost" in said
    _, lines, _ = replay(recording, "--name", "curl", "--pid", "9", "--template", "{process.pid}", capfd=capfd)
    assert lines.splitlines()[0] == "9"
    _, lines, _ = replay(recording, "--name", "wget", "--template", "{process.pid}", capfd=capfd)
    assert lines == ""


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--tree", "1"], "--tree: events do not say who descends from whom; give the --pid of each process"),
        (["--comm", "x"], "--comm: events do not say what a process calls itself; give --name, which is"),
        (["--netns", "/proc/1/ns/net"], "--netns: '/proc/1/ns/net' is a path of this host; give the number"),
        (["--config", "f", "--pid", "1"], "--config: cannot be combined with flags that choose events; write them"),
    ],
)
def test_flags_that_choose_nothing_recorded(
    flags: list[str], problem: str, recording: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, lines, said = replay(recording, *flags, capfd=capfd)
    assert (code, lines) == (2, "")
    assert said.startswith(f"netmon: {problem}")


def test_what_is_wrong_is_said(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert replay("/nowhere", capfd=capfd) == (2, "", "netmon: /nowhere: No such file or directory\n")
    assert replay(recording, "--format", "lin", capfd=capfd)[2].startswith("netmon: --format: lin is no format")
    data = recording.read_bytes()
    recording.write_bytes(data[:-30])
    code, lines, said = replay(recording, capfd=capfd)
    assert (code, lines.count("NetworkEvent")) == (0, 6)
    assert said.endswith("ends before the run did: it reached its limit, the disk was full, or netmon was killed\n")
    damaged = bytearray(data)
    damaged[-30] ^= 1
    recording.write_bytes(damaged)
    code, lines, said = replay(recording, capfd=capfd)
    assert code == 1
    assert said.startswith(f"netmon: {recording}: damaged at byte ")


def test_a_recording_that_ends_early_is_said_by_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recording"
    output = Output("file", os.open(os.devnull, os.O_WRONLY))
    arguments = ["--record", str(path), "--record-limit", "1M"]
    run_on([output], lambda filler: filler.send(20_000), arguments=arguments)
    said = capsys.readouterr().err
    assert f"netmon: {path}: has reached its limit of 1048576 bytes; goes on without the recording\n" in said
    assert " not written to recording\n" in said
    assert path.stat().st_size < 1 << 20


def test_it_writes_the_schemas_of_others_without_a_host(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = replay(recording, "--format", "ecs", capfd=capfd)
    documents = [json.loads(line) for line in lines.splitlines()]
    assert (code, len(documents)) == (0, 7)
    assert all(not ecs_problems(document) for document in documents)
    assert documents[0]["host"] == {"os": {"type": "linux"}}  # a recording does not tell whose it is
    assert documents[0]["process"]["args"][0] == "curl"
    assert "argv" in replay(recording, "--format", "json", "--argv", capfd=capfd)[1]
    assert "argv" not in replay(recording, "--format", "json", capfd=capfd)[1]

"""`netmon run --output`: several outputs at once, after rights are given up, and what is refused before the start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netmon.capabilities import capability_mask
from netmon.cli.main import main, make_parser
from netmon.cli.outputs import open_outputs
from netmon.config import Config
from netmon.config.outputs import parse_output
from netmon.errors import ConfigError
from netmon.outputs.base import Output
from tests.support.schemas.validators import ecs_problems, ocsf_problems, otel_problems
from tests.support.waiting import wait_until
from tests.unit.cli.test_file_settings import applied
from tests.unit.outputs.lines import in_order

EVENTS = 3000
# `netmon run` on a source whose records are sent in two parts, the second one after a line on standard input.
RUN = """
import sys, threading
from netmon.cli import main, run
from tests.support.ring_filler import Filler
from tests.unit.cli.test_confine import MIX
run_with = run.run_with
def open_filler(filters, ring_size, *, aggregate):
    filler = Filler(MIX, ring_size)
    filler.send(1 + int(sys.argv[1]))
    return filler
run.run_with = lambda outputs, options, signals, **more: run_with(outputs, options, signals, open_filler, **more)
sys.exit(main.main(["run", "--any-kernel", *sys.argv[2:]]))
"""


@contextmanager
def running(
    *arguments: str, events: int = EVENTS, stdout: int = subprocess.DEVNULL, before: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Yield a run that is ready; end it if that has not happened. before: what it says before it is ready."""
    command = [sys.executable, "-c", RUN, str(events), *arguments]
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = ""
            while not said.endswith("netmon: ready\n"):
                line = process.stderr.readline()
                assert line, said
                said += line
            assert said == f"{before}netmon: ready\n"
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str]) -> str:
    """End a run by SIGTERM, and return what it has said."""
    process.terminate()
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait(60) == 0, said
    return said


def events_of(path: Path) -> int:
    """Return how many events a file and the older ones have; -1 if it is being rotated."""
    try:
        return sum(part.read_bytes().count(b'"NetworkEvent"') for part in in_order(path))
    except FileNotFoundError:
        return -1


@pytest.mark.parametrize("user", [[], ["--user", "65534"]], ids=["root", "nobody"])
def test_a_file_is_rotated_and_opened_again_without_rights(tmp_path: Path, user: list[str]) -> None:
    """Landlock lets it make files in that directory alone; the new ones are the user's."""
    if os.geteuid() != 0:
        pytest.skip("gives up root's rights")
    logs = tmp_path / "logs"
    logs.mkdir()
    if user:
        os.chown(logs, 65534, 65534)
        for above in (tmp_path, *tmp_path.parents[:2]):
            above.chmod(0o755)
    path = logs / "events.jsonl"
    with running("--output", f"file:{path},rotate_size=64K,keep=99", *user) as process:
        wait_until(lambda: events_of(path) == EVENTS)
        status = Path(f"/proc/{process.pid}/status").read_text()
        capabilities = int(status.split("CapEff:\t")[1].split()[0], 16)
        assert capabilities & ~capability_mask("DAC_READ_SEARCH") == 0 and "NoNewPrivs:\t1" in status
        moved = logs / "moved"
        path.rename(moved)
        process.send_signal(signal.SIGUSR1)
        wait_until(path.exists)
        said = end(process)
    assert said == f"netmon: {EVENTS} events, 0 lost\n"
    assert len([*in_order(path)]) > 10
    assert path.stat().st_uid == (65534 if user else 0)


def test_a_directory_that_the_user_may_not_write_to_is_said(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("gives up root's rights")
    path = tmp_path / "events.jsonl"
    tmp_path.chmod(0o755)
    said = f"netmon: {path}: its directory cannot be written to by user 65534: it is neither rotated nor reopened\n"
    with running("--output", f"file:{path}", "--user", "65534", events=10, before=said) as process:
        wait_until(lambda: events_of(path) == 10)
        assert end(process) == "netmon: 10 events, 0 lost\n"
    assert path.stat().st_uid == 65534


def test_each_output_has_its_format_and_its_events(tmp_path: Path) -> None:
    names = {"ecs": ecs_problems, "ocsf": ocsf_problems, "otel": otel_problems}
    outputs = [f"--output=file:{tmp_path / name},format={name}" for name in names]
    chosen = f"--output=file:{tmp_path / 'closes'},events=close+lost"
    with running(*outputs, chosen, "--output=stdout", events=200, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(200)]
        wait_until(lambda: all((tmp_path / name).read_bytes().count(b"\n") == 200 for name in names))
        end(process)
    for name, problems in names.items():
        documents = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        assert [found for document in documents if (found := problems(document))] == []
    events = [json.loads(line) for line in lines]
    assert "argv" in events[0]["process"]  # as the schemas have it
    closes = (tmp_path / "closes").read_text().splitlines()
    assert [json.loads(line) for line in closes] == [
        event for event in events if event["network_event"]["type"] == "TcpConnectionClose"
    ]


def test_a_socket_serves_and_a_stuck_standard_output_holds_up_nobody(tmp_path: Path) -> None:
    path, config = tmp_path / "events.sock", tmp_path / "netmon.yaml"
    file = tmp_path / "events.jsonl"
    outputs = [
        {"type": "stdout"},
        {"type": "unix", "path": str(path), "mode": "0660"},
        {"type": "file", "path": str(file)},
    ]
    config.write_text(json.dumps({"egress": {"enabled": True}, "run": {"outputs": outputs}}))
    read_end, write_end = os.pipe()  # nobody reads it
    with running("--config", str(config), events=EVENTS, stdout=write_end) as process:
        wait_until(lambda: events_of(file) == EVENTS)
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        process.kill()
    os.close(read_end)
    os.close(write_end)
    assert path.exists()
    with running("--output", f"unix:{path}", events=1):  # what the kill has left is replaced
        pass


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        (["fil:/tmp/a"], "'fil:/tmp/a': type: fil must be stdout, file, unix, journald or syslog"),
        (["file"], "'file': path is missing, which file needs"),
        (["file:"], "'file:': path:  is no path; write it like /var/log/netmon/events.jsonl"),
        (["file:/tmp/a,format=xml"], "'file:/tmp/a,format=xml': format: xml must be json, ecs, ocsf or otel"),
        (["file:/tmp/a,keep=3"], "'file:/tmp/a,keep=3': keep needs rotate_size or rotate_every"),
        (["unix:/tmp/a,keep=3"], "'unix:/tmp/a,keep=3': keep does not go with unix, but with file"),
        (["stdout,format=ecs"], "'stdout,format=ecs': format does not go with stdout, but with file and unix"),
        (["file:/tmp/a,events=clos"], "is no event; they are establish, accept, close,"),
        (["file:/tmp/a,rotate_size=1"], "rotate_size: 1 is less than a file may have, 64K"),
        (["unix:/tmp/a,mode=888"], "mode: 888 must be an octal mode like '0660'"),
        ([f"unix:/{'a' * 107}"], "path is longer than the 107 bytes that the path of a socket may have"),
        (["stdout", "-"], "stdout is there twice; leave one out"),
    ],
)
def test_what_is_wrong_is_said_before_the_start(
    outputs: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--any-kernel", *(f"--output={output}" for output in outputs)]) == 2
    out, said = capsys.readouterr()
    assert out == "" and said.startswith("netmon: --output: ") and problem in said


def test_flags_for_standard_output_need_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, problem in {
        ("--format", "table"): "--format: table is for standard output; add --output stdout",
        ("--fields", "type"): "--fields: is for standard output; add --output stdout, or leave it out",
    }.items():
        assert main(["run", "--any-kernel", f"--output=file:{tmp_path / 'a'}", *flags]) == 2
        assert capsys.readouterr().err == f"netmon: {problem}\n"


def test_a_path_may_have_commas() -> None:
    fields = parse_output("file:/tmp/a,b=c,keep=2,rotate_every=1h,events=close+fail")
    assert fields == {
        "type": "file",
        "path": "/tmp/a,b=c",
        "keep": 2,
        "rotate_every": "1h",
        "events": ["close", "fail"],
    }


OF_FILE = """
run:
  outputs:
    - {type: file, path: /tmp/a, rotate_size: 100M, keep: 3, events: [close, lost], format: otel}
    - type: stdout
"""


def test_a_file_describes_the_same_and_a_flag_wins(tmp_path: Path) -> None:
    text = f"egress: {{enabled: true}}{OF_FILE}"
    expected = [parse_output("file:/tmp/a,rotate_size=100M,keep=3,events=close+lost,format=otel"), {"type": "stdout"}]
    read = applied(tmp_path, text).outputs
    assert [dict(sorted(fields.items())) for fields in read] == [dict(sorted(fields.items())) for fields in expected]
    assert applied(tmp_path, text, "--output", "stdout").outputs == [{"type": "stdout"}]
    config = Config.from_dict({"egress": {"enabled": True}, "run": {"outputs": read}})
    assert config.to_dict()["run"]["outputs"] == read


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("{type: pipe}", "run.outputs[0].type: 'pipe' must be stdout, file, unix, journald or syslog"),
        ("{path: /tmp/a}", "run.outputs[0]: type is missing; give one of stdout, file, unix, journald, syslog"),
        ("{type: file}", "run.outputs[0]: path is missing, which file needs"),
        ("{type: stdout, keep: 3}", "run.outputs[0].keep: does not go with stdout, but with file"),
        ("{type: unix, path: /tmp/a, mode: '0999'}", "run.outputs[0].mode: '0999' must be an octal mode"),
        ("{type: file, path: /tmp/a, events: [cloze]}", "run.outputs[0].events[0]: 'cloze' is no event; they are"),
        ("{type: file, path: /tmp/a, kep: 3}", "run.outputs[0].kep: unknown key; did you mean keep?"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_by_its_place(output: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "netmon.yaml"
    path.write_text(f"egress: {{enabled: true}}\nrun:\n  outputs:\n    - {output}\n")
    with pytest.raises(ConfigError) as refused:
        Config.from_yaml(path)
    assert problem in str(refused.value)


def test_zstd_is_refused_where_python_lacks_it(tmp_path: Path) -> None:
    options = make_parser(["run"]).parse_args(
        ["run", "--output", f"file:{tmp_path / 'a'},rotate_size=1M,compress=zstd"]
    )
    if sys.version_info >= (3, 14):
        opened = open_outputs(options, None, lambda reopen: None).opened
        assert isinstance(opened[0], Output)
    else:
        with pytest.raises(ConfigError, match=r"^--output: zstd needs Python 3.14 or newer"):
            open_outputs(options, None, lambda reopen: None)

"""The control socket of a run, and the commands that ask it: status, reload, metrics."""

from __future__ import annotations

import argparse
import json
import os
import socket
import stat
import time
from hashlib import sha256
from pathlib import Path

import pytest

from netmon.cli.main import main
from netmon.control.protocol import ask
from netmon.control.server import CLIENTS
from netmon.errors import NetmonError
from netmon.losses import Losses
from netmon.outputs.base import Output
from tests.support.controlled_run import run_controlled
from tests.support.ring_filler import Filler
from tests.support.waiting import DEADLINE, wait_until

EVERYTHING = "ingress: {enabled: true}\negress: {enabled: true}\n"


def status_with(path: str, events: int) -> dict[str, object]:
    """Return the status once so many events were reported."""
    return wait_until(lambda: (answer := ask(path, "status", DEADLINE))["events"] == events and answer)  # type: ignore[no-any-return]


def test_a_status_tells_what_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def act(filler: Filler, path: str) -> None:
        filler.send(1 + 100)
        answer = status_with(path, 100)
        assert (answer["live"], answer["ready"], answer["pid"]) == (True, True, os.getpid())
        assert answer["configuration"] == {
            "file": None,
            "sha256": None,
            "generation": 1,
            "since": answer["configuration"]["since"],  # type: ignore[index]
            "last_reload": None,
            "failed_reloads": 0,
        }
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        assert main(["status", "--control", path]) == 0
        assert main(["status", "--control", path, "--ready"]) == 0
        assert main(["status", "--control", path, "--format", "json"]) == 0

    run_controlled(tmp_path, act)
    shown, end, document = capsys.readouterr().out.partition("\n{")
    assert "configuration: flags alone\nreports: ingress, egress\nevents: 100, 0 lost\n" in shown
    assert "output file: 100 events, 0 lost\n" in shown
    assert json.loads(end + document)["outputs"] == [
        {"name": "file", "lines": 100, "lost": 0, "waiting": 0, "readers": None, "problem": ""}
    ]


def test_a_reload_returns_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "netmon.yaml"
    config.write_text(EVERYTHING)

    def digest() -> str:
        return sha256(config.read_bytes()).hexdigest()

    def act(_filler: Filler, path: str) -> None:
        assert ask(path, "status")["configuration"]["sha256"] == digest()
        config.write_text(EVERYTHING + "# another\n")
        assert main(["reload", "--control", path]) == 0
        assert ask(path, "status")["configuration"]["generation"] == 2
        assert ask(path, "status")["configuration"]["sha256"] == digest()
        config.write_text("nonsense: true\n")
        assert main(["reload", "--control", path]) == 1
        answer = ask(path, "status")["configuration"]
        assert (answer["generation"], answer["failed_reloads"]) == (2, 1)
        assert answer["last_reload"]["error"].startswith(f"{config}:1: nonsense: unknown key")
        assert main(["status", "--control", path]) == 0

    run_controlled(tmp_path, act, "--config", str(config))
    out, err = capsys.readouterr()
    assert f"netmon: reloaded {config}, sha256 " in err
    assert f"netmon: {config} not reloaded: netmon goes on as before" in err
    assert "the last reload failed at " in out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to any group")
def test_a_group_may_connect(tmp_path: Path) -> None:
    def act(_filler: Filler, path: str) -> None:
        found = Path(path).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, 4)

    run_controlled(tmp_path, act, "--control-group", "4")


def test_without_a_file_there_is_nothing_to_reload(tmp_path: Path) -> None:
    def act(_filler: Filler, path: str) -> None:
        with pytest.raises(NetmonError, match="no configuration file to reload: start netmon run with --config"):
            ask(path, "reload")

    run_controlled(tmp_path, act)


def test_clients_hold_up_nothing(tmp_path: Path) -> None:
    """Some say nothing, one says nonsense, and one says too much; events go on."""

    def act(filler: Filler, path: str) -> None:
        silent = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(CLIENTS - 1)]
        for client in silent:
            client.connect(path)
        for request in (b"nonsense\n", b"[]\n", b'{"command": ["status"]}\n', b'{"command": "go"}\n', b"x" * 5000):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(DEADLINE)
                client.connect(path)
                client.sendall(request)
                assert json.loads(client.makefile().readline())["ok"] is False
        filler.send(1 + 100)
        status_with(path, 100)
        for client in silent:
            client.close()

    run_controlled(tmp_path, act)


def test_metrics_count_what_the_events_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    textfile = tmp_path / "netmon.prom"

    def act(filler: Filler, path: str) -> None:
        filler.send(1 + 1000)
        status_with(path, 1000)
        wait_until(lambda: sum(one["count"] for one in ask(path, "status")["counted"]["connections"]) == 500)
        assert main(["metrics", "--control", path]) == 0
        assert main(["metrics", "--control", path, "--textfile", str(textfile)]) == 0

    run_controlled(tmp_path, act, "--metrics", "--outcome", "--statistics")
    lines = capsys.readouterr().out.splitlines()
    assert {
        "netmon_events_total 1000",
        'netmon_output_events_total{output="file"} 1000',
        'netmon_lost_events_total{reason="ring_full"} 0',
        'netmon_connections_total{direction="egress",result="established"} 500',
        "netmon_connections_closed_total 500",
        'netmon_handshake_seconds_bucket{le="+Inf"} 500',
        "netmon_connection_duration_seconds_count 500",
        'netmon_binary_connections_total{binary="/usr/local/lib/service/bin/worker-1"} 500',
    } <= {*lines}
    assert [line for line in textfile.read_text().splitlines() if line.startswith("netmon_events")] == [
        "netmon_events_total 1000"
    ]
    assert stat.S_IMODE(textfile.stat().st_mode) & 0o444 == 0o444
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_without_metrics_nothing_is_counted_of_events(tmp_path: Path) -> None:
    def act(_filler: Filler, path: str) -> None:
        assert ask(path, "status")["counted"] is None

    run_controlled(tmp_path, act)


def test_a_run_that_is_held_up_is_told_from_one_that_is_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody reads its only output."""
    monkeypatch.setattr("netmon.cli.run_control.LIVE_LIMIT", 0.5)
    monkeypatch.setattr("netmon.outputs.direct.DRAIN_LIMIT", 0.2)
    reader, writer = os.pipe()

    def act(filler: Filler, path: str) -> None:
        filler.send(1 + 2000)
        wait_until(lambda: not ask(path, "status")["live"])
        assert main(["status", "--control", path, "--live"]) == 1
        assert main(["status", "--control", path]) == 0

    run_controlled(tmp_path, act, outputs=[Output("pipe", writer)])
    os.close(reader)
    out, err = capsys.readouterr()
    assert "netmon: not live" in err
    assert "not ready" in out
    assert "is the reader of its output stuck?" in out


@pytest.mark.parametrize("command", ["status", "reload", "metrics"])
def test_nobody_there_is_an_error_with_a_remedy(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "control")
    assert main([command, "--control", path]) == 1
    assert capsys.readouterr().err == (
        f"netmon: {path}: is not there: start netmon run with --control {path}, or name its socket\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(path)
    assert main([command, "--control", path]) == 1
    assert capsys.readouterr().err == f"netmon: {path}: nobody serves it any more: netmon has ended\n"


def test_one_that_does_not_answer_is_waited_for_until_a_deadline(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "control"))
        listener.listen()
        begin = time.monotonic()
        with pytest.raises(NetmonError, match="does not answer within"):
            ask(str(tmp_path / "control"), "status", 0.2)
        assert time.monotonic() - begin < DEADLINE


def test_the_socket_of_another_is_not_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "control").write_text("a file")
    assert main(["run", "--any-kernel", "--control", str(tmp_path / "control")]) == 1
    assert "is there already, and is no socket" in capsys.readouterr().err


def test_an_environment_variable_names_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETMON_CONTROL", str(tmp_path / "control"))

    def act(_filler: Filler, _path: str) -> None:
        assert main(["status", "--live"]) == 0

    run_controlled(tmp_path, act)


def test_the_environment_names_the_file_and_the_socket_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str | None, str | None]] = []

    def run_with(_outputs: object, options: argparse.Namespace, _signals: object, **_rest: object) -> Losses:
        seen.append((options.config, options.control))
        return Losses()

    monkeypatch.setattr("netmon.cli.run.run_with", run_with)
    monkeypatch.setattr("netmon.cli.session.Signals", lambda **_reloadable: None)
    monkeypatch.setenv("NETMON_CONFIG", "/etc/a.yaml")
    monkeypatch.setenv("NETMON_CONTROL", "/run/a")
    assert main(["run"]) == main(["run", "--config", "b", "--control", "/run/b"]) == 0
    monkeypatch.setenv("NETMON_CONFIG", "")
    monkeypatch.delenv("NETMON_CONTROL")
    assert main(["run"]) == 0
    assert seen == [("/etc/a.yaml", "/run/a"), ("b", "/run/b"), (None, None)]


@pytest.mark.parametrize("flag", ["--metrics", "--control-group=adm"])
def test_what_goes_with_a_socket_is_refused_without(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--any-kernel", flag]) == 2
    assert "goes with --control" in capsys.readouterr().err

"""`netmon learn` and `--expect`: from recorded events to a file, and from the file to an exit code."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from netmon import Config
from netmon.cli.expectation import Expectation
from netmon.cli.learn import _TimedSignals, learn_view
from netmon.cli.main import main
from netmon.cli.supervisor import _code_of
from netmon.losses import Losses
from netmon.outputs.base import Output
from tests.support.scripted_source import scripted
from tests.support.waiting import wait_until
from tests.unit.cli.test_run import EVENTS, _handlers, run_on  # noqa: F401
from tests.unit.learn.strategies import event, named
from tests.unit.recording.test_replay import ALL, scene

LINES = [
    event(names=named("example.com"), cookie=1),
    event("Close", names=named("example.com"), cookie=1),
    event("Accept", binary_path="/usr/sbin/nginx", sport=443, cookie=2),
]


def write_lines(path: Path, *events: object) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in events))
    return path


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "events.json", *LINES)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    with scripted(*scene(), record=path, config=ALL) as monitor:
        list(monitor.json_lines())
    return path


def replay(*arguments: str | Path) -> int:
    """Return the exit code. Its output closes standard output."""
    stdout = os.dup(1)
    try:
        return main(["replay", *map(str, arguments)])
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def test_what_is_learned_of_lines_can_be_checked(lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = lines.with_suffix(".yaml")
    assert main(["learn", "--from", str(lines), "--output", str(expected)]) == 0
    text = expected.read_text()
    assert 'binary_path == "/usr/bin/curl" AND port_dst == 443 AND domain == "example.com"\n' in text
    assert 'binary_path == "/usr/sbin/nginx" AND port_src == 443 AND ip_dst == "192.0.2.1"\n' in text
    assert main(["rules", "check", str(expected)]) == 0
    assert f"netmon: {expected}: 2 rules, 0 examples\n" in capsys.readouterr().err
    assert main(["rules", "test", str(expected), str(lines)]) == 0
    assert "netmon: 3 events, 0 reported" in capsys.readouterr().err


def test_nothing_is_expected_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, expected = write_lines(tmp_path / "events.json"), tmp_path / "expected.yaml"
    assert main(["learn", "--from", str(lines), "--output", str(expected)]) == 0
    assert main(["rules", "check", str(expected)]) == 0
    assert f"netmon: {expected}: 0 rules, 0 examples\n" in capsys.readouterr().err
    lines = write_lines(lines, *LINES)
    assert main(["rules", "test", str(expected), str(lines)]) == 0
    assert "3 events, 3 reported" in capsys.readouterr().err


def test_standard_input_and_one_direction(
    lines: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.read_bytes())))
    assert main(["learn", "--from", "-", "--egress"]) == 0
    out, err = capsys.readouterr()
    assert "ingress:\n  enabled: false\negress:" in out and "nginx" not in out
    assert err == ""


@pytest.mark.parametrize("flags", [["--pid", "3"], ["--for", "3s"], ["--existing"], ["--ring-size", "4M"]])
def test_flags_that_choose_need_a_kernel(lines: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "--from", str(lines), *flags]) == 2
    assert f"netmon: {flags[0]}: is for connections that are watched; choose" in capsys.readouterr().err


def test_a_recording_is_learned_and_replayed(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It lost events, so whether all was expected is not known."""
    expected = recording.with_suffix(".yaml")
    assert main(["learn", "--from", str(recording), "--output", str(expected)]) == 0
    capfd.readouterr()
    assert replay("--expect", expected, recording) == 3
    out, err = capfd.readouterr()
    assert not any("expected" in json.loads(line) for line in out.splitlines())
    assert f"{expected}: nothing unexpected" in err
    assert err.endswith("netmon: events were lost: whether they were expected is not known\n")


def test_what_is_not_expected_is_marked_and_the_rules_for_it_are_said(
    recording: Path, lines: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = recording.with_suffix(".yaml")
    assert main(["learn", "--from", str(lines), "--output", str(expected)]) == 0
    assert replay("--expect", expected, recording) == 3
    out, err = capfd.readouterr()
    marks = [json.loads(line).get("expected") for line in out.splitlines() if '"NetworkEvent"' in line]
    assert marks.count(False) >= 2
    assert "to allow it, add these rules to the file:" in err and "- rule: curl-" in err
    replay("--expect", expected, "--format", "line", "--each", recording)
    assert "(not expected)" in capfd.readouterr().out


def test_an_expectation_is_refused_beside_a_configuration_and_if_it_reports_nothing(
    recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("egress: {enabled: true}\nrules:\n- rule: a\n  when: port_dst == 1\n  action: drop\n")
    assert replay("--expect", wrong, "--config", wrong, recording) == 2
    assert replay("--expect", wrong, recording) == 2
    said = capfd.readouterr().err.splitlines()
    assert "--expect: cannot be combined with --config" in said[0]
    assert "reports nothing, so all would be expected; add unmatched: report" in said[1]


def test_a_run_marks_what_it_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, expected = tmp_path / "events", tmp_path / "expected.yaml"
    expected.write_text("ingress: {enabled: true}\negress: {enabled: true}\nrules: []\nunmatched: report\n")
    output = Output("file", os.open(path, os.O_WRONLY | os.O_CREAT))
    expectation = Expectation(str(expected))
    run_on([output], lambda filler: filler.send(1 + EVENTS), expectation=expectation)
    opened = [json.loads(line) for line in path.read_text().splitlines()]
    assert {event["expected"] for event in opened if event["network_event"]["type"].endswith("Establish")} == {False}
    assert expectation.code(Losses()) == 3
    expectation.report(Losses())
    assert f"netmon: {expected}: {expectation.drift.count:,} connections not expected" in capsys.readouterr().err


def test_a_run_is_learned(tmp_path: Path) -> None:
    """With the flags of `netmon learn`."""
    path = tmp_path / "expected.yaml"
    output = Output("file", os.open(path, os.O_WRONLY | os.O_CREAT))
    run_on([output], lambda filler: filler.send(1 + EVENTS), command="learn", make_view=learn_view)
    config = Config.from_yaml(str(path))
    assert config.egress.enabled and config.ingress.enabled
    assert [*(config.egress.rules or ()), *(config.ingress.rules or ())]


@pytest.mark.parametrize(
    ("command", "watcher", "code"), [(0, 0, 0), (7, 0, 7), (0, 3, 3), (7, 3, 3), (0, 1, 125), (7, 1, 7), (0, 137, 125)]
)
def test_the_exit_code_of_a_command_that_is_expected_to_do_nothing_else(command: int, watcher: int, code: int) -> None:
    assert _code_of(command, watcher) == code


def test_lost_events_may_have_been_unexpected(capsys: pytest.CaptureFixture[str]) -> None:
    expectation = Expectation("file")
    assert (expectation.code(Losses()), expectation.code(Losses(missed=3))) == (0, 0)
    assert (expectation.code(Losses(ring_full=1)), expectation.code(Losses(blind_ms=1))) == (3, 3)


@pytest.mark.usefixtures("_handlers")
def test_the_time_ends_like_a_signal() -> None:
    signals = _TimedSignals(reloadable=False)
    signals.begin(0.01)
    wait_until(lambda: signals.stopped, "the end of the time")

"""`netmon rules`: check, test, explain, library; and what a run says of its rules."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import netmon
from netmon import Config
from netmon.cli.main import main
from netmon.cli.rule_counts import LISTED, describe_counts
from netmon.filters.compile import compile_filters
from netmon.rules.library import LIBRARY
from netmon.terminal.describe import Describer
from tests.support.records import batch_of, detailed_event, ipv4_event, process_record
from tests.support.scripted_source import scripted
from tests.unit.rules.test_language import an_event

BOTH = {"ingress": {"enabled": True}, "egress": {"enabled": True}}
RULES = """\
egress: {enabled: true}
rules:
- rule: shell
  when: binary_name == "bash" AND NOT ip_dst == "10.0.0.0/8"
  severity: high
  tests:
  - matches: {binary_name: bash, ip_dst: 192.0.2.1}
  - misses: {binary_name: bash, ip_dst: 10.0.0.1}
- rule: noise
  when: port_dst == 53
  action: drop
"""
EVENTS = [
    an_event("192.0.2.1", name="bash", cookie=1),
    an_event("192.0.2.1", name="curl", cookie=2),
    an_event("192.0.2.1", 53, name="curl", cookie=3),
    an_event("192.0.2.1", 53, name="curl", cookie=3, kind="Close"),
]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "events"
    path.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    return path


def run(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["rules", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_check(rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", rules, capsys=capsys) == (
        0,
        "",
        f"netmon: {rules}: 2 rules, 2 examples\n"
        f"netmon: {rules}: in the kernel, what no rule wants is left out, as far as it knows what they compare\n",
    )
    rules.write_text(
        RULES.replace("misses: {binary_name: bash, ip_dst: 10.0.0.1}", "misses: {binary_name: bash, ip_dst: 11.0.0.1}")
    )
    code, out, said = run("check", rules, capsys=capsys)
    assert (code, out) == (1, "")
    assert said.splitlines()[:3] == [
        f"netmon: {rules}: example 2 of shell should not match:",
        "netmon: shell: matches",
        "netmon:   when:",
    ]
    rules.write_text(RULES.replace('"bash" AND', "bash AND"))
    problem = 'rules[0].when: has bash without quotes; write "bash"'
    assert run("check", rules, capsys=capsys) == (2, "", f"netmon: {rules}:4:24: {problem}\n")


def test_a_file_without_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "netmon.yaml"
    path.write_text("egress: {enabled: true}\n")
    assert run("check", path, capsys=capsys) == (1, "", f"netmon: {path} has no rules\n")


def test_test_counts_what_lines_match(rules: Path, lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, said = run("test", rules, lines, capsys=capsys)
    assert (code, out.splitlines()) == (
        0,
        ["shell          1 connections  report", "noise          1 connections  drop"],
    )
    assert said == "netmon: 4 events, 1 reported, 3 of no rule\n"


def test_test_reads_standard_input(
    rules: Path, lines: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.read_bytes())))
    assert "4 events" in run("test", rules, "-", capsys=capsys)[2]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    records = [process_record(path=b"/bin/bash"), ipv4_event(), detailed_event()]
    with scripted(batch_of(records), record=path, config=Config.everything()) as monitor:
        list(monitor.json_lines())
    return path


def test_test_reads_recordings(rules: Path, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, said = run("test", rules, recording, capsys=capsys)
    assert (code, out.split()[:2]) == (0, ["shell", "1"])
    assert said == "netmon: 2 events, 2 reported, 0 of no rule\n"


def test_a_replay_names_rules(rules: Path, recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stdout = os.dup(1)
    assert main(["replay", "--config", str(rules), str(recording)]) == 0
    os.dup2(stdout, 1)
    os.close(stdout)
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(event["rules"], event["severity"]) for event in events] == [(["shell"], "high")] * 2
    found: list[Any] = list(netmon.replay(recording, Config.from_yaml(rules)))
    assert [event.rules for event in found] == [["shell"]] * 2


def test_explain(rules: Path, lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("explain", rules, lines, "--number", "2", "--rule", "shell", capsys=capsys)
    assert code == 0
    assert out.splitlines() == [
        "shell: does not match",
        "  when:",
        "    false   all of",
        '      false   binary_name == "bash"; it is curl',
        "      true    NOT",
        '        false   ip_dst == "10.0.0.0/8"; it is 192.0.2.1',
    ]
    event = an_event("2001:db8::1")
    lines.write_text(json.dumps(event))
    rules.write_text(RULES + '- rule: bad\n  when: ipv4_dst == "10.0.0.0/8" OR capabilities == "CAP_CHOWN"\n')
    _, out, _ = run("explain", rules, lines, "--rule", "bad", capsys=capsys)
    assert out.splitlines()[3:] == [
        '      unknown ipv4_dst == "10.0.0.0/8"; the event has no ipv4_dst: its address is IPv6',
        '      false   capabilities == "CAP_CHOWN"; it is none',
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--number", "9"], "has no event number 9"),
        (["--number", "x"], "--number: x is no number from 1 on"),
        (["--rule", "x"], "has no rule x"),
    ],
)
def test_explain_what_is_not_there(
    arguments: list[str], problem: str, rules: Path, lines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = run("explain", rules, lines, *arguments, capsys=capsys)
    assert code in (1, 2) and problem in said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", ":1: is no event"),
        ("x", ":1: is no event"),
        (json.dumps(an_event("no address")), "no address is no address, which an event has"),
    ],
)
def test_events_that_are_none(
    text: str, problem: str, rules: Path, lines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines.write_text(text + "\n")
    code, _, said = run("test", rules, lines, capsys=capsys)
    assert code == 1 and problem in said
    assert run("test", rules, lines.with_name("none"), capsys=capsys)[0] == 1


def test_the_library_is_listed_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("library", capsys=capsys)
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, [*LIBRARY])
    code, _, said = run("library", "none", capsys=capsys)
    assert (code, said) == (1, f"netmon: the library has no none; it has {', '.join(LIBRARY)}\n")


@pytest.mark.parametrize("name", LIBRARY)
def test_a_file_of_the_library_is_right(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says why, can be run as it is, and each of its rules has examples of both kinds."""
    _, text, _ = run("library", name, capsys=capsys)
    assert "\n# Why: " in text
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    assert run("check", path, capsys=capsys)[0] == 0
    config = Config.from_yaml(path)
    assert compile_filters(config).rules
    for rule in config.rules or ():
        examples = rule.tests or ()
        assert any(one.matches for one in examples) and any(one.misses for one in examples)
    assert Path(netmon.__file__).with_name("rules").joinpath("library", f"{name}.yaml").exists()


def test_the_library_has_no_other_files() -> None:
    directory = Path(netmon.__file__).with_name("rules") / "library"
    assert {path.stem for path in directory.glob("*.yaml")} == {*LIBRARY}


def test_counts_in_words() -> None:
    assert describe_counts({"a": 1, "b": 0, "c": 3}) == "rules: c 3, a 1"
    assert describe_counts({"a": 0, "b": 0}) == "rules: none of 2 has matched"
    assert describe_counts({f"r{n}": 1 for n in range(LISTED + 2)}).endswith(", and 2 more")


def test_lines_for_people_name_rules() -> None:
    event = {**an_event("192.0.2.1"), "rules": ["a\u202e", "b"], "severity": "high"}
    row = Describer(str).row(event, "->", "open", "")
    assert row.outcome == "open (high: a\\u202e, b)"


SIGMA = """\
title: Rare port
logsource: {category: network_connection, product: linux}
detection:
  selection: {DestinationPort: 4444, DestinationHostname|endswith: .example}
  condition: selection
"""


def test_convert_writes_what_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sigma, filters, made = tmp_path / "rule.yml", tmp_path / "filters.yaml", tmp_path / "made.yaml"
    sigma.write_text(SIGMA)
    filters.write_text("egress:\n  enabled: true\n  port_filter: {dst_port: [22]}\n")
    for source, when in ((sigma, "port_dst == 4444 AND domain like"), (filters, "port_dst in [22]")):
        assert main(["rules", "convert", str(source)]) == 0
        text = capsys.readouterr().out
        assert text.startswith("# Of ") and when in text
        made.write_text(text)
        assert main(["rules", "check", str(made)]) == 0
        assert f"netmon: {made}: 1 rules, 0 examples\n" in capsys.readouterr().err
    assert main(["rules", "convert", str(made), "--to", "systemd"]) == 0
    assert "Drafts for `systemctl edit UNIT`" in capsys.readouterr().out


def test_convert_refuses_with_the_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sigma = tmp_path / "rule.yml"
    sigma.write_text(SIGMA.replace("DestinationPort", "Hashes"))
    assert main(["rules", "convert", str(sigma)]) == 1
    assert f"netmon: {sigma}: detection.selection.Hashes: Hashes is no field" in capsys.readouterr().err
    sigma.write_text(SIGMA + "  other: [\n")
    assert main(["rules", "convert", str(sigma)]) == 2
    assert f"{sigma}:" in capsys.readouterr().err
    assert main(["rules", "convert", str(sigma), "--to", "sytemd"]) == 2
    assert capsys.readouterr().err == "netmon: --to: sytemd is no form; did you mean systemd?\n"

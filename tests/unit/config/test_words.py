"""What a configuration means in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from netmon.cli.main import main
from netmon.config import Config
from netmon.config.words import sentences_of

TEXT = """
ingress: {enabled: true}
egress:
  enabled: true
  ipv4_filter: {match: all, src_ip: [10.0.0.1], dst_ip: [10.0.0.0/8, 192.168.0.0/16]}
  port_filter: {deny_list: true, dst_port: [22, 1-9]}
process_filter: {uid: [0], binary: {name: [curl], prefix: [/usr/]}, pid: [7], descendants: [8]}
netns_filter: {netns: [1, 2, 3, 4, 5, 6]}
report: {outcome: true, names: true, ancestors: 2, progress: 30s, events: [establish, close]}
name_filter: {deny_list: true, domain: ['*.example']}
rules:
- {rule: root, when: 'uid == 0', severity: high}
run: {outputs: [{type: file, path: /var/log/x, rotate_size: 1G}, {type: stdout}]}
"""


def test_each_filter_rule_and_output_has_a_sentence() -> None:
    assert list(sentences_of(Config.from_dict(yaml.safe_load(TEXT)))) == [
        "Connections that this host accepts are reported, all of them.",
        "Connections that this host opens are reported: of IPv4, those where this host's address is in 10.0.0.1 and "
        "the peer's address is in 10.0.0.0/8 or 192.168.0.0/16; and all but those where the peer's port is 22 or 1-9.",
        "  IPv6 has no filter there: all of its addresses pass.",
        "Of network namespaces, those where it is 1, 2, 3, 4 or one of 2 more.",
        "Of outgoing connections, all but those where DNS has told the name *.example.",
        "Of processes, those where its uid is 0, and the executable's file name or what the program was called by is "
        "curl or the beginning of the executable's path is /usr/, and it is process 7 or it is process 8 or a "
        "descendant.",
        "Rule root, high, report: (uid == 0).",
        "What no rule matches is not reported.",
        "With outcome: report a connection attempt once it has succeeded or failed, with the error, not when it is "
        "made.",
        "With names: add to the events of outgoing connections the names that DNS gave for the peer's address.",
        "With ancestors: 2 of each process, as far as it has as many.",
        "With progress: each 30 s, what open connections have carried.",
        "Of the events, only establish, close.",
        "Events go to file /var/log/x (rotate_size 1G).",
        "Events go to stdout.",
    ]


def test_what_is_off_is_said() -> None:
    assert list(sentences_of(Config.from_dict({"egress": {"enabled": True}}))) == [
        "Connections that this host accepts are not watched.",
        "Connections that this host opens are reported, all of them.",
        "Events go to standard output.",
    ]


def test_validate_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "netmon.yaml"
    path.write_text("egress: {enabled: true}\n")
    assert main(["validate", "--explain", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "Connections that this host accepts are not watched."
    assert err == f"netmon: {path} is valid\n"

"""The section `run:` of a file, and the flags that win over it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from netmon.cli.file_settings import begin_reading_file
from netmon.cli.flag_names import FLAGS
from netmon.cli.main import main, make_parser
from netmon.config.run import Run
from netmon.config.run_values import TYPES
from netmon.errors import ConfigError

FILE = "egress:\n  enabled: true\nrun:\n"
ALL = {
    "aggregate": ("10s", 10.0),
    "lost_events": ("false", False),
    "argv": ("true", True),
    "ring_size": ("65536", 65536),
    "batch_delay": ("0s", 0.0),
    "line_limit": ("48K", 48 << 10),
    "record": ("events.rec", "events.rec"),
    "record_limit": ("1G", 1 << 30),
    "any_kernel": ("true", True),
    "user": ("nobody", "nobody"),
    "confine": ("false", False),
    "format": ("table", "table"),
    "fields": ("[process.pid, type]", "process.pid,type"),
    "template": ("'{type}'", "{type}"),
    "each": ("true", True),
    "color": ("false", False),
    "outputs": ("[{type: stdout}]", [{"type": "stdout"}]),
    "control": ("/run/control", "/run/control"),
    "control_group": ("adm", "adm"),
    "metrics": ("true", True),
}


def test_each_flag_is_a_key_of_the_file() -> None:
    """Either a setting of the run, or a part of what is reported: FLAGS, which test_flag_config.py is about."""
    flags = vars(make_parser(["run"]).parse_args(["run"])).keys() - {"config", "expect", "command", "parser"}
    assert flags == {*FLAGS, *Run.model_fields}


def applied(tmp_path: Path, text: str, *flags: str) -> argparse.Namespace:
    path = tmp_path / "netmon.yaml"
    path.write_text(text)
    options = make_parser(["run"]).parse_args(["run", "--config", str(path), *flags])
    begin_reading_file(options)().release()
    return options


def test_each_setting_is_the_flag_of_its_name(tmp_path: Path) -> None:
    assert ALL.keys() == Run.model_fields.keys()
    assert {name: type(value) for name, (_, value) in ALL.items()} == TYPES
    options = applied(tmp_path, FILE + "".join(f"  {name}: {text}\n" for name, (text, _) in ALL.items()))
    assert {name: getattr(options, name) for name in ALL} == {name: value for name, (_, value) in ALL.items()}


def test_a_file_without_settings_leaves_the_defaults(tmp_path: Path) -> None:
    options = applied(tmp_path, "egress:\n  enabled: true\n")
    plain = make_parser(["run"]).parse_args(["run"])
    assert {name: getattr(options, name) for name in ALL} == {name: getattr(plain, name) for name in ALL}


def test_the_name_of_a_service_is_looked_up_for_the_message(tmp_path: Path) -> None:
    """The process that reads the file has given up all rights."""
    text = "egress: {enabled: true, port_filter: {dst_port: [https, no-such]}}\n"
    with pytest.raises(ConfigError) as caught:
        applied(tmp_path, text)
    assert [problem.reason for problem in caught.value.problems] == [
        "'https' is a service, not a port; did you mean 443?",
        "'no-such' is not a port or a range of ports; write it like 443 or 8000-8999",
    ]


def test_a_flag_wins(tmp_path: Path) -> None:
    text = FILE + "  ring_size: 8M\n  lost_events: false\n  each: true\n  color: false\n  fields: [type]\n"
    flags = ("--ring-size", "4M", "--lost-events", "--no-each", "--color", "--fields", "timestamp")
    options = applied(tmp_path, text, *flags)
    assert (options.ring_size, options.lost_events, options.each, options.color) == (4 << 20, True, False, True)
    assert options.fields == "timestamp"


def test_a_reload_cannot_change_them(tmp_path: Path) -> None:
    options = applied(tmp_path, FILE + "  ring_size: 8M\n")
    begin_reading_file(options)().release()
    Path(options.config).write_text(FILE + "  ring_size: 4M\n")
    with pytest.raises(ConfigError) as caught:
        begin_reading_file(options)()
    assert str(caught.value) == (
        f"{options.config}: run: has changed, which a reload cannot do; restart netmon, or set it back"
    )


def test_a_wrong_field_is_refused_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "netmon.yaml"
    path.write_text(FILE + "  fields:\n    - type\n    - process.pdi\n")
    assert main(["validate", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"netmon: {path}:6: run.fields[1]: 'process.pdi' is no field of an event; did you mean process.pid?\n"
    )

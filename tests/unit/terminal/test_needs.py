"""What a field needs that is not reported."""

from __future__ import annotations

import pytest

from netmon.report import OPTIONS, Report
from netmon.terminal.fields import known_paths
from netmon.terminal.needs import NEEDS, missing_for


def test_the_table_names_fields_and_options_that_there_are() -> None:
    assert {*NEEDS} <= {*known_paths()}
    words = {word for needed in NEEDS.values() for word in needed.split()}
    assert words <= {*OPTIONS, "progress", "ancestors", "or", "and"}


def test_every_optional_field_of_a_connection_is_in_it() -> None:
    """Plain events have these, and lists of what is open alone the last ones."""
    plain = {"type", "saddr", "daddr", "sport", "dport", "cookie", "holders", "other_pids"}
    fields = {path.removeprefix("network_event.") for path in known_paths() if path.startswith("network_event.")}
    assert {f"network_event.{name}" for name in fields - plain} == {
        path for path in NEEDS if path.startswith("network_event.")
    }


@pytest.mark.parametrize(
    ("path", "report", "missing"),
    [
        ("process.pid", Report(), ""),
        ("network_event.reason", Report(), "--outcome (in a file: report.outcome)"),
        ("network_event.reason", Report(outcome=True), ""),
        (
            "network_event.bytes_sent",
            Report(),
            "--statistics or --progress (in a file: report.statistics or report.progress)",
        ),
        ("network_event.bytes_sent", Report(progress=1.0), ""),
        ("network_event.state", Report(existing=True), "--statistics (in a file: report.statistics)"),
        ("parent.exec.path", Report(), "--parent and --exec (in a file: report.parent and report.exec)"),
        ("parent.pid", Report(), "--parent (in a file: report.parent)"),
    ],
)
def test_what_is_missing(path: str, report: Report, missing: str) -> None:
    assert missing_for(tuple(path.split(".")), report) == missing

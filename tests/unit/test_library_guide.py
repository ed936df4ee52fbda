"""docs/library.md: it documents what is public, and nothing else. tests/kernel/test_monitor.py runs its examples."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
import trio

import netmon
from netmon import Counters, Monitor, ProgramInfo, RawEvent, errors
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import watching

SAMPLES = Path(__file__).parent / "samples/connections.jsonl"
GUIDE = (Path(__file__).parents[2] / "docs/library.md").read_text()
# Names in code that are not of the module: keys, commands, and so on, are in other sections.
TABLES = GUIDE[GUIDE.index("## Monitor") : GUIDE.index("## In asyncio")]


def section(heading: str) -> str:
    """Return the text under a heading."""
    return GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def public(names: Any) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_the_arguments_are_those_of_the_monitor() -> None:
    parameters = dict(inspect.signature(Monitor).parameters)
    del parameters["open_source"]  # for tests and benchmarks
    signature = inspect.Signature([each.replace(annotation=inspect.Parameter.empty) for each in parameters.values()])
    assert f"`Monitor{signature}`" in TABLES
    assert set(re.findall(r"^\| `(\w+)` \|", TABLES.partition("To read events")[0], re.MULTILINE)) == set(parameters)


def test_each_public_member_is_in_a_table() -> None:
    named = {name for row in re.findall(r"^\| (`.*?) \|", TABLES, re.MULTILINE) for name in re.findall(r"`(\w+)", row)}
    assert public(vars(Monitor)) <= named
    arguments = set(inspect.signature(Monitor).parameters)
    assert named - arguments - {"for", "async", "with"} == public(vars(Monitor))


def test_each_field_is_named() -> None:
    for fields in (Counters._fields, ProgramInfo._fields, RawEvent._fields):
        assert {field for field in fields if f"`{field}`" not in GUIDE} == set()


def test_the_errors_are_those_there_are() -> None:
    tree = re.compile(r"[├└]── (\w+) +(.*?)(?: \(\..*)?$", re.MULTILINE)
    documented = tree.findall(section("Errors"))
    assert documented == [line for line in tree.findall(errors.__doc__ or "") if line[0] != "OutputError"]


def test_each_public_name_can_be_imported() -> None:
    assert all(getattr(netmon, name) is not None for name in netmon.__all__)
    assert set(netmon.__all__) <= set(dir(netmon))
    for name in ("config", "errors", "events", "layout"):
        assert getattr(netmon, name).__name__ == f"netmon.{name}"


def blocks(heading: str) -> list[str]:
    """Return the examples under a heading."""
    return re.findall(r"^```python\n(.*?)^```", section(heading), re.DOTALL | re.MULTILINE)


def test_the_signature_of_exec() -> None:
    parameters = inspect.signature(Monitor.exec).parameters.values()
    signature = inspect.Signature([each.replace(annotation=inspect.Parameter.empty) for each in parameters])
    assert f"`Monitor.exec{signature}`" in section("Run a command")


def test_each_public_member_of_a_run_is_named() -> None:
    names = public(vars(netmon.CommandRun)) | {"returncode"}
    assert {name for name in names if f"`run.{name}" not in section("Run a command")} == set()


def test_the_example_of_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with watching(MIXES["1 process, IPv4"], record="recording") as (monitor, filler):
        filler.send(11)
        monitor.poll(0)
    (block,) = blocks("Recordings")
    printed: list[object] = []
    exec(block[block.index("for event in netmon.replay") :], {"netmon": netmon, "print": printed.append})
    assert len(printed) == 10


@pytest.mark.parametrize("library", ["pandas", "duckdb"])
def test_the_examples_for_tables(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLES, "events.jsonl")
    exec(blocks("Files of JSON lines, pandas, DuckDB")[library == "duckdb"], {})
    printed = capsys.readouterr().out
    assert "wget" in printed
    assert re.search(r"::1\W+1\W*$", printed, re.MULTILINE), printed


def test_the_example_for_trio() -> None:
    block = re.search(r"^```python\n(.*?)^```", section("In another event loop"), re.DOTALL | re.MULTILINE)
    assert block
    names: dict[str, Any] = {"trio": trio}
    exec("async def read(monitor):\n" + textwrap.indent(block[1], "    "), names)
    with watching(MIXES["1 process, IPv4"]) as (monitor, filler):
        filler.send(10)
        monitor.stop()
        trio.run(names["read"], monitor)
        assert monitor.finished
        assert monitor.counters.connection_events == 9

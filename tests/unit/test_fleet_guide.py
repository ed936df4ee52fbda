"""The volumes in docs/fleet.md are those of the formats as they are now."""

from __future__ import annotations

from pathlib import Path

from tests.support.volumes import sizes, table

GUIDE = (Path(__file__).parents[2] / "docs/fleet.md").read_text()


def test_the_table_of_volumes_is_measured() -> None:
    assert table() in GUIDE, f"docs/fleet.md is to have this table:\n{table()}"


def test_a_batch_takes_less_than_its_records_alone() -> None:
    found = sizes()
    assert found["otlp"] < found["otel"]
    assert all(compressed < plain / 4 for plain, compressed in found.values())

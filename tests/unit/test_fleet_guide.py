"""The volumes in docs/fleet.md are those of the formats as they are now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.volumes import rows, sizes, table

GUIDE = (Path(__file__).parents[2] / "docs/fleet.md").read_text()


# The page has two digits (5 % at most), and zlib's versions compress a little differently (2 %).
TOLERANCE = 0.07


def test_the_table_of_volumes_is_measured() -> None:
    written = {
        name: [float(number.replace(",", "")) for number in numbers.split("|")]
        for name, numbers in re.findall(r"^\| `(\w+)` \|([\d.,| ]+)\|$", GUIDE, re.MULTILINE)
    }
    measured = {name: pytest.approx(numbers, rel=TOLERANCE) for name, numbers in rows().items()}
    assert written == measured, f"docs/fleet.md is to have this table:\n{table()}"


def test_a_batch_takes_less_than_its_records_alone() -> None:
    found = sizes()
    assert found["otlp"] < found["otel"]
    assert all(compressed < plain / 4 for plain, compressed in found.values())

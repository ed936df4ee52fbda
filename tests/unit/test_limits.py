"""Defaults and limits: the documentation and the command's help give those of netmon.limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netmon.cli.main import main
from netmon.layout import Limit
from netmon.limits import (
    DEFAULT_BATCH_DELAY,
    DEFAULT_LINE_LIMIT,
    DEFAULT_RING_SIZE,
    MAX_ANCESTORS,
    MAX_LINE_LIMIT,
    MINIMUM_KERNEL,
)

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    *(path for path in (ROOT / "docs").glob("*") if path.is_file()),
    ROOT / "pack/debian/control",
]
LINE_LIMIT, LONGEST_LINE = f"{DEFAULT_LINE_LIMIT >> 10}K", f"{MAX_LINE_LIMIT >> 10}K"
RING_SIZE, BATCH_DELAY = f"{DEFAULT_RING_SIZE >> 20}M", f"{DEFAULT_BATCH_DELAY * 1000:.0f}ms"


@pytest.mark.parametrize("pattern", [r"Linux (\d+\.\d+) or newer", r"older than (\d+\.\d+)"])
def test_documents_give_the_minimum_kernel(pattern: str) -> None:
    versions = {version for path in DOCUMENTS for version in re.findall(pattern, path.read_text())}
    assert versions == {MINIMUM_KERNEL}


def test_help_gives_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"older than {MINIMUM_KERNEL}" in text
    assert f"(default: {RING_SIZE})" in text
    assert f"(default: {BATCH_DELAY})" in text
    assert f"(default: {LINE_LIMIT}; at most {LONGEST_LINE})" in text


def test_the_guide_to_operations_gives_the_defaults() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert f"default, {RING_SIZE}," in text
    assert f"`--batch-delay {BATCH_DELAY}`" in text
    assert f"`--line-limit {LINE_LIMIT}`" in text
    assert f"from the default, {LINE_LIMIT}, to {LONGEST_LINE}." in text


def test_ancestors_are_as_many_as_the_kernel_half_has() -> None:
    assert MAX_ANCESTORS == Limit.MAX_ANCESTORS


def test_the_guide_to_events_gives_the_bounds_of_a_line() -> None:
    text = (ROOT / "docs/events.md").read_text()
    line, longest = LINE_LIMIT.replace("K", " KiB"), LONGEST_LINE.replace("K", " KiB")
    assert f"at most {line}\n(`--line-limit`, up to {longest}" in text

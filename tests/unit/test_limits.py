"""Defaults and limits: the documentation and the command's help give those of netmon.limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netmon.cli.main import main
from netmon.limits import DEFAULT_BATCH_DELAY, DEFAULT_RING_SIZE, MINIMUM_KERNEL

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").glob("*"), ROOT / "pack/debian/control"]
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


def test_the_guide_to_operations_gives_the_defaults() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert f"default, {RING_SIZE}," in text
    assert f"`--batch-delay {BATCH_DELAY}`" in text

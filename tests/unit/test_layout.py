"""The record layout has one truth: the C structs, as the compiler laid them out."""

from __future__ import annotations

from pathlib import Path

from netmon.layout import DETAILED_EVENT, EVENT_CONTEXT, IPV4_EVENT, IPV6_EVENT, PROCESS_RECORD
from pack.layout_generator import generate

PROJECT = Path(__file__).resolve().parents[2]


def test_the_generated_layout_is_what_the_object_has() -> None:
    generated = generate(PROJECT / "build/netmon.bpf.o")
    assert (PROJECT / "src/netmon/layout.py").read_text() == generated, "run build.py compile"


def test_sizes() -> None:
    """Bytes per event and per process record are what users' rings are sized by."""
    assert (IPV4_EVENT.size, IPV6_EVENT.size, DETAILED_EVENT.size, PROCESS_RECORD.size) == (48, 72, 128, 168)
    assert EVENT_CONTEXT.size == 32

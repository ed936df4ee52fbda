"""The test of the programs that `netmon check` makes: here with a source that reports nothing of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest

from netmon.cli import selftest
from netmon.errors import BpfError, KernelError, LibbpfError
from netmon.kernel.requirements import Requirement
from netmon.monitor import Monitor
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import watching


def test_events_that_do_not_come_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def blind_monitor(**_options: object) -> Iterator[Monitor]:
        with watching(MIXES["1 process, IPv4"]) as (monitor, _filler):
            yield monitor

    monkeypatch.setattr(selftest, "Monitor", blind_monitor)
    monkeypatch.setattr(selftest, "DEADLINE", 0.5)
    requirement = selftest.check_programs()
    assert not requirement.ok
    assert "connect() at 127.0.0.1" in requirement.detail
    assert "close() after accept() at 127.0.0.1" in requirement.detail
    assert requirement.remedy


def test_whether_bytes_are_exact_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    inexact = "this kernel does not have __tcp_close()"
    monitor = SimpleNamespace(inexact=inexact)
    monkeypatch.setattr(selftest, "Monitor", lambda **_options: nullcontext(monitor))
    assert selftest.check_bytes() == Requirement(selftest.BYTES, True, inexact)
    monitor.inexact = ""
    assert selftest.check_bytes() == Requirement(selftest.BYTES, True, "exact")


def test_a_refusal_leaves_the_bytes_untested(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_options: object) -> Monitor:
        raise KernelError("no BTF")

    monkeypatch.setattr(selftest, "Monitor", refuse)
    assert selftest.check_bytes() == Requirement(selftest.BYTES, True, "not tested: no BTF")


@pytest.mark.parametrize(
    ("error", "detail", "remedy"),
    [
        (KernelError("no BTF"), "no BTF", ""),
        (LibbpfError("libbpf cannot be loaded"), "not tried without a usable libbpf", ""),
        (BpfError(errno.EPERM, "load netmon"), "load netmon: Operation not permitted (EPERM)", "what to do"),
    ],
)
def test_a_refusal_is_the_detail(monkeypatch: pytest.MonkeyPatch, error: Exception, detail: str, remedy: str) -> None:
    def refuse(**_options: object) -> Monitor:
        raise error

    if isinstance(error, BpfError):
        error.add_hint(remedy)
    monkeypatch.setattr(selftest, "Monitor", refuse)
    assert selftest.check_programs() == Requirement(selftest.NAME, False, detail, remedy)

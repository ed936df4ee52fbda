"""The programs in the kernel; tests/kernel loads them."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import cast

import pytest

from netmon.errors import BpfError
from netmon.kernel.probes import Probes
from netmon.kernel.programs import CLOSE, LOCKED_CLOSE
from netmon.layout import Coverage


def probes(counts_bytes: bool, has_function: bool, **coverage: int) -> Probes:
    read = Coverage._make([0] * len(Coverage._fields))._replace(**coverage)
    programs = [CLOSE, *[LOCKED_CLOSE] * has_function]
    return cast(Probes, SimpleNamespace(_counts_bytes=counts_bytes, programs=programs, _read_coverage=lambda: read))


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        (probes(False, False), ""),
        (probes(True, True), ""),
        (probes(True, True, tcp_unlocked_closes=1, tcp_close_is_locked=1), ""),
        (probes(True, True, mptcp_unlocked_closes=1, mptcp_close_is_locked=1), ""),
        (probes(True, False), "does not have __tcp_close()"),
        (probes(True, True, tcp_unlocked_closes=1, mptcp_close_is_locked=1), "has __tcp_close() inside of tcp_close()"),
        (probes(True, True, mptcp_unlocked_closes=1), "has __mptcp_close() inside of mptcp_close()"),
    ],
)
def test_why_bytes_are_inexact(subject: Probes, why: str) -> None:
    inexact = Probes.inexact.__get__(subject)
    assert inexact == (why and f"this kernel {why}: bytes of closes amid sending or receiving may be off")


def test_a_failed_walk_names_its_purpose() -> None:
    walk = os.open("/", os.O_RDONLY)  # cannot be read
    try:
        with pytest.raises(BpfError, match=r"^look for open connections: Is a directory \(EISDIR\)"):
            Probes.report_existing(cast(Probes, SimpleNamespace(_walk_fd=walk)))
    finally:
        os.close(walk)

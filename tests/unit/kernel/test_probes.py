"""The programs in the kernel; tests/kernel loads them."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import cast

import pytest

from netmon.errors import BpfError
from netmon.kernel.probes import Probes


def test_a_failed_walk_names_its_purpose() -> None:
    walk = os.open("/", os.O_RDONLY)  # cannot be read
    try:
        with pytest.raises(BpfError, match=r"^look for open connections: Is a directory \(EISDIR\)"):
            Probes.report_existing(cast(Probes, SimpleNamespace(_walk_fd=walk)))
    finally:
        os.close(walk)

"""netmon's errors, in other processes."""

from __future__ import annotations

import errno
import pickle
from typing import Any

import pytest

from netmon.errors import ArgumentError, BpfError, ConfigError, NetmonError, Problem, VerifierError


@pytest.mark.parametrize(
    "error",
    [
        NetmonError("refused"),
        BpfError(errno.EPERM, "load netmon", "no capability", "log"),
        VerifierError(errno.EINVAL, "load netmon"),
        ConfigError([Problem("file", 1, ("egress",), "x", "is wrong")]),
        ArgumentError("ring_size", "5 is not"),
    ],
)
def test_an_error_is_the_same_after_pickling(error: Exception) -> None:
    if isinstance(error, BpfError):
        error.add_hint("run it as root")
    again: Any = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    for name in ("errno", "operation", "log", "problems", "name"):
        assert getattr(again, name, None) == getattr(error, name, None)

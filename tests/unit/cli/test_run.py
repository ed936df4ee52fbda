"""`netmon run`, as far as it needs no kernel."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from netmon.cli import run

LINES = ["x" * 999 + "\n"] * 1000


@pytest.mark.parametrize("blocking", [True, False])
def test_every_byte_is_written_whatever_a_pipe_takes_at_once(monkeypatch: pytest.MonkeyPatch, blocking: bool) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    received: list[bytes] = []
    with open(writer, "w") as output, open(reader, "rb") as source:
        thread = threading.Thread(target=lambda: received.extend(source))
        monkeypatch.setattr(sys, "stdout", output)
        thread.start()
        assert run._write(LINES) == len(LINES)
        output.close()
        thread.join()
    assert b"".join(received).decode() == "".join(LINES)

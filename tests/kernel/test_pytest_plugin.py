"""pytest's marker `network`, with real connections."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.support.guide import example

TESTS = """
import socket, subprocess, pytest

def bash(script):
    subprocess.run(["bash", "-c", script], stderr=subprocess.DEVNULL)

@pytest.mark.network(allow=["127.0.0.1:1", "127.0.0.2"])
def test_allowed():
    socket.socket().connect_ex(("127.0.0.1", 1))
    bash("bash -c 'echo >/dev/tcp/127.0.0.2/9'")

def test_unmarked():
    bash("echo >/dev/tcp/127.0.0.3/1")

@pytest.mark.network(allow=["127.0.0.1:1"])
def test_not_allowed():
    socket.socket().connect_ex(("127.0.0.1", 1))
    bash("bash -c 'echo >/dev/tcp/127.0.0.4/2'; :")
"""


@pytest.mark.once
def test_a_test_that_connects_elsewhere_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_example.py").write_text(TESTS)
    (tmp_path / "test_guide.py").write_text(example("In pytest: what a test may connect to"))
    plugin = () if entry_points(group="pytest11", name="netmon") else ("-p", "netmon.pytest_plugin")
    pytest.main(["-p", "no:cacheprovider", *plugin, "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)])
    said = capsys.readouterr().out
    assert "1 failed, 3 passed" in said, said
    assert "connected to what @pytest.mark.network does not allow, which is 127.0.0.1:1:\n  bash[" in said
    assert "] -c echo >/dev/tcp/127.0.0.4/2 -> 127.0.0.4:2\n" in said

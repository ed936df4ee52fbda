"""The environment as the user gave it, in a process of its own: Python changes its own when it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json
from netmon.cli.environment import given_environment
from netmon.cli.views import is_ascii_only
print(json.dumps([dict(given_environment()), is_ascii_only()]))
"""


@pytest.mark.parametrize(
    ("given", "ascii_only"),
    [
        ({}, True),
        ({"LANG": "C"}, True),
        ({"LANG": "C", "NAME": "a=b\udce9"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LANG": "C.UTF-8"}, False),
    ],
)
def test_what_python_adds_is_left_out(given: dict[str, str], ascii_only: bool) -> None:
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **given}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=given, capture_output=True, check=True)
    assert json.loads(done.stdout) == [given, ascii_only]

"""What all unit tests have alike."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from pack import executable as single_file

# A busy machine is no failure.
settings.register_profile("netmon", deadline=None, max_examples=int(os.environ.get("NETMON_EXAMPLES", "100")))
settings.load_profile("netmon")


@pytest.fixture(scope="session")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns an architecture's single-file executable, built at the first call."""
    directory = tmp_path_factory.mktemp("dist")
    return cache(lambda architecture: single_file.build(architecture, directory))

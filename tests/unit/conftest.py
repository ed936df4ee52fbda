"""What all unit tests have alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from pack import binary

settings.register_profile("netmon", deadline=None)  # a busy machine is no failure
settings.load_profile("netmon")


@pytest.fixture(scope="session")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns an architecture's one file, built when it is first asked for."""
    directory = tmp_path_factory.mktemp("dist")
    return cache(lambda architecture: binary.build(architecture, directory))

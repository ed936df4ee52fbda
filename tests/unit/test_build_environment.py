"""`build.py` leaves the virtual environment of another tree alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import build


def test_a_linked_environment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, link = tmp_path / "other", tmp_path / ".venv"
    (other / "bin").mkdir(parents=True)
    (other / "bin/python").touch()
    link.symlink_to(other)
    monkeypatch.setattr(build, "VENV", link)
    with pytest.raises(SystemExit, match=r"is a symbolic link to .*/other; remove it"):
        build.install_python_packages()
    assert (other / "bin/python").exists()

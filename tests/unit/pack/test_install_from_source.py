"""Installation from a checkout, where nothing is compiled yet, and from an sdist of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pack.bpf_objects import INSTALL
from pack.paths import BPF_OBJECTS, LIBBPF, ROOT, SOURCE

NOT_IN_A_CHECKOUT = shutil.ignore_patterns(
    ".*", "__pycache__", "build", "dist", "third_party", *(p.name for p in BPF_OBJECTS)
)


def copy_tree(directory: Path) -> Path:
    """Copy the tree into directory, without anything that was built in it."""
    copy = shutil.copytree(ROOT, directory / "checkout", ignore=NOT_IN_A_CHECKOUT)
    shutil.copy(ROOT / ".gitignore", copy)
    return copy


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which nothing is compiled."""
    return copy_tree(tmp_path)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which pip has compiled the objects; its wheel is in wheels/."""
    checkout = copy_tree(tmp_path_factory.mktemp("compiled"))
    done = pip_wheel(checkout, checkout / "wheels")
    assert done.returncode == 0, done.stderr
    return checkout


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """An empty directory to be the only one in PATH."""
    directory = tmp_path / "tools"
    directory.mkdir()
    return directory


def build(checkout: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the build tools in the checkout."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=checkout,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def pip_wheel(checkout: Path, output: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build a wheel as `pip install .` does, with the build tools that are installed here."""
    pip = ("pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")
    return build(checkout, *pip, "--wheel-dir", str(output), ".", **environment)


def check_wheel(directory: Path) -> None:
    """Check that the only wheel in directory holds the compiled objects, and leaves libbpf to the system."""
    (wheel,) = directory.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        for path in BPF_OBJECTS:
            assert archive.read(str(path.relative_to(SOURCE))) == path.read_bytes()
        assert str(LIBBPF) not in archive.namelist()


def test_pip_compiles_the_objects_of_a_checkout(compiled: Path) -> None:
    check_wheel(compiled / "wheels")


def test_pip_says_what_to_install_without_clang(checkout: Path, tools: Path, tmp_path: Path) -> None:
    done = pip_wheel(checkout, tmp_path / "wheels", PATH=str(tools))
    assert done.returncode != 0
    for line in INSTALL.format(missing="clang is missing").splitlines():
        assert done.stderr.count(line) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("clang", "llvm_strip", "missing"),
    [("exit 0", None, "llvm-strip is missing"), ("exit 1", "exit 0", "libbpf's headers are missing")],
)
def test_the_message_names_the_first_tool_that_is_missing(
    clang: str, llvm_strip: str | None, missing: str, checkout: Path, tools: Path
) -> None:
    for name, script in {"clang": clang, "llvm-strip": llvm_strip}.items():
        if script:
            (tools / name).write_text(f"#!/bin/sh\n{script}\n")
            (tools / name).chmod(0o755)
    done = build(checkout, "hatchling", "build", "-t", "wheel", PATH=str(tools))
    assert done.returncode != 0
    assert done.stderr.strip() == INSTALL.format(missing=missing)


def test_an_editable_installation_needs_no_clang(checkout: Path, tools: Path, tmp_path: Path) -> None:
    script = "import sys; from hatchling.build import build_editable; build_editable(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        cwd=checkout,
        env={**os.environ, "PATH": str(tools)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "clang is missing" in done.stderr


def test_an_sdist_of_a_checkout_needs_no_clang(compiled: Path, tools: Path, tmp_path: Path) -> None:
    done = build(compiled, "hatchling", "build", "-t", "sdist", "-d", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "build.py wheel" in done.stderr, "it has no sources of libbpf"
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path)
    done = pip_wheel(tmp_path / sdist.name.removesuffix(".tar.gz"), tmp_path / "wheels", PATH=str(tools))
    assert done.returncode == 0, done.stderr
    check_wheel(tmp_path / "wheels")

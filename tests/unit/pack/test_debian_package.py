"""The contents of the Debian packages, as dpkg reads them. tests/kernel/test_service.py installs one."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from netmon import __version__
from netmon.config import Config
from pack import debian_package, licences
from pack.debian_changelog import debian_changelog
from pack.paths import FORWARD_SERVICE, MANUAL, ROOT, SERVICE
from vm.architecture import ARCHITECTURES


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, executable: Callable[[str], Path]) -> Callable[[str], Path]:
    """Returns an architecture's package, built at the first call."""
    directory = tmp_path_factory.mktemp("debs")
    return cache(lambda architecture: debian_package.package(executable(architecture), architecture, directory))


def output_of(*command: object) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_is_for_its_architecture(architecture: str, build: Callable[[str], Path]) -> None:
    path = build(architecture)
    name = ARCHITECTURES[architecture].debian
    assert path.name == f"netmon_{__version__}_{name}.deb"
    assert output_of("dpkg-deb", "--field", path, "Package", "Version", "Architecture").split()[1::2] == [
        "netmon",
        __version__,
        name,
    ]
    assert output_of("dpkg-deb", "--field", path, "Depends").strip() == ""


def test_holds_the_executable_and_its_files(
    build: Callable[[str], Path], executable: Callable[[str], Path], tmp_path: Path
) -> None:
    path = build("x86_64")
    output_of("dpkg-deb", "--raw-extract", path, tmp_path)
    assert (tmp_path / "usr/bin/netmon").read_bytes() == executable("x86_64").read_bytes()
    assert (tmp_path / "usr/lib/systemd/system/netmon.service").read_bytes() == SERVICE.read_bytes()
    unit = (tmp_path / "usr/lib/systemd/system/netmon-forward.service").read_text()
    assert unit == FORWARD_SERVICE.read_text()
    assert "EnvironmentFile=-/etc/default/netmon-forward\n" in unit and "\nCapabilityBoundingSet=\n" in unit
    Config.from_yaml(tmp_path / "etc/netmon/netmon.yaml")
    conffiles = (tmp_path / "DEBIAN/conffiles").read_text().split()
    files = [f"/{file.relative_to(tmp_path)}" for file in (tmp_path / "etc").rglob("*") if file.is_file()]
    assert sorted(conffiles) == sorted(files)
    documentation = tmp_path / "usr/share/doc/netmon"
    assert (documentation / "config.md").read_bytes() == (ROOT / "docs/config.md").read_bytes()
    assert gzip.decompress((tmp_path / "usr/share/man/man1/netmon.1.gz").read_bytes()) == MANUAL.read_bytes()
    for page in documentation.glob("*.md"):
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            assert "://" in link or (documentation / link).exists() or link == "netmon.1", f"{page.name}: {link}"
    output_of("sh", "-c", f"cd {tmp_path} && md5sum --check --strict --quiet DEBIAN/md5sums")


def test_root_owns_every_file_and_nobody_else_may_write(build: Callable[[str], Path]) -> None:
    for line in output_of("dpkg-deb", "--contents", build("x86_64")).splitlines():
        mode, owner, *_, name = line.split()
        assert owner == "root/root"
        executable = mode.startswith("d") or name == "./usr/bin/netmon"
        assert mode[1:] == ("rwxr-xr-x" if executable else "rw-r--r--"), line


@pytest.mark.parametrize("script", debian_package.SCRIPTS)
def test_its_scripts_are_shell(script: str) -> None:
    output_of("sh", "-n", debian_package.DEBIAN / script)


def test_the_same_parts_make_the_same_bytes(
    build: Callable[[str], Path], executable: Callable[[str], Path], tmp_path: Path
) -> None:
    """At another time, and with another umask."""
    first = build("x86_64").read_bytes()
    umask = os.umask(0o077)
    try:
        again = debian_package.package(executable("x86_64"), "x86_64", tmp_path)
    finally:
        os.umask(umask)
    assert again.read_bytes() == first


def test_has_the_project_s_changelog(build: Callable[[str], Path], tmp_path: Path) -> None:
    output_of("dpkg-deb", "--raw-extract", build("x86_64"), tmp_path)
    text = gzip.decompress((tmp_path / "usr/share/doc/netmon/changelog.gz").read_bytes()).decode()
    assert text.startswith(f"netmon ({__version__}) ")
    assert text.count("\n  * ") == (ROOT / "CHANGELOG.md").read_text().count("\n- ")
    assert max(map(len, text.splitlines())) <= 80


def test_debian_changelog_has_each_version() -> None:
    given = (
        "# Changelog\n\n## 1.1.0 (unreleased)\n\n- One, two,\n  three.\n\n## 1.0.0 (2026-12-24)\n\n- Four.\n- Five.\n"
    )
    assert debian_changelog(given, "netmon", "A <b@c.invalid>", 0) == (
        "netmon (1.1.0) UNRELEASED; urgency=medium\n\n  * One, two, three.\n\n"
        " -- A <b@c.invalid>  Thu, 01 Jan 1970 00:00:00 +0000\n\n"
        "netmon (1.0.0) stable; urgency=medium\n\n  * Four.\n  * Five.\n\n"
        " -- A <b@c.invalid>  Thu, 24 Dec 2026 00:00:00 +0000\n"
    )


def test_copyright_has_each_licence_that_debian_lacks(
    build: Callable[[str], Path], executable: Callable[[str], Path], tmp_path: Path
) -> None:
    output_of("dpkg-deb", "--raw-extract", build("x86_64"), tmp_path)
    text = (tmp_path / "usr/share/doc/netmon/copyright").read_text()
    assert text.startswith("netmon is free software")
    with zipfile.ZipFile(executable("x86_64")) as archive:
        texts = {
            name.removeprefix("LICENSES/"): archive.read(name).decode()
            for name in archive.namelist()
            if name.startswith("LICENSES/")
        }
    for name, common in licences.COMMON_LICENCES.items():
        assert texts.pop(name)
        assert f"/usr/share/common-licenses/{common}\n" in text
    assert {"netmon-BSD-2-Clause", "libc6-copyright", "orjson-LICENSE-MIT"} <= set(texts)
    for name, licence in texts.items():
        assert name in text
        assert licence.strip("\n") in text

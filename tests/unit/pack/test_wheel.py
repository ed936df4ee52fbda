"""The wheels and the sdist: their contents, their needs, and that the same source makes the same bytes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from elftools.elf.elffile import ELFFile

from netmon import __version__
from pack import wheel
from pack.libbpf import TARGETS
from pack.paths import BPF_OBJECT, BPF_OBJECTS, LIBBPF, PACKAGE, ROOT, SOURCE
from pack.third_party import DEBIAN_SUITE, SOURCES
from pack.third_party import LIBBPF as LIBBPF_SOURCE
from vm.archive import Archive, locked_cache

HOST = "x86_64-manylinux"
LIBRARY = str(LIBBPF)
# The libraries that every installation of a platform has: its C library and the dynamic linker (thread-local storage).
ALLOWED = {
    "x86_64-manylinux": {"libc.so.6", "ld-linux-x86-64.so.2"},
    "aarch64-manylinux": {"libc.so.6", "ld-linux-aarch64.so.1"},
    "x86_64-musllinux": {"libc.so"},
    "aarch64-musllinux": {"libc.so"},
}
# Loads the libbpf that the first argument names, and lists the programs of the object that the second one names.
LIST_PROGRAMS = """
#include <dlfcn.h>
#include <stdio.h>

int main(int count, char **arguments)
{
	void *libbpf = dlopen(arguments[1], RTLD_NOW), *program = NULL, *object;
	void *(*open)(const char *) = libbpf ? dlsym(libbpf, "bpf_object__open") : NULL;
	void *(*next)(void *, void *) = libbpf ? dlsym(libbpf, "bpf_object__next_program") : NULL;
	const char *(*name)(void *) = libbpf ? dlsym(libbpf, "bpf_program__name") : NULL;

	if (!open || !next || !name || !(object = open(arguments[2])))
		return puts(dlerror()), 1;
	while ((program = next(object, program)))
		puts(name(program));
	return 0;
}
"""
MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dist")


@pytest.fixture(scope="module")
def wheels(directory: Path) -> dict[str, Path]:
    """Every platform's wheel."""
    return {name: wheel.build(name, directory) for name in TARGETS}


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def dist_info(archive: zipfile.ZipFile, name: str) -> str:
    return archive.read(f"netmon_bpf-{__version__}.dist-info/{name}").decode()


def test_is_tagged_for_its_platform(wheels: dict[str, Path], target: str) -> None:
    tag = f"py3-none-{TARGETS[target].tag}"
    assert wheels[target].name == f"netmon_bpf-{__version__}-{tag}.whl"
    with zipfile.ZipFile(wheels[target]) as archive:
        said = dist_info(archive, "WHEEL").splitlines()
    assert f"Tag: {tag}" in said
    assert "Root-Is-Purelib: false" in said


def test_holds_the_package_the_objects_and_libbpf(wheels: dict[str, Path], target: str) -> None:
    parts = (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.yaml"), PACKAGE / "py.typed", *BPF_OBJECTS)
    files = {str(path.relative_to(SOURCE)) for path in parts}
    with zipfile.ZipFile(wheels[target]) as archive:
        found = {name for name in archive.namelist() if name.startswith("netmon/")}
        for path in BPF_OBJECTS:
            assert archive.read(str(path.relative_to(SOURCE))) == path.read_bytes()
        manual = archive.read(f"netmon_bpf-{__version__}.data/data/share/man/man1/netmon.1")
    assert found == {*files, LIBRARY}
    assert manual == (ROOT / "docs/netmon.1").read_bytes()


def test_its_libbpf_needs_only_the_c_library(wheels: dict[str, Path], target: str) -> None:
    with zipfile.ZipFile(wheels[target]) as archive:
        elf = ELFFile(io.BytesIO(archive.read(LIBRARY)))
    dynamic: Any = elf.get_section_by_name(".dynamic")
    assert {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")} <= ALLOWED[target]
    assert elf.header["e_machine"] == MACHINES[target.partition("-")[0]]
    assert not elf.get_section_by_name(".symtab")
    symbols: Any = elf.get_section_by_name(".dynsym")
    exported = {symbol.name for symbol in symbols.iter_symbols() if symbol.name and symbol["st_shndx"] != "SHN_UNDEF"}
    assert "bpf_object__open_mem" in exported
    # No symbols of libelf or zlib: another part of the process may load its own.
    assert not {name for name in exported if name.startswith(("elf", "gelf", "inflate", "deflate", "crc32", "gz"))}


@pytest.mark.parametrize("name", [name for name in TARGETS if name.endswith("manylinux")])
def test_auditwheel_agrees(wheels: dict[str, Path], name: str) -> None:
    """auditwheel checks wheels for musl only when it runs with musl."""
    said = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", wheels[name]], check=True, capture_output=True, text=True
    ).stdout
    policy = TARGETS[name].tag.replace("manylinux2014", "manylinux_2_17")
    assert f'consistent with the following platform tag: "{policy}"' in " ".join(said.split())


@pytest.fixture(scope="module")
def musl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's musl: one file is both its dynamic linker and its C library."""
    root = tmp_path_factory.mktemp("musl")
    with locked_cache():
        (package,) = Archive(DEBIAN_SUITE).download(("musl",))
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
    return root / "usr/lib/ld-musl-x86_64.so.1"


def test_a_musl_program_reads_the_object_with_its_libbpf(wheels: dict[str, Path], musl: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheels["x86_64-musllinux"]).extractall(tmp_path)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-dynamic", "-x", "c", "-"]
    subprocess.run([*command, "-o", tmp_path / "program"], input=LIST_PROGRAMS, text=True, check=True)
    paths = [tmp_path / LIBRARY, tmp_path / BPF_OBJECT.relative_to(SOURCE)]
    done = subprocess.run([musl, tmp_path / "program", *paths], check=True, capture_output=True, text=True)
    assert {"tcp_close_entry", "tcp_v6_connect_exit"} <= set(done.stdout.split())


def test_has_the_licences_of_bundled_sources(wheels: dict[str, Path], target: str) -> None:
    with zipfile.ZipFile(wheels[target]) as archive:
        for source in SOURCES:
            licences = [*source.directory.glob("LICENSE*"), *source.directory.glob("COPYING*")]
            assert licences
            for licence in licences:
                kept = dist_info(archive, f"licenses/LICENSES/{source.name}-{licence.name}")
                assert kept == licence.read_text()
        metadata = dist_info(archive, "METADATA")
        for source in SOURCES:
            assert source.licence in metadata
        assert "licenses/LICENSES/netmon-BSD-2-Clause" in dist_info(archive, "RECORD")
        assert dist_info(archive, "licenses/LICENSE") == (ROOT / "LICENSE").read_text()


def test_has_an_sbom_of_bundled_sources(wheels: dict[str, Path], target: str) -> None:
    with zipfile.ZipFile(wheels[target]) as archive:
        text = dist_info(archive, "sboms/netmon.cdx.json")
    assert not JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    materials = json.loads(text)
    assert (materials["bomFormat"], materials["specVersion"]) == ("CycloneDX", "1.6")
    assert materials["metadata"]["component"]["version"] == __version__
    listed = {part["name"]: part["version"] for part in materials["components"]}
    assert listed == {source.name: source.version for source in SOURCES}


def test_the_sdist_builds_the_same_wheel(wheels: dict[str, Path], directory: Path, tmp_path: Path) -> None:
    """In another directory, without the tree. An sdist builds for this host by default."""
    sdist = wheel.build(wheel.SDIST, directory)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "NETMON_WHEEL"}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"],
        cwd=tmp_path / sdist.name.removesuffix(".tar.gz"),
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (built,) = (tmp_path / "dist").iterdir()
    assert built.name == wheels[HOST].name
    assert built.read_bytes() == wheels[HOST].read_bytes()


def test_the_sdist_has_the_same_bytes_each_time(directory: Path, tmp_path: Path) -> None:
    first, second = (wheel.build(wheel.SDIST, place) for place in (directory, tmp_path))
    assert first.read_bytes() == second.read_bytes()


def pythons() -> dict[str, str]:
    """Return this machine's Pythons that netmon supports, by version."""
    found = {}
    candidates = [*Path.home().glob(".pyenv/versions/3.*/bin/python3"), Path("/usr/bin/python3"), Path(sys.executable)]
    script = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    for path in candidates:
        if path.exists():
            done = subprocess.run([path, "-c", script], capture_output=True, text=True)
            version = done.stdout.strip()
            if done.returncode == 0 and tuple(map(int, version.split("."))) >= (3, 10):
                found[version] = str(path)
    return dict(sorted(found.items(), key=lambda item: int(item[0].split(".")[1])))


PYTHONS = pythons()


@pytest.mark.parametrize("version", PYTHONS)
def test_works_without_the_system_s_libbpf(wheels: dict[str, Path], version: str, tmp_path: Path) -> None:
    """Installed by pip. A mount namespace hides the system's libbpf."""
    venv = tmp_path / "venv"
    # This Python's pip installs into it: one of its own would take longer to install than netmon.
    subprocess.run([PYTHONS[version], "-m", "venv", "--without-pip", str(venv)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin/python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-qq", str(wheels[HOST])], check=True)
    hide = 'for file in $(ldconfig -p | sed -n "s/.*libbpf.*=> //p"); do mount --bind /dev/null "$file"; done'
    script = f'{hide}; NETMON_LIBBPF=system "$0" check; "$0" check'
    said = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(venv / "bin/netmon")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout
    assert [line for line in said.splitlines() if line[5:].startswith("libbpf:")] == [
        "FAIL libbpf: not usable",
        f"ok   libbpf: version {LIBBPF_SOURCE.version.rpartition('.')[0]}, bundled with netmon",
    ]
    subprocess.run([str(venv / "bin/netmon"), "schema", "event"], check=True, stdout=subprocess.DEVNULL)

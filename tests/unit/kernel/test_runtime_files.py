"""The names of containers, from the files of their runtimes."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from netmon.kernel.runtime_files import DIRECTORIES, LOGS, SIZE_LIMIT, RuntimeFiles, directories
from tests.support import runtimes

ID = "0123456789abcdef" * 4
UNIT = "machine-buster\\x2dbuild.scope"


def names_of(root: Path, subject: str = ID) -> dict[str, str]:
    return RuntimeFiles(str(root)).names(subject)


@pytest.mark.parametrize("layout", runtimes.LAYOUTS, ids=lambda layout: layout.__name__)
def test_each_runtimes_files_give_the_names(tmp_path: Path, layout: Callable[[Path, str], dict[str, str]]) -> None:
    assert names_of(tmp_path) == {}
    expected = layout(tmp_path, ID)
    assert names_of(tmp_path) == expected
    assert names_of(tmp_path, "f" * 64) == {}


def test_a_log_adds_what_the_runtime_does_not_say(tmp_path: Path) -> None:
    runtimes.containerd(tmp_path, ID, **{"io.kubernetes.cri.image-name": "nginx"})
    assert names_of(tmp_path) == {"image": "nginx"}
    runtimes.kubelet(tmp_path, ID)
    assert names_of(tmp_path) == {"image": "nginx", **runtimes.POD}


def test_a_machine_is_a_container_unless_it_is_virtual(tmp_path: Path) -> None:
    assert names_of(tmp_path, UNIT) == {}
    assert names_of(tmp_path / "nspawn", UNIT) == {}
    assert runtimes.machined(tmp_path / "nspawn", UNIT) == names_of(tmp_path / "nspawn", UNIT)
    runtimes.machined(tmp_path / "qemu", UNIT, kind="vm")
    assert names_of(tmp_path / "qemu", UNIT) == {}


@pytest.mark.parametrize("path", ["run/systemd/machines/unit:a.scope", "run/systemd/machines/x"])
def test_a_machine_whose_name_leads_elsewhere_has_none(tmp_path: Path, path: str) -> None:
    (tmp_path / "run/systemd/machines").mkdir(parents=True)
    (tmp_path / "secret").write_text("CLASS=container\n")
    (tmp_path / path).symlink_to("../../../secret")
    if path.endswith("x"):
        (tmp_path / "run/systemd/machines/unit:a.scope").symlink_to("x")
    assert names_of(tmp_path, "a.scope") == {}


def container_file(root: Path) -> Path:
    """Make the file of a container that Docker runs, and return its path."""
    runtimes.docker(root, ID)
    return root / f"var/lib/docker/containers/{ID}/config.v2.json"


def test_a_runtimes_directory_may_be_a_link(tmp_path: Path) -> None:
    """Whoever administrates the host may have moved it."""
    file = container_file(tmp_path / "data")
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/docker").symlink_to(file.parents[2])
    assert names_of(tmp_path)["container"] == "api"


def replace_by_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def replace_directory_by_link(file: Path) -> None:
    file.parent.rename(file.parents[1] / "elsewhere")
    file.parent.symlink_to("elsewhere")


def replace_by_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def replace_by_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def grow(file: Path) -> None:
    with file.open("ab") as output:
        output.truncate(SIZE_LIMIT + 1)


@pytest.mark.parametrize(
    "change",
    [
        *(replace_by_link, replace_directory_by_link, replace_by_fifo, replace_by_directory, grow),
        lambda file: file.write_text("not JSON"),
        lambda file: file.write_text("[]"),
        lambda file: file.write_text("[" * 100_000),
        lambda file: file.write_text('{"Name": 5, "Config": {"Image": {}, "Labels": []}}'),
        lambda file: file.write_text('{"Name": "/\\u001b[31m", "Config": "x"}'),
        lambda file: file.write_text('{"Name": "/' + "n" * 129 + '"}'),
        lambda file: file.write_bytes(b'{"Name": "/\xff"}'),
    ],
)
def test_what_is_no_file_of_a_runtimes_gives_no_name(tmp_path: Path, change: Callable[[Path], object]) -> None:
    file = container_file(tmp_path)
    assert names_of(tmp_path)
    change(file)
    assert names_of(tmp_path) == {}


def test_damaged_files_raise_nothing(tmp_path: Path) -> None:
    for layout in runtimes.LAYOUTS:
        layout(tmp_path, ID)
    files = [path for path in tmp_path.rglob("*.json") if path.is_file()]
    whole = {file: file.read_bytes() for file in files}
    chance = random.Random(7)
    for _ in range(300):
        file = chance.choice(files)
        data = bytearray(whole[file])
        for _ in range(chance.randrange(1, 5)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        file.write_bytes(data[: chance.randrange(len(data))] if chance.random() < 0.3 else data)
        assert all(isinstance(name, str) for name in names_of(tmp_path).values())


def test_a_log_with_another_name_is_none(tmp_path: Path) -> None:
    logs = tmp_path / LOGS
    logs.mkdir(parents=True)
    for name in (f"a_b-{ID}.log", f"a_b_c_d-{ID}.log", f"a_b_c-{ID}.txt", f"-_-_--{ID}.log", f"\x1b_b c_d-{ID}.log"):
        (logs / name).touch()
    assert names_of(tmp_path) == {}


def test_the_directories_are_those_of_the_host() -> None:
    assert directories() == [f"/{directory}" for directory in DIRECTORIES]
    assert {"/var/log/containers", "/var/lib/docker/containers"} <= {*directories()}

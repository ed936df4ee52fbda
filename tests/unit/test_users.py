"""The names of users."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netmon import users
from netmon.users import Users

PASSWD = """root:x:0:0:root:/root:/bin/bash
toor:x:0:0::/root:/bin/sh
# a comment
+nis:::::
broken
evil\x1b[31m:x:7:7::/:
:x:8:8::/:
alice:x:1000:1000:Alice:/home/alice:/bin/bash
far:x:4294967294:1::/:
"""


@pytest.fixture
def passwd(tmp_path: Path) -> Path:
    path = tmp_path / "passwd"
    path.write_text(PASSWD)
    return path


@pytest.mark.parametrize(
    ("uid", "name"),
    [(0, "root"), (1000, "alice"), (7, "evil\\u001b[31m"), (8, "8"), (1001, "1001"), (4294967294, "far")],
)
def test_names(passwd: Path, uid: int, name: str) -> None:
    assert Users(str(passwd)).name(uid) == name


def test_a_changed_file_is_read_again(passwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "CHECK_INTERVAL", 0.0)
    known = Users(str(passwd))
    assert known.name(1001) == "1001"
    new = passwd.with_name("new")  # as useradd does
    new.write_text(PASSWD + "bob:x:1001:1001::/:\n")
    new.rename(passwd)
    assert known.name(1001) == "bob"
    passwd.unlink()
    assert known.name(1001) == "bob"


def test_the_file_is_not_looked_at_for_each_name(passwd: Path) -> None:
    known = Users(str(passwd))
    assert known.name(0) == "root"
    passwd.write_text("admin:x:0:0::/:\n")
    assert known.name(0) == "root"


def test_nothing_that_is_no_file_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "none"):
        assert Users(str(path)).name(0) == "0"


def test_a_huge_file_is_read_up_to_a_limit(passwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "SIZE_LIMIT", 40)
    known = Users(str(passwd))
    assert (known.name(0), known.name(1000)) == ("root", "1000")

"""The user whom `netmon exec` runs a command as."""

from __future__ import annotations

import os
import pwd

import pytest

from netmon.cli.account import find_asker
from netmon.cli.command import exit_code_of
from netmon.errors import NetmonError

SUDO = {"SUDO_UID": "65534", "SUDO_GID": "65534", "SUDO_USER": "nobody"}


def test_under_sudo_it_is_the_one_who_asked() -> None:
    account = find_asker(SUDO, 0)
    assert account is not None
    assert (account.uid, account.gid, account.home) == (65534, 65534, pwd.getpwuid(65534).pw_dir)
    environment = account.environment({**SUDO, "HOME": "/root", "USER": "root", "PATH": "/bin"})
    assert not environment.keys() & SUDO.keys()
    assert (environment["HOME"], environment["USER"], environment["PATH"]) == (account.home, account.name, "/bin")


@pytest.mark.parametrize(("environ", "uid"), [({}, 0), (SUDO, 1000), ({"SUDO_UID": "0", "SUDO_GID": "0"}, 0)])
def test_else_it_is_netmons_own(environ: dict[str, str], uid: int) -> None:
    assert find_asker(environ, uid) is None


@pytest.mark.parametrize("text", ["", "-1", "4294967295", "nobody"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(NetmonError, match="which is no id: unset SUDO_UID"):
        find_asker({**SUDO, "SUDO_UID": text}, 0)


def test_exit_codes_are_those_of_shells() -> None:
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), 9)
    assert exit_code_of(os.waitpid(pid, 0)[1]) == 137

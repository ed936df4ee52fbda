"""The environment as the user gave it, which Python and the single-file executable change for themselves."""

from __future__ import annotations

import os
from collections.abc import Mapping

GIVEN = "/proc/self/environ"
COERCED = "LC_CTYPE"


def given_environment() -> Mapping[str, str]:
    """Return the environment that a command of the user's is to get, and that says what the terminal shows.

    The single-file executable's own lacks what would load other code or settings (pack/launcher/launcher.c): LANG,
    TMPDIR and LD_PRELOAD, for instance; and it has variables of its own. In the locale C, Python sets LC_CTYPE
    (PEP 538).
    """
    is_single_file = hasattr(__spec__.loader, "native")  # pack/launcher/start.py
    if not is_single_file and COERCED not in os.environ:
        return os.environ
    try:
        with open(GIVEN, "rb") as file:
            variables = [os.fsdecode(part).partition("=") for part in file.read().split(b"\0") if b"=" in part]
    except OSError:  # no /proc, or the file has capabilities that its caller lacks
        return os.environ
    given = {name: value for name, _, value in variables}
    if is_single_file:
        return given
    return {name: value for name, value in os.environ.items() if name != COERCED or COERCED in given}

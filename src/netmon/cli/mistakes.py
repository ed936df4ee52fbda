"""What to say about commands and flags that do not exist. Imported only when there is one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from netmon.errors import MAX_SHOWN, shown


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like another one; "" if none is."""
    return next(iter(difflib.get_close_matches(word[:MAX_SHOWN], list(known), 1)), "")


def unknown_command(word: str, commands: Iterable[str]) -> str:
    """Return what to say about a command that does not exist."""
    if word == "version":
        return "version: no such command; write netmon --version"
    near = nearest(word, commands)
    remedy = f"did you mean {near}?" if near else f"the commands are {', '.join(commands)}"
    return f"{shown(word)}: no such command; {remedy}"


def unknown_argument(command: str, word: str, flags: Iterable[str]) -> str:
    """Return what to say about an argument that a command does not take.

    Args:
        command: The command's name.
        word: The first such argument.
        flags: All flags of the command.
    """
    if word.startswith("-"):
        flag = word.partition("=")[0]
        near = nearest(flag, [known for known in flags if known.startswith("--")])
        remedy = f"did you mean {near}?" if near else f"netmon {command} --help lists the flags"
        return f"{shown(flag)}: no such flag of netmon {command}; {remedy}"
    if command == "run":
        name = shown(word)
        return f"{name}: not a flag; --name {name} reports a program's connections, netmon exec -- {name} runs it"
    return f"{shown(word)}: netmon {command} does not take it; see netmon {command} --help"

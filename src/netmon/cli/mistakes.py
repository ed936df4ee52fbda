"""What to say about commands and flags that do not exist. Imported only when there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from netmon.errors import shown
from netmon.nearest import nearest, remedy

# What other tools call a flag, and people by habit; a flag with a value may be meant.
SYNONYMS = {
    **dict.fromkeys(("--json", "-j"), "--format json"),
    **dict.fromkeys(("-o", "--output-format"), "--format"),
    **dict.fromkeys(("--dport", "--remote-port", "--dst-ports"), "--peer-port"),
    **dict.fromkeys(("--sport", "--lport", "-L"), "--local-port"),
    **dict.fromkeys(("--dst", "--daddr", "--remote", "--host", "--to"), "--peer"),
    **dict.fromkeys(("--src", "--saddr", "--from"), "--local"),
    **dict.fromkeys(("-P", "--ports"), "--port"),
    **dict.fromkeys(("-p", "--process-id"), "--pid"),
    **dict.fromkeys(("--process", "--program", "--exe", "--binary"), "--name"),
    **dict.fromkeys(("--children", "--descendants"), "--tree"),
    **dict.fromkeys(("-u",), "--uid"),
    **dict.fromkeys(("--container", "--containerid"), "--container-id"),
    **dict.fromkeys(("--failed", "--errors"), "--failures"),
    **dict.fromkeys(("--stats",), "--statistics"),
    **dict.fromkeys(("-c",), "--config"),
    **dict.fromkeys(("-w", "--write"), "--record"),
    **dict.fromkeys(("--colour", "--no-colour", "--nocolor"), "--no-color"),
}


def unknown_command(word: str, commands: Iterable[str]) -> str:
    """Return what to say about a command that does not exist."""
    if word == "version":
        return "version: no such command; write netmon --version"
    otherwise = f"the commands are {', '.join(commands)}"
    return f"{shown(word)}: no such command; {remedy(word, commands, otherwise)}"


def unknown_argument(command: str, word: str, flags: Iterable[str], others: Callable[[], dict[str, list[str]]]) -> str:
    """Return what to say about an argument that a command does not take.

    Args:
        command: The command's name.
        word: The first such argument.
        flags: All flags of the command.
        others: Returns all flags of each command, by its name.
    """
    if word.startswith("-"):
        flag = word.partition("=")[0]
        return f"{shown(flag)}: no such flag of netmon {command}; {_meant(command, flag, [*flags], others)}"
    if command == "run":
        name = shown(word)
        return f"{name}: not a flag; --name {name} reports a program's connections, netmon exec -- {name} runs it"
    return f"{shown(word)}: netmon {command} does not take it; see netmon {command} --help"


def _meant(command: str, flag: str, flags: list[str], others: Callable[[], dict[str, list[str]]]) -> str:
    """Return which flag may have been meant, or which command."""
    synonym = SYNONYMS.get(flag, "")
    if synonym and synonym.partition(" ")[0] in flags:
        return f"did you mean {synonym}?"
    having = [name for name, theirs in others().items() if (synonym.partition(" ")[0] or flag) in theirs]
    if having:
        *some, last = having
        commands = f"{', '.join(some)} and {last}" if some else last
        return f"{synonym or 'it'} is a flag of netmon {commands}"
    near = nearest(flag, [known for known in flags if known.startswith("--")])
    return f"did you mean {near}?" if near else f"netmon {command} --help lists the flags"

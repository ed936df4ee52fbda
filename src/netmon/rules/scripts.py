"""Which script an interpreter runs, as its arguments say.

It is read from the arguments alone, which a process can choose: it identifies no program for sure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_SCRIPT = 1024  # characters: what is longer is no script's path
_INTERPRETER = re.compile(
    r"(?:python|pypy|perl|ruby|php|lua|luajit|tclsh|wish|guile|Rscript|node|nodejs|deno|bun|java|mono|dotnet"
    r"|bash|sh|dash|zsh|ksh|fish|ash)(?:[0-9][0-9.]*)?t?",
    re.ASCII,
)
# What the next argument is a value of, and what one is that has the program itself.
_WITH_VALUE = frozenset(
    ["-W", "-X", "-I", "-cp", "-classpath", "--class-path", "--module-path", "-p", "-O", "--import", "-d"]
)
_REQUIRED = frozenset(["-r", "--require", "--loader"])  # node's and ruby's, with a value; php's -r is a program
_INLINE = frozenset(["-c", "-e", "-E", "-ec", "-lc", "-ce", "-cl", "--eval", "--print"])
_NAMED = frozenset(["-m", "-jar", "--module"])  # what follows is a module or an archive
_SUBCOMMANDS = frozenset(["run", "exec"])  # of deno, bun and dotnet


def script_of(name: str, args: str, *, whole: bool) -> str | None:
    """Return what an interpreter runs; None if it is no interpreter, or if its arguments do not say so.

    Args:
        name: The file name of the executable.
        args: Its arguments, joined by spaces, without the first one.
        whole: Whether these are all.

    Returns:
        The script as it is given, up to a space; `-m NAME` of a module, `-jar FILE` of an archive; `-c` of a program
        that is itself an argument.
    """
    if not _INTERPRETER.fullmatch(name):
        return None
    words = _words(args, whole=whole)
    for word in words:
        if word in _INLINE or (word == "-r" and name.startswith("php")):
            return "-c"
        if word in _NAMED:
            named = next(words, "")
            return _fitting(f"{word} {named}") if named else None
        if word in _WITH_VALUE or word in _REQUIRED:
            next(words, "")
        elif word == "--":
            return _fitting(next(words, ""))
        elif not word.startswith("-") and not (word in _SUBCOMMANDS and name in ("deno", "bun", "dotnet")):
            return _fitting(word)
    return None


def _words(args: str, *, whole: bool) -> Iterator[str]:
    """Yield words, without the last one if it may have been cut."""
    begin = 0
    while (end := args.find(" ", begin)) >= 0:
        if end > begin:
            yield args[begin:end]
        begin = end + 1
    if whole and begin < len(args):
        yield args[begin:]


def _fitting(word: str) -> str | None:
    return word if 0 < len(word) <= MAX_SCRIPT else None

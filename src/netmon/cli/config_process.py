"""Reads a configuration file in a process of its own, which ends when the file is read, checked and compiled.

Whoever wrote the file may know a fault of a parser. So the process that parses has no capabilities, no descriptors but
its own, and no system calls but those for memory, for its answer, and to end: all that it can do is to give other
filters and settings than those of the file. What reading the file and importing the parser take, it does before that,
with the rights of netmon. And the memory that a long list takes while it is read is given back with the process.

It is a fork, not a program that is executed: it has what netmon has imported, netmon may execute nothing once it has
given up its rights, and there need be no further process that waits for a reload.
"""

from __future__ import annotations

import errno
import os
import signal
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from netmon.errors import ConfigError, NetmonError, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from netmon.config.checked import CheckedConfig
    from netmon.filters.compiled import CompiledFilters

    Change = Callable[[CheckedConfig], CheckedConfig]

IGNORED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}  # meant for netmon, which decides what comes of it

# What the process asks: for the network namespace of a path, whose size comes first. The answer: its inode number, or 0
# and the size of the reason that follows.
QUESTION = struct.Struct("=H")
ANSWER = struct.Struct("=IH")
LONGEST_PATH = 4096  # PATH_MAX: the kernel refuses any longer one

MAX_MEMORY = 4 << 30  # bytes: several times what the largest file that is accepted takes
MFD_CLOEXEC, MFD_NOEXEC_SEAL = 1, 8  # linux/memfd.h; the latter from 6.3 on


class ConfigProcess:
    """A process that reads a configuration file, from its creation on.

    Attributes:
        pid: Its id.
    """

    def __init__(self, path: str, change: Change = lambda config: config) -> None:
        """Start it.

        Args:
            path: The file.
            change: Is applied, in the process, to what the file says. Nothing can be imported there. May raise
                ConfigError.

        Raises:
            OSError: There can be no further process.
        """
        self._path = path
        self._file = _memory_file()
        self._questions, questions = os.pipe()
        answers, self._answers = os.pipe()
        parent = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _run(path, change, parent, self._file, questions, answers)
        except OSError:
            for fd in (self._file, self._questions, self._answers):
                os.close(fd)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(questions)
            os.close(answers)

    def result(self) -> tuple[CompiledFilters, dict[str, Any]]:
        """Wait until it has ended, and return the filters, and the values of the section `run:`. Call it once.

        Raises:
            ConfigError: The file cannot be read, or has problems.
            NetmonError: The process has failed.
        """
        from netmon.filters.handover import read_filters

        try:
            self._answer_all()
        except BaseException as error:
            self._end(signal.SIGKILL)
            os.close(self._file)
            if isinstance(error, _NonsenseError):
                raise NetmonError(f"{self._shown} cannot be used: the process that reads it asks nonsense") from None
            raise
        code = self._end()
        if code == 0:
            return read_filters(self._file)  # nobody else has the file open any more
        os.close(self._file)
        raise NetmonError(f"{self._shown} cannot be used: the process that reads it {_explain(code)}")

    @property
    def _shown(self) -> str:
        return shown(self._path)

    def _end(self, number: int = 0) -> int:
        """Wait for the process's end, after a signal if there is one; return its exit code."""
        os.close(self._questions)
        os.close(self._answers)
        if number:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:  # SIGCHLD was ignored when netmon started: what has been written tells the end
            return 0
        return os.waitstatus_to_exitcode(status)

    def _answer_all(self) -> None:
        """Look up network namespaces, until the process asks no more: that may take rights."""
        while path := _read_question(self._questions):
            with suppress(BrokenPipeError):  # it has been killed: its exit code says so
                os.write(self._answers, _look_up(path))


class _NonsenseError(Exception):
    """The process asks what it never asks."""


def _memory_file() -> int:
    """Return the descriptor of an empty file in memory. Raises OSError."""
    try:
        return os.memfd_create("filters", MFD_CLOEXEC | MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create("filters", MFD_CLOEXEC)


def _read_question(fd: int) -> str:
    """Return the path that is asked for; an empty text at the end. Raises _NonsenseError."""
    if not (begin := _read(fd, QUESTION.size)):
        return ""
    try:
        (size,) = QUESTION.unpack(begin)
        path = _read(fd, size).decode()
    except (struct.error, UnicodeDecodeError):
        raise _NonsenseError from None
    if not 0 < size == len(path.encode()) or "\0" in path:
        raise _NonsenseError
    return path


def _read(fd: int, size: int) -> bytes:
    """Return as many bytes; less at the end."""
    data = b""
    while len(data) < size and (more := os.read(fd, size - len(data))):
        data += more
    return data


def _look_up(path: str) -> bytes:
    """Return the answer for the path of a network namespace."""
    from netmon.config.netns import inode_of  # seldom needed

    try:
        return ANSWER.pack(inode_of(path), 0)
    except ValueError as error:
        reason = str(error).encode()
        return ANSWER.pack(0, len(reason)) + reason


def _explain(code: int) -> str:
    if code < 0:
        return f"was killed by signal {-code}: is there enough memory?"
    return f"has failed with exit code {code}"


# What follows runs in the process.


def _run(path: str, change: Change, parent: int, file: int, questions: int, answers: int) -> NoReturn:
    """Read, check and compile; write what comes of it, and end. No exception leaves it: the caller is netmon."""
    code = 1
    try:
        from netmon.kernel import rights

        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
        rights.end_with_parent(parent)
        _write(path, change, file, questions, answers)
        code = 0
    except BaseException as error:
        with suppress(BaseException):
            _write_reason(path, error, file)
            code = 0
    finally:
        os._exit(code)


def _write(path: str, change: Change, file: int, questions: int, answers: int) -> None:
    from netmon.filters.compile import compile_filters
    from netmon.filters.handover import write_filters, write_problems

    try:
        read, digest = _read_config(path, file, questions, answers)
        config = change(read)
        filters = compile_filters(config)
    except ConfigError as error:
        write_problems(error.problems, file)
    else:
        write_filters(filters._replace(digest=digest), config.run.values() if config.run is not None else {}, file)


def _write_reason(path: str, error: BaseException, file: int) -> None:
    from netmon.filters.handover import write_failure

    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    write_failure(f"{shown(path)} cannot be used: {_reason_of(error)}", file)


def _reason_of(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"reading it takes more than {MAX_MEMORY >> 30} GiB of memory, or than there is; shorten its lists"
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return "its lists are too long for the kernel's maps; shorten them"
    if isinstance(error, ImportError | AttributeError):
        return f"{shown(str(error))}: has netmon been upgraded? Then start it again"
    return f"{type(error).__name__}: {shown(str(error))}"


def _read_config(path: str, file: int, questions: int, answers: int) -> tuple[CheckedConfig, bytes]:
    """Give up all rights, and return what the file says, and its digest. Raises ConfigError."""
    # All that reading a configuration may import, and the file, while they can still be opened.
    import difflib  # noqa: F401
    import ipaddress  # noqa: F401
    import json  # noqa: F401
    import unicodedata  # noqa: F401

    from netmon.cli.confine import isolate
    from netmon.config import checked, run_values  # noqa: F401
    from netmon.config.digest import digest_of_files
    from netmon.config.files import parse_files, read_files
    from netmon.filters import keys, settings  # noqa: F401
    from netmon.filters.handover import MAX_SIZE

    path = _normal(path)
    files = read_files(path)
    contents = [content for _, content in files.parts]
    if any(word in content for content in contents for word in (b"rules", b"macros", b"lists", b"\\")):
        _prepare_rules()
    # or an escape that may spell it
    if any(word in content for content in contents for word in (b"fields", b"message", b"\\")):
        _prepare_fields()
    digest = digest_of_files(files.contents)
    isolate(keep={file, questions, answers}, max_memory=MAX_MEMORY, max_file=MAX_SIZE)

    def resolve(netns: int | str) -> int:
        return netns if isinstance(netns, int) else _ask(netns, questions, answers)

    return checked.check_document(parse_files(path, files), resolve), digest


def _prepare_rules() -> None:
    """Import what rules take: few files have them."""
    from netmon.filters import rule_keys  # noqa: F401
    from netmon.rules import load, plain, wanted  # noqa: F401


def _prepare_fields() -> None:
    """Import what the checks of `run.fields` and messages take, the models of events: slow, and few files need it."""
    from netmon.terminal.fields import known_paths

    known_paths()


def _normal(path: str) -> str:
    """Return a path as pathlib writes it, which is slow to import: messages of the library have it so."""
    root = path[: len(path) - len(path.lstrip("/"))]
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return (root if len(root) < 3 else "/") + "/".join(parts) or "."


def _ask(path: str, questions: int, answers: int) -> int:
    """Return the inode number of a network namespace. Raises ValueError with the reason why there is none."""
    data = path.encode()
    if len(data) > LONGEST_PATH:
        from netmon.config.netns import unusable

        raise ValueError(unusable(os.strerror(errno.ENAMETOOLONG)))
    os.write(questions, QUESTION.pack(len(data)) + data)
    inode, size = ANSWER.unpack(_read(answers, ANSWER.size))
    if not inode:
        raise ValueError(_read(answers, size).decode())
    return int(inode)

"""netmon's errors.

NetmonError
├── ConfigError        a configuration cannot be used; lists all its problems
├── DecodeError        a record, a recording or a line of JSON is not one that netmon has written
├── KernelError        netmon does not support this kernel
├── LibbpfError        libbpf is missing or too old
├── OutputError        the command cannot write to an output any more
└── BpfError           the kernel or libbpf refused an operation; also an OSError
    └── VerifierError  the kernel's verifier rejected a BPF program

ArgumentError is a ValueError: an argument has a value that cannot be used.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import errno as errno_names
import os
import reprlib
from collections.abc import Sequence
from typing import NamedTuple


class NetmonError(Exception):
    """The base class of netmon's errors."""


Location = tuple[int | str, ...]  # keys, and indexes in lists

MAX_SHOWN = 80  # characters of a value in a message
_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = MAX_SHOWN


def shorten(value: object) -> str:
    """Return a value's repr(), shortened. It has no control character, whatever the value."""
    text = _shortener.repr(value)
    # The repr of nested lists is longer than that of any text.
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def shown(text: str) -> str:
    """Return text for a message: itself if it is short and printable, else its repr(), shortened."""
    return text if len(text) <= MAX_SHOWN and text.isprintable() else shorten(text)


class Problem(NamedTuple):
    """One thing that is wrong with a configuration. str() renders it as `file:line: key[index].key: value message`.

    Attributes:
        source: The configuration's file, or the name that the caller gave it.
        line: The line in the file, from 1; None without a file, and for the configuration as a whole.
        location: The keys and the list indexes that lead to the value; empty for the configuration as a whole.
        value: The value as the configuration would write it, shortened; None when the message is not about one value.
        message: What is wrong, and how to correct it.
        column: The column in the line, from 1, if the file is not YAML, or a part of a condition is wrong; else None.
    """

    source: str
    line: int | None
    location: Location
    value: str | None
    message: str
    column: int | None = None

    @property
    def path(self) -> str:
        """The location as text, like `egress.ipv4_filter.dst_ip[2]`."""
        path = ""
        for part in self.location:
            is_plain = isinstance(part, str) and len(part) <= MAX_SHOWN and part.isidentifier()
            path += f".{part}" if is_plain else f"[{shorten(part)}]"
        return path.removeprefix(".")

    @property
    def reason(self) -> str:
        """The value, if there is one, and the message."""
        return self.message if self.value is None else f"{self.value} {self.message}"

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line, self.column) if part)
        return ": ".join(part for part in (place, self.path, self.reason) if part)


class ConfigError(NetmonError):
    """A configuration that cannot be used.

    Attributes:
        problems: Everything that is wrong with it, in the order of the file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class ArgumentError(ValueError):
    """An argument with a value that cannot be used. Not a NetmonError: the caller's code is wrong.

    Attributes:
        name: The argument's name.
        reason: What is wrong with its value.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(name, reason)

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class DecodeError(NetmonError):
    """A record in the ring buffer, a recording or a line of JSON is not one that netmon has written."""


class KernelError(NetmonError):
    """netmon does not support this kernel."""


class LibbpfError(NetmonError):
    """libbpf cannot be loaded or is too old."""


class OutputError(NetmonError):
    """The command cannot write to an output any more.

    Attributes:
        reader_gone: Whether the output's reader has closed it.
    """

    def __init__(self, name: str, error: OSError) -> None:
        """Make the error. name: the output's name; error: the one that writing raised."""
        super().__init__(f"{name}: {error.strerror or error}")
        self.reader_gone = isinstance(error, BrokenPipeError)


# An error number of the kernel's own, which it does return, and which neither the C library nor Python knows.
ENOTSUPP = 524

# Error numbers that Python does not know: the one above, and libbpf's for object files. Number to meaning and name.
_OTHER_ERRORS = {
    ENOTSUPP: ("Operation not supported by this kernel", "ENOTSUPP"),
    4000: ("Something wrong in libelf", "LIBELF"),
    4001: ("Not a valid BPF object", "FORMAT"),
    4003: ("Wrong byte order", "ENDIAN"),
    4005: ("Relocation failed", "RELOC"),
}


class BpfError(NetmonError, OSError):
    """The kernel or libbpf refused an operation.

    Attributes:
        errno: The error number.
        operation: What was tried, such as "load netmon".
        log: libbpf's warnings about it, with the verifier's messages; "" when there are none.
    """

    def __init__(self, errno: int, operation: str, detail: str = "", log: str = "") -> None:
        """Make the error. detail: what the message ends with."""
        usual = os.strerror(errno), errno_names.errorcode.get(errno, str(errno))
        meaning, name = _OTHER_ERRORS.get(errno, usual)
        message = f"{operation}: {meaning} ({name})"
        super().__init__(errno, f"{message}: {detail}" if detail else message)
        self.operation = operation
        self.log = log
        self._detail = detail
        self._hint = ""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle it by the arguments that it was made of, which OSError does not keep."""
        return type(self), (self.errno, self.operation, self._detail, self.log), {"_hint": self._hint}

    def add_hint(self, hint: str) -> None:
        """Add to the message, on a line of its own, what to do about the error."""
        self._hint = hint

    def __str__(self) -> str:
        return "\n".join(filter(None, [str(self.strerror), self._hint]))


class VerifierError(BpfError):
    """The kernel's verifier rejected a BPF program. `log` has all of the verifier's messages."""

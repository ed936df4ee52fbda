"""netmon's errors.

NetmonError
├── ConfigError        the configuration: all its problems at once
├── DecodeError        a record that netmon's probes did not write
├── KernelError        a kernel that netmon does not support
├── LibbpfError        libbpf is missing or too old
├── OutputError        an output of the command cannot be written to any more
└── BpfError           the kernel (or libbpf) refused; also an OSError
    └── VerifierError  a program was rejected by the kernel's verifier
"""

from __future__ import annotations

import errno as errno_names
import os
from collections.abc import Sequence


class NetmonError(Exception):
    """The base of all of netmon's errors."""


class ConfigError(NetmonError):
    """A configuration that cannot be used. problems: each with its place, the value and the remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class DecodeError(NetmonError):
    """A ring-buffer record that does not have the layout it should."""


class KernelError(NetmonError):
    """This kernel is one that netmon does not support."""


class LibbpfError(NetmonError):
    """libbpf cannot be loaded, or is too old."""


class OutputError(NetmonError):
    """An output of the command cannot be written to any more.

    reader_gone: because its reader has closed it.
    """

    def __init__(self, name: str, error: OSError) -> None:
        """name: the output's; error: what writing to it raised."""
        super().__init__(f"{name}: {error.strerror or error}")
        self.reader_gone = isinstance(error, BrokenPipeError)


# Kernel-internal, so unknown to C's library and to Python; yet the kernel hands it out.
ENOTSUPP = 524

# That, and those libbpf codes that an object file can bring about: number to meaning and name.
_OTHER_ERRORS = {
    ENOTSUPP: ("Operation not supported by this kernel", "ENOTSUPP"),
    4000: ("Something wrong in libelf", "LIBELF"),
    4001: ("Not a valid BPF object", "FORMAT"),
    4003: ("Wrong byte order", "ENDIAN"),
    4005: ("Relocation failed", "RELOC"),
}


class BpfError(NetmonError, OSError):
    """An operation that the kernel or libbpf refused.

    errno: the error number; operation: what was tried; log: libbpf's messages, the verifier's among them.
    """

    def __init__(self, errno: int, operation: str, detail: str = "", log: str = "") -> None:
        usual = os.strerror(errno), errno_names.errorcode.get(errno, str(errno))
        meaning, name = _OTHER_ERRORS.get(errno, usual)
        message = f"{operation}: {meaning} ({name})"
        super().__init__(errno, f"{message}: {detail}" if detail else message)
        self.operation = operation
        self.log = log
        self._hint = ""

    def add_hint(self, hint: str) -> None:
        """Add, on a line of its own, what to do about it."""
        self._hint = hint

    def __str__(self) -> str:
        return "\n".join(filter(None, [str(self.strerror), self._hint]))


class VerifierError(BpfError):
    """A program that the kernel's verifier rejected; log has all that it said."""

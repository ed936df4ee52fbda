"""System calls for which neither Python nor the C library has a function."""

from __future__ import annotations

import ctypes
import os


def check(result: int) -> int:
    """Return the result of a C function that sets errno and returns a negative number when it fails. Raises OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def syscall(number: int, *arguments: bytes | int | None) -> int:
    """Make a system call by its number; return its result. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    wide = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    libc.syscall.restype = ctypes.c_long
    return check(int(libc.syscall(ctypes.c_long(number), *wide)))

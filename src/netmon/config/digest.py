"""The digest of a configuration's files, by which two hosts can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

# In this order: hashlib loads the library of OpenSSL, which delays the start. Python's random has the same way out.
MODULES = ("_sha2", "_sha256", "hashlib")


def _sha256() -> Callable[[bytes], Any]:
    for name in MODULES:
        with suppress(ImportError):
            return import_module(name).sha256  # type: ignore[no-any-return]
    raise AssertionError("Python has no SHA-256")


def digest_of_files(files: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the SHA-256 of a file, as `sha256sum FILE` prints it; of several, of what that prints for all of them.

    Args:
        files: The path and the content of each, in the order in which they are read.
    """
    sha256 = _sha256()
    if len(files) == 1:
        return bytes(sha256(files[0][1]).digest())
    lines = "".join(f"{sha256(content).hexdigest()}  {path}\n" for path, content in files)
    return bytes(sha256(lines.encode("utf-8", "surrogateescape")).digest())

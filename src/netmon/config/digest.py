"""The digest of a configuration's files, by which two hosts can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def _sha256() -> Callable[[bytes], Any]:
    # hashlib loads the library of OpenSSL, which takes some milliseconds. Python's random does without it, too.
    try:
        from _sha2 import sha256  # type: ignore[import-not-found]  # Python 3.12
    except ImportError:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found]  # Python 3.10
        except ImportError:
            from hashlib import sha256
    return sha256  # type: ignore[no-any-return]


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

"""Runs a build step only when its inputs have changed since the last time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from pack.paths import BUILD, ROOT


def once(outputs: Iterable[Path], inputs: Iterable[Path | str], work: Callable[[], None]) -> None:
    """Run work, unless its outputs exist and were made from the same inputs.

    Args:
        outputs: The files or directories that work makes, below ROOT.
        inputs: Files, compared by their contents, and texts, such as compiler flags.
        work: The build step.
    """
    first, *others = outputs
    stamp = BUILD / "stamps" / "-".join(first.relative_to(ROOT).parts)
    wanted = _fingerprint(inputs)
    if all(output.exists() for output in (first, *others)) and stamp.exists() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    work()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted)


def _fingerprint(inputs: Iterable[Path | str]) -> str:
    digest = hashlib.sha256()
    for part in inputs:
        digest.update(part.read_bytes() if isinstance(part, Path) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()

"""What the kernel refuses while netmon starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from netmon.errors import BpfError, NetmonError


@contextmanager
def explaining_refusals() -> Iterator[None]:
    """Add to an error of the kernel what to do about it, and make a NetmonError of one of the system's."""
    try:
        yield
    except BpfError as error:
        # The error says what was refused; finding out what to do about it takes a look at the host.
        from netmon.kernel.requirements import explain_refusal

        error.add_hint(explain_refusal(error))
        raise
    except OSError as error:
        raise NetmonError(f"cannot start: {error.strerror}") from error

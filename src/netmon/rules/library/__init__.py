"""The rules that come with netmon: configurations to start from, each with its reasons and examples."""

from __future__ import annotations

LIBRARY = (
    "shells",
    "listeners",
    "metadata",
    "miners",
    "executables",
    "setuid",
    "host_network",
    "hidden_names",
)


def read_library(name: str) -> str:
    """Return the text of a file of the library. name: one of LIBRARY."""
    from pkgutil import get_data  # reads out of an archive, too

    data = get_data(__name__, f"{name}.yaml")
    assert data is not None
    return data.decode()

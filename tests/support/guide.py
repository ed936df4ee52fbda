"""The examples of docs/library.md."""

from __future__ import annotations

import re
from pathlib import Path

LIBRARY = Path("docs/library.md").resolve()


def example(heading: str) -> str:
    """Return the first block of Python that follows a heading."""
    block = re.search(rf"^#+ {heading}\n.*?^```python\n(.*?)^```", LIBRARY.read_text(), re.DOTALL | re.MULTILINE)
    assert block, heading
    return block[1]

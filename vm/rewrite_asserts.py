"""Compiles test modules as pytest does, with their asserts rewritten, and lays them where pytest looks for them.

pytest would do it in each guest, where it takes most of the time until the first test. What is written here is only a
cache: a pytest that does not accept it writes its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

from _pytest.assertion.rewrite import PYC_TAIL, _rewrite_test, _write_pyc_fp


def rewrite_asserts(tests: Path) -> None:
    """Write the compiled files of the modules that pytest would rewrite in a guest.

    Args:
        tests: The directory of all tests.
    """
    for source in (*tests.glob("conftest.py"), *tests.glob("kernel/conftest.py"), *tests.glob("kernel/test_*.py")):
        checksum, code = _rewrite_test(source, None)  # type: ignore[arg-type]  # it asks the config for a hook's use
        compiled = source.parent / "__pycache__" / f"{source.stem}{PYC_TAIL}"
        compiled.parent.mkdir(exist_ok=True)
        with compiled.open("wb") as file:
            _write_pyc_fp(file, checksum, code)


if __name__ == "__main__":
    rewrite_asserts(Path(sys.argv[1]))

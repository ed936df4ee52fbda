"""Compiles the Python modules of the single-file executable. Its own Python runs this script.

    modules.py PACKAGES STDLIB OUTPUT     (absolute paths)

Compiles every module of PACKAGES, and each module of STDLIB that they import, at once or later, into OUTPUT. Prints the
names of the native modules of STDLIB that they import: those are copied, not compiled.
"""

from __future__ import annotations

import py_compile
import sys
from modulefinder import ModuleFinder
from pathlib import Path

# Imported by native code or by the interpreter, where the search for imports does not see it.
HIDDEN = tuple(
    "copy dataclasses datetime decimal encodings.ascii encodings.cp437 encodings.latin_1 encodings.utf_8 enum "
    "fractions ipaddress pathlib re traceback typing urllib.parse uuid warnings zoneinfo".split()
)

# Imported only by parts of the library that netmon does not use.
LEFT_OUT = "_pyrepl asyncio doctest multiprocessing pdb pydoc ssl test unittest webbrowser xmlrpc".split()


def gather(packages: Path, stdlib: Path, output: Path) -> None:
    """Compile the modules, and print the names of the native ones."""
    finder = ModuleFinder(path=[str(packages), str(stdlib), str(stdlib / "lib-dynload")], excludes=LEFT_OUT)
    sources = sorted(packages.rglob("*.py"))
    names = [".".join(path.relative_to(packages).with_suffix("").parts).removesuffix(".__init__") for path in sources]
    for name in (*names, *HIDDEN):
        finder.import_hook(name)
    for name, module in sorted(finder.modules.items()):
        file: str | None = module.__file__  # type: ignore[attr-defined]
        if not file:
            continue
        path = Path(file)
        if path.suffix == ".py":
            root = packages if path.is_relative_to(packages) else stdlib
            relative = path.relative_to(root)
            compiled = output / relative.with_suffix(".pyc")
            py_compile.compile(
                str(path),
                cfile=str(compiled),
                dfile=str(relative),
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        elif path.is_relative_to(stdlib):
            print(name)


if __name__ == "__main__":
    gather(*map(Path, sys.argv[1:]))

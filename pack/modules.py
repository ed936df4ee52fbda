"""Compiles the Python modules of the single-file executable. Its own Python runs this script.

    modules.py PACKAGES STDLIB OUTPUT VIEW     (absolute paths)

Compiles every module of netmon and of the packages that it always needs, and each module of STDLIB that they import, at
once or later, into OUTPUT. What the live view alone needs goes into VIEW: the view's module, and of all packages the
modules that it imports. Prints the names of the native modules of STDLIB that they import: those are copied, not
compiled.
"""

from __future__ import annotations

import ast
import io
import py_compile
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

# Imported by native code or by the interpreter, where the search for imports does not see it.
HIDDEN = tuple(
    "copy dataclasses datetime decimal encodings.ascii encodings.cp437 encodings.latin_1 encodings.utf_8 enum "
    "fractions ipaddress pathlib re traceback typing urllib.parse uuid warnings zoneinfo".split()
)

# Imported only by parts of the library that netmon does not use.
LEFT_OUT = "_pyrepl asyncio doctest multiprocessing pdb pydoc ssl test unittest webbrowser xmlrpc".split()

# The live view, and the packages that it alone needs.
VIEW = "netmon.top.app"
VIEW_PACKAGES = frozenset("platformdirs pygments rich textual".split())
# Imported by names that rich puts together.
HIDDEN_TABLES_IN_VIEW = "rich._unicode_data.unicode"
# For other systems, or shown by no part of the view: Markdown, code in colours, notebooks.
LEFT_OUT_OF_VIEW = [
    *(name for name in LEFT_OUT if name != "asyncio"),
    "_asyncio",  # native, and asyncio does without it
    *"asyncio.proactor_events asyncio.windows_events asyncio.windows_utils ctypes.wintypes".split(),
    *"platformdirs.android platformdirs.ios platformdirs.macos platformdirs.windows".split(),
    *"textual._win_sleep textual.drivers.win32 textual.drivers.windows_driver textual.widgets._markdown".split(),
    *"rich.__main__ rich._win32_console rich._windows rich._windows_renderer rich.markdown".split(),
    *"IPython attr ipywidgets markdown_it tree_sitter".split(),
]


class Finder(ModuleFinder):
    """Finds what modules import, but for what only type checkers read."""

    def import_hook(self, name: str, caller: Any = None, fromlist: Any = None, level: int = -1) -> Any:
        """Import a module. textual.widgets imports a widget's module when it is used: _data_table for DataTable."""
        if name == "textual.widgets":
            for widget in fromlist or ():
                with suppress(ImportError):  # left out
                    super().import_hook(f"{name}._{re.sub('(?<!^)(?=[A-Z])', '_', widget).lower()}")
        return super().import_hook(name, caller, fromlist, level)

    def load_module(self, fqname: str, fp: Any, pathname: str, file_info: Any) -> Any:
        """Load a module, whose source is read without the parts for type checkers."""
        if fp is not None and pathname.endswith(".py"):
            tree = WithoutTypeChecking().visit(ast.parse(fp.read()))
            fp = io.StringIO(ast.unparse(ast.fix_missing_locations(tree)))
        return super().load_module(fqname, fp, pathname, file_info)


class WithoutTypeChecking(ast.NodeTransformer):
    """Removes what a module imports for type checkers alone."""

    def visit_If(self, node: ast.If) -> Any:
        """Leave only the other branch."""
        test = node.test
        name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
        self.generic_visit(node)
        return (node.orelse or ast.Pass()) if name == "TYPE_CHECKING" else node


def gather(packages: Path, stdlib: Path, output: Path, view: Path) -> None:
    """Compile the modules, and print the names of the native ones."""
    sources = sorted(packages.rglob("*.py"))
    names = [".".join(path.relative_to(packages).with_suffix("").parts).removesuffix(".__init__") for path in sources]
    always = [name for name in names if name != VIEW and name.partition(".")[0] not in VIEW_PACKAGES]
    tables = [name for name in names if name.startswith(HIDDEN_TABLES_IN_VIEW)]
    modules = _find((*always, *HIDDEN), packages, stdlib, [*LEFT_OUT, VIEW, *VIEW_PACKAGES])
    of_view = _find((VIEW, *tables), packages, stdlib, LEFT_OUT_OF_VIEW)
    native = _compile(modules, packages, output)
    native |= _compile({name: path for name, path in of_view.items() if name not in modules}, packages, view)
    print(*sorted(native), sep="\n")


def _find(names: Iterable[str], packages: Path, stdlib: Path, left_out: list[str]) -> dict[str, Path]:
    """Return the modules that have files, of those with these names and all that they import."""
    finder = Finder(path=[str(packages), str(stdlib), str(stdlib / "lib-dynload")], excludes=left_out)
    for name in names:
        finder.import_hook(name)
    files = {name: module.__file__ for name, module in finder.modules.items()}  # type: ignore[attr-defined]
    return {name: Path(file) for name, file in sorted(files.items()) if file}


def _compile(modules: dict[str, Path], packages: Path, output: Path) -> set[str]:
    """Compile modules into output; return the names of the standard library's native ones."""
    native = set()
    for name, path in modules.items():
        top = len(path.parts) - name.count(".") - (2 if path.name == "__init__.py" else 1)
        relative = Path(*path.parts[top:])
        if path.suffix == ".py":
            py_compile.compile(
                str(path),
                cfile=str(output / relative.with_suffix(".pyc")),
                dfile=str(relative),
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        elif not path.is_relative_to(packages):
            native.add(name)
    return native


if __name__ == "__main__":
    gather(*map(Path, sys.argv[1:]))

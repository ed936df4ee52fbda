"""Which parts of the tree may import which: no circle anywhere, and nothing upwards."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Where each top-level package is looked for.
PACKAGES = {"netmon": ROOT / "src", "vm": ROOT, "pack": ROOT, "bench": ROOT, "tests": ROOT}
# What a part of the tree must not import; a rule holds for all modules whose names begin so.
FORBIDDEN = {
    "netmon": ("vm", "pack", "bench", "tests"),
    "vm": ("pack", "bench", "tests"),
    "pack": ("bench", "tests"),
    "bench": ("pack", "tests.unit", "tests.kernel"),
    "tests.support": ("vm", "pack", "bench", "tests.unit", "tests.kernel"),
    "tests.kernel": ("pack", "bench", "tests.unit"),
    "tests.unit": ("tests.kernel",),
}


def name_of(path: Path) -> str:
    """Return a module's name."""
    base = ROOT / "src" if path.is_relative_to(ROOT / "src") else ROOT
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Return every module of the tree by its name."""
    return {name_of(path): path for name, base in PACKAGES.items() for path in (base / name).rglob("*.py")}


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules of the tree that a module imports, wherever in it the statement is."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` imports the module; `from module import name`, the module itself.
            names = [
                full if (full := f"{node.module}.{alias.name}") in modules() else node.module for alias in node.names
            ]
        yield from (name for name in names if name in modules())


@cache
def graph() -> dict[str, set[str]]:
    return {name: set(imports_of(path)) - {name} for name, path in modules().items()}


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_modules_import_each_other_in_no_circle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_nothing_above_it(package: str) -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, imports in graph().items()
        for imported in imports
        if is_within(name, package) and any(is_within(imported, forbidden) for forbidden in FORBIDDEN[package])
    ]
    assert not wrong


def test_every_package_has_modules() -> None:
    """A package that was renamed would otherwise pass unseen."""
    for package in (*FORBIDDEN, *(name for names in FORBIDDEN.values() for name in names)):
        assert any(is_within(name, package) for name in modules())

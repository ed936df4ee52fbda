"""Which parts of the tree may import which: no circle anywhere, nothing upwards, and nothing slow at the start."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from netmon.report import OPTIONS

ROOT = Path(__file__).parents[2]
# Where each top-level package is looked for.
PACKAGES = {"netmon": ROOT / "src", "vm": ROOT, "pack": ROOT, "bench": ROOT, "tests": ROOT}
# What a part of the tree must not import; a rule holds for all modules whose names begin so.
FORBIDDEN = {
    "netmon": ("vm", "pack", "bench", "tests"),
    "netmon.outputs": ("netmon.cli", "netmon.monitor", "netmon.kernel"),
    "netmon.cli.session": ("netmon.outputs",),
    "netmon.control": ("netmon.cli", "netmon.monitor", "netmon.kernel"),
    "netmon.forward": ("netmon.cli", "netmon.monitor", "netmon.kernel"),
    "netmon.command": ("netmon.cli", "netmon.monitor", "netmon.outputs"),
    "netmon.recording": ("netmon.cli", "netmon.monitor", "netmon.outputs"),
    "netmon.schemas": ("netmon.cli", "netmon.monitor", "netmon.kernel", "netmon.outputs"),
    "netmon.terminal": ("netmon.cli", "netmon.monitor", "netmon.kernel", "netmon.outputs", "netmon.top"),
    "netmon.top": ("netmon.cli", "netmon.kernel", "netmon.outputs"),
    "vm": ("pack", "bench", "tests"),
    "pack": ("bench", "tests"),
    "bench": ("pack", "tests.unit", "tests.kernel"),
    "tests.support": ("vm", "pack", "bench", "tests.unit", "tests.kernel"),
    "tests.kernel": ("pack", "bench", "tests.unit"),
    "tests.unit": ("tests.kernel",),
}
# These are pure: they do not even import modules that talk to the kernel, or libraries that do.
PURE = (
    "netmon.command",
    "netmon.config",
    "netmon.decode",
    "netmon.filters",
    "netmon.learn",
    "netmon.recording",
    "netmon.rules",
    "netmon.schemas",
    "netmon.terminal",
    "netmon.top",
)
IMPURE = ("netmon.kernel", "ctypes")
# A plain `netmon run` does without these: each takes long to import.
SLOW = ("pydantic", "dataclasses", "yaml", "netmon.rules", "netmon.learn", "textual", "rich", "asyncio")
# These wait until netmon is ready, or until something asks for them.
LATE = (
    "netmon.names",
    "netmon.decode.processes",
    "netmon.decode.decoder",
    "netmon.decode.format",
    "netmon.kernel.requirements",
)
# JSON lines in a pipe or a file do without these.
FOR_PEOPLE = (
    "netmon.cli.views",
    "netmon.control",
    "netmon.forward",
    "http",
    "netmon.terminal",
    "netmon.schemas.facts",
    "hashlib",
    "unicodedata",
    "datetime",
)


def name_of(path: Path) -> str:
    """Return a module's name."""
    base = ROOT / "src" if path.is_relative_to(ROOT / "src") else ROOT
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Return every module of the tree by its name."""
    return {name_of(path): path for name, base in PACKAGES.items() for path in (base / name).rglob("*.py")}


def statements(node: ast.AST, typing: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield all import statements in a node. typing: those for type checkers alone, too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif typing or not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from statements(child, typing)


def imports_of(path: Path, typing: bool = True) -> Iterator[str]:
    """Yield the names of the modules that a module imports, wherever in it the statement is."""
    for node in statements(ast.parse(path.read_text()), typing):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif node.module:
            # `from package import module` imports the module; `from module import name`, the module itself.
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            yield from (full if full in modules() else node.module for full in names.values())


@cache
def graph() -> dict[str, set[str]]:
    return {name: {*imports_of(path)} & modules().keys() - {name} for name, path in modules().items()}


def packages_of(name: str) -> list[str]:
    """Return the packages that a module is in: Python imports these first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def reached_from(package: str) -> dict[str, str]:
    """Return what a package's modules import when they run, directly or not: each with a module that imports it."""
    found: dict[str, str] = {}
    waiting = [name for name in modules() if is_within(name, package)]
    while waiting:
        name = waiting.pop()
        for imported in imports_of(modules()[name], typing=False):
            for module in (*packages_of(imported), imported):
                if module not in found:
                    found[module] = name
                    waiting += [module] if module in modules() else []
    return found


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


@pytest.mark.parametrize("package", PURE)
def test_a_pure_package_reaches_nothing_impure(package: str) -> None:
    wrong = [
        f"{importer} imports {name}"
        for name, importer in reached_from(package).items()
        if any(is_within(name, impure) for impure in IMPURE)
    ]
    assert not wrong


def test_the_monitor_reaches_what_is_impure() -> None:
    """A walk that finds nothing would otherwise pass unseen."""
    assert {"netmon.kernel.libbpf", "ctypes"} <= reached_from("netmon.monitor").keys()


def test_a_plain_run_imports_nothing_slow() -> None:
    program = (
        "import sys, netmon.cli.main, netmon.cli.run, netmon.cli.session, netmon.monitor\n"
        "import netmon.outputs.fanout, netmon.outputs.standard_output\n"
        "netmon.monitor.Monitor()\n"
        f"print(*sorted({{*sys.modules}} & {{*{SLOW + LATE}}}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


EVERY_FLAG = (
    *("--ingress", "--egress", *(f"--{name}" for name in OPTIONS), "--events", "establish,close"),
    *("--domain", "*.example", "--deny-domain", "--line-limit", "16K"),
    *("--src-ip", "10.0.0.0/8", "--dst-ip", "10.0.0.0/8", "--deny-ip", "--src-port", "22", "--dst-port", "1-9"),
    *("--deny-port", "--netns", "/proc/self/ns/net", "--deny-netns", "--uid", "0", "--euid", "0", "--auid", "0"),
    *("--name", "a", "--prefix", "/b", "--path", "/c", "--cgroup", "/d", "--container-id", "0" * 12, "--pid", "1"),
    *("--tree", "1", "--deny-process", "--argv", "--gid", "0", "--comm", "e", "-4", "-6", "--progress", "30s"),
    *("--ancestors", "4"),
    *("--ring-size", "4M", "--batch-delay", "0"),
    *("--record-limit", "2G", "--record", "f", "--any-kernel", "--lost-events", "--user", "root", "--confine"),
)


A_FILE = ("--config", "pack/debian/netmon.yaml")


@pytest.mark.parametrize("flags", [(), EVERY_FLAG, A_FILE, A_FILE + EVERY_FLAG], ids=["none", "all", "file", "both"])
def test_no_flag_imports_anything_slow(flags: Sequence[str]) -> None:
    """A file is read in another process."""
    program = (
        "import sys\nfrom netmon.cli import main, run\nfrom netmon.monitor import Monitor\n"
        "def run_with(outputs, options, signals, *, make_view, ready, expectation):\n"
        "    Monitor(run.begin_reading(options)())\n"
        f"    print(*sorted({{*sys.modules}} & {{*{SLOW}}}))\n"
        "    sys.exit()\n"
        "run.run_with = run_with\n"
        "main.main(['run', *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", program, *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_json_in_a_pipe_imports_nothing_that_lines_for_people_need() -> None:
    program = (
        "import sys\nfrom netmon.cli import main, run\n"
        "def run_with(outputs, options, signals, *, make_view, ready, expectation):\n"
        "    import netmon.monitor, netmon.cli.session, netmon.outputs.fanout\n"
        "    assert make_view(None) is None\n"
        f"    print(*sorted({{*sys.modules}} & {{*{FOR_PEOPLE}}}))\n"
        "    sys.exit()\n"
        "run.run_with = run_with\n"
        "main.main(['run', *sys.argv[1:]])"
    )
    for flags in ([], ["--outcome"], ["--each", "--no-color"]):
        done = subprocess.run([sys.executable, "-c", program, *flags], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("\n", "")


def test_every_package_has_modules() -> None:
    """A package that was renamed would otherwise pass unseen."""
    for package in (*FORBIDDEN, *(name for names in FORBIDDEN.values() for name in names), *PURE, "netmon.kernel"):
        assert any(is_within(name, package) for name in modules())

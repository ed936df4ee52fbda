#!/usr/bin/env python3
"""Builds, tests and runs netmon, and installs what that needs.

    python3 build.py run [NETMON RUN OPTIONS]   run netmon: here if this kernel allows it, else in a guest for a minute
    python3 build.py test [PYTEST OPTIONS]      every check and test; try -k NAME --kernel 6.12
    python3 build.py shell [--kernel KERNEL]    a shell in a guest
    python3 build.py bench [OPTIONS]            netmon beside its peers; try --quick, --native, --help
    python3 build.py compile                    the BPF objects and the layout generated from them
    python3 build.py check                      types, lint, format
    python3 build.py wheel [--target TARGET]    wheels and the sdist, into dist/
    python3 build.py executable [--target TARGET]   single-file executables for any Linux, into dist/
    python3 build.py deb [--target TARGET]          Debian packages of them, into dist/
    python3 build.py pictures                   the README's pictures, in docs/pictures/
    python3 build.py clean                      remove everything built in the tree

On Debian, system packages are installed with apt (as root) and Python packages into .venv. Downloads are kept in
~/.cache/netmon.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from pack import bpf_objects
from pack.once import once
from pack.paths import BPF_OBJECT_WITH_DEBUG, BPF_OBJECTS, BUILD, DIST, PACKAGE, ROOT, THIRD_PARTY, package_inputs

VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"

# Debian packages, and for each a file that shows that it is installed.
SYSTEM_PACKAGES = {
    "clang": "/usr/bin/clang",
    "llvm": "/usr/bin/llvm-strip",
    "libbpf-dev": "/usr/include/bpf/bpf_helpers.h",
    "libc6-dev": "/usr/include/stdio.h",
    "buildah": "/usr/bin/buildah",
    "cpio": "/usr/bin/cpio",
    "mandoc": "/usr/bin/mandoc",
    "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
    "qemu-system-arm": "/usr/bin/qemu-system-aarch64",
    "systemd": "/usr/bin/systemd-analyze",
    "tmux": "/usr/bin/tmux",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
}

FLAGS = ("-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")
CLANG = ("clang", *FLAGS)
# The compiler from PyPI brings the C library musl, also arm64's.
MUSL_COMPILERS = {
    name: (str(PYTHON), "-m", "ziglang", "cc", "-target", f"{name}-linux-musl", *FLAGS)
    for name in ("x86_64", "aarch64")
}
PROGRAM_COMPILERS = {"x86_64": CLANG, "aarch64": MUSL_COMPILERS["aarch64"]}
LAYOUT = PACKAGE / "layout.py"


LOG = BUILD / "build.log"  # what installers write


def say(text: str) -> None:
    print(f"build: {text}", file=sys.stderr, flush=True)


def run_quietly(command: Sequence[object], **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run a command whose output goes to the log."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as log:
        log.write(f"$ {' '.join(map(str, command))}\n".encode())
        log.flush()
        words = [str(part) for part in command]
        return subprocess.run(words, cwd=ROOT, stdout=log, stderr=log, **options)  # type: ignore[call-overload,no-any-return]


def install(command: Sequence[object], **options: object) -> None:
    """Run an installer quietly. If it fails, show what it wrote, and exit with its code."""
    begin = LOG.stat().st_size if LOG.exists() else 0
    done = run_quietly(command, **options)
    if done.returncode:
        with LOG.open("rb") as log:
            log.seek(begin)
            sys.stderr.write(log.read().decode(errors="replace"))
        say(f"failed: {' '.join(map(str, command))}")
        sys.exit(done.returncode)


def run(command: Sequence[object], **options: object) -> None:
    """Run a command. If it fails, exit with its code."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, **options)  # type: ignore[call-overload]
    if done.returncode:
        say(f"failed: {' '.join(map(str, command))}")
        sys.exit(done.returncode)


def run_module(name: str, *arguments: object) -> None:
    """Run a module in .venv. If it fails, exit with its code."""
    run([PYTHON, "-m", name, *arguments], stdout=sys.stderr)


def become_module(name: str, arguments: Sequence[str]) -> None:
    """Replace this process by a module that runs in .venv."""
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", name, *arguments])


def install_system_packages() -> None:
    """Install missing packages with apt."""
    missing = [name for name, file in SYSTEM_PACKAGES.items() if not Path(file).exists()]
    if not VENV.exists() and not all(map(importlib.util.find_spec, ("ensurepip", "venv"))):
        missing.append("python3-venv")
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"build: missing: {' '.join(missing)}; as root: {' '.join(command)}")
    say(f"installing {' '.join(missing)} (log: {LOG.relative_to(ROOT)})")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Not checked: a repository that cannot be reached may not be one that these packages come from.
    run_quietly(["apt-get", "update", "-q"], env=environment)
    install(command, env=environment)


def install_python_packages() -> None:
    """Make .venv, with netmon installed as editable."""
    if VENV.is_symlink():
        # Making it anew would empty the directory that it leads to.
        sys.exit(f"build: {VENV} is a symbolic link to {VENV.readlink()}; remove it: each tree has a .venv of its own")

    def make() -> None:
        run([sys.executable, "-m", "venv", "--clear", VENV])

    def fill() -> None:
        say("installing Python packages into .venv")
        pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
        install([*pip, "--retries", "5", "--editable", ".[dev]"])

    once([PYTHON], [str(ROOT), sys.version], make)
    once([VENV / "bin/netmon"], [ROOT / "pyproject.toml", str(ROOT), sys.version], fill)


def compile_bpf() -> None:
    """Compile the BPF objects. Warnings are errors here."""
    try:
        bpf_objects.compile_objects(strict=True)
    except bpf_objects.CompileError as error:
        sys.exit(f"build: {error}")


def generate_layout() -> None:
    """Write src/netmon/layout.py from the object's debug information. It is committed; a test compares it."""
    run_module("pack.layout_generator", BPF_OBJECT_WITH_DEBUG, LAYOUT)


def compile_programs(architecture: str) -> None:
    """Compile the C programs of tests and benchmarks: static, for any guest."""
    for source in sorted((ROOT / "tests/programs").glob("*.c")):
        compilers = MUSL_COMPILERS if source.stem.endswith("_musl") else PROGRAM_COMPILERS
        compiler = compilers[architecture]
        program = BUILD / "programs" / architecture / source.stem

        def work(source: Path = source, program: Path = program, compiler: tuple[str, ...] = compiler) -> None:
            program.parent.mkdir(parents=True, exist_ok=True)
            run([*compiler, "-static", "-pthread", source, "-o", program])

        once([program], [source, *compiler], work)


def unpack_wheel(architecture: str) -> None:
    """Unpack a platform's wheel as pip would, for the tests in guests."""
    wheel = BUILD / "wheel" / architecture

    def work() -> None:
        run_module("pack.wheel", "--target", f"{architecture}-manylinux", "--unpack", wheel)

    once([wheel], package_inputs(), work)


def build_deb(architecture: str) -> None:
    """Build a Debian package, for the tests in guests."""
    directory = BUILD / "deb" / architecture

    def work() -> None:
        shutil.rmtree(directory, ignore_errors=True)
        run_module("pack.debian_package", "--target", architecture, "--directory", directory)

    once([directory], [*package_inputs("docs"), ROOT / "CHANGELOG.md"], work)


def set_up() -> None:
    """Install and compile everything that running netmon in the tree needs."""
    install_system_packages()
    compile_bpf()
    install_python_packages()
    compile_programs("x86_64")


def check() -> None:
    """Types, lint, format."""
    run([PYTHON, "-m", "ruff", "check", "--quiet", "."], stdout=sys.stderr)
    run([PYTHON, "-m", "ruff", "format", "--check", "--quiet", "."], stdout=sys.stderr)
    run([PYTHON, "-m", "mypy", "--no-error-summary"], stdout=sys.stderr)


def command_compile(_arguments: Sequence[str]) -> None:
    set_up()
    generate_layout()


def command_check(_arguments: Sequence[str]) -> None:
    set_up()
    check()


def prepare_guests(architecture: str) -> None:
    """Build what the kernel tests install and run in guests of a processor."""
    compile_programs(architecture)
    unpack_wheel(architecture)
    build_deb(architecture)


def command_test(arguments: Sequence[str]) -> None:
    set_up()
    # At the same time: each of them leaves a second core idle.
    with ThreadPoolExecutor() as threads:
        tasks = [threads.submit(check), *(threads.submit(prepare_guests, name) for name in PROGRAM_COMPILERS)]
        for task in tasks:
            task.result()
    become_module("pytest", arguments)


HELP = {"-h", "--help"}


def command_run(arguments: Sequence[str]) -> None:
    if HELP & {*arguments}:
        _show_help_of_run()
    set_up()
    os.chdir(ROOT)
    able = subprocess.run([PYTHON, "-m", "netmon", "check"], capture_output=True, text=True)
    if able.returncode == 0:
        say("running netmon on this kernel")
        become_module("netmon", ["run", *arguments])
    for line in able.stdout.splitlines():
        if line.startswith("FAIL"):
            say(f"this host cannot run netmon: {line.removeprefix('FAIL').strip()}")
    say("running it in a QEMU guest instead, with a minute of sample traffic (--seconds); Ctrl-C ends it")
    become_module("vm.run", ["run", *arguments])


def _show_help_of_run() -> NoReturn:
    """Print netmon's own help, and what a guest adds, with nothing installed."""
    from netmon.cli.main import main as netmon

    code = netmon(["run", "--help"])
    print("\nwhere netmon cannot run on this kernel, in a guest:")
    print("  --kernel KERNEL       the guest's kernel, as `build.py shell --help` lists them")
    print("  --seconds N           end after so many seconds of sample traffic (default: 60)")
    sys.exit(code)


def command_shell(arguments: Sequence[str]) -> None:
    if HELP & {*arguments}:
        from vm.run import main as run_guest

        sys.exit(run_guest(["shell", *arguments]))
    set_up()
    become_module("vm.run", ["shell", *arguments])


def command_bench(arguments: Sequence[str]) -> None:
    set_up()
    become_module("bench", arguments)


def command_wheel(arguments: Sequence[str]) -> None:
    set_up()
    become_module("pack.wheel", arguments)


def command_executable(arguments: Sequence[str]) -> None:
    set_up()
    become_module("pack.executable", arguments)


def command_deb(arguments: Sequence[str]) -> None:
    set_up()
    become_module("pack.debian_package", arguments)


def command_pictures(_arguments: Sequence[str]) -> None:
    set_up()
    become_module("tests.support.pictures", [])


def command_clean(_arguments: Sequence[str]) -> None:
    for directory in (BUILD, VENV, DIST, THIRD_PARTY):
        shutil.rmtree(directory, ignore_errors=True)
    for compiled in BPF_OBJECTS:
        compiled.unlink(missing_ok=True)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "run": command_run,
    "test": command_test,
    "shell": command_shell,
    "bench": command_bench,
    "compile": command_compile,
    "check": command_check,
    "wheel": command_wheel,
    "executable": command_executable,
    "deb": command_deb,
    "pictures": command_pictures,
    "clean": command_clean,
}


def main() -> None:
    """Run the command that the first argument names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(__doc__)
    elif name in COMMANDS:
        try:
            COMMANDS[name](arguments)
        except KeyboardInterrupt:
            sys.exit(130)
    else:
        sys.exit(f"build: {name}: no such command\n{__doc__}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Builds, tests and runs netmon; sets up what that takes.

    python3 build.py run [NETMON RUN OPTIONS]   run netmon: here if this kernel allows it, else in a guest
    python3 build.py test [PYTEST OPTIONS]      every check and test; try -k NAME --kernel 6.12
    python3 build.py shell [--kernel KERNEL]    a shell in a guest
    python3 build.py bench [OPTIONS]            netmon beside its peers; try --quick, --native, --help
    python3 build.py compile                    the BPF object and the layout generated from it
    python3 build.py check                      types, lint, format
    python3 build.py wheel [--target TARGET]    wheels and the sdist, into dist/
    python3 build.py binary [--target TARGET]   one file for any Linux, into dist/
    python3 build.py deb [--target TARGET]      Debian packages of it, into dist/
    python3 build.py clean                      remove what was built in the tree

On Debian the system's packages are installed by apt (as root), Python's go into .venv; downloads are kept in
~/.cache/netmon.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "build"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"

# What each command is needed for: the file whose presence shows that the package is installed.
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
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
}

FLAGS = ("-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")
CLANG = ("clang", *FLAGS)
# The other's C library comes with the compiler from PyPI.
PROGRAM_COMPILERS = {
    "x86_64": CLANG,
    "aarch64": (str(PYTHON), "-m", "ziglang", "cc", "-target", "aarch64-linux-musl", *FLAGS),
}
BPF_OBJECT = ROOT / "src/netmon/kernel/netmon.bpf.o"
PLAIN_BPF_OBJECT = ROOT / "src/netmon/kernel/netmon-plain.bpf.o"
BPF_OBJECT_WITH_DEBUG = BUILD / "netmon.bpf.o"
LAYOUT = ROOT / "src/netmon/layout.py"


def say(text: str) -> None:
    print(f"build: {text}", file=sys.stderr, flush=True)


def run(command: Sequence[object], **options: object) -> None:
    """Run a command; end with its exit code when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, **options)  # type: ignore[call-overload]
    if done.returncode:
        say(f"failed: {' '.join(map(str, command))}")
        sys.exit(done.returncode)


def fingerprint(parts: Iterable[Path | str]) -> str:
    """Return a hash of files' contents and of texts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def once(output: Path, inputs: Iterable[Path | str], work: Callable[[], None]) -> None:
    """Do work, which makes output, unless it was done with the same inputs."""
    stamp = BUILD / "stamps" / "-".join(output.relative_to(ROOT).parts)
    wanted = fingerprint(inputs)
    if output.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    work()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted)


def install_system_packages() -> None:
    """Install what is missing, by apt."""
    missing = [name for name, file in SYSTEM_PACKAGES.items() if not Path(file).exists()]
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    if not VENV.exists() and subprocess.run(probe, capture_output=True).returncode:
        missing.append("python3-venv")
    if not missing:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"build: missing: {' '.join(missing)}; as root: {' '.join(install)}")
    say(f"installing {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # What matters is whether the packages can be had; a repository out of reach may not be one of theirs.
    subprocess.run(["apt-get", "update", "-q"], env=environment, stdout=sys.stderr)
    run(install, env=environment, stdout=sys.stderr)


def install_python_packages() -> None:
    """Make .venv, with netmon in it as it stands in the tree."""

    def make() -> None:
        run([sys.executable, "-m", "venv", "--clear", VENV])

    def install() -> None:
        say("installing Python packages into .venv")
        pip = [PYTHON, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        run([*pip, "--retries", "5", "--editable", ".[dev]"], stdout=sys.stderr)

    once(PYTHON, [str(ROOT), sys.version], make)
    once(VENV / "bin/netmon", [ROOT / "pyproject.toml", str(ROOT), sys.version], install)


def compile_bpf() -> None:
    """Compile the BPF objects: with debug information for the layout, without for shipping."""
    sources = sorted((ROOT / "bpf").glob("*.[ch]"))

    def work() -> None:
        BUILD.mkdir(exist_ok=True)
        target = ["-g", "-target", "bpf", "-mcpu=v3", "-c", ROOT / "bpf/netmon.bpf.c"]
        # Paths would differ from tree to tree.
        target.append(f"-fdebug-prefix-map={ROOT}=.")
        run([*CLANG, *target, "-o", BPF_OBJECT_WITH_DEBUG])
        run(["llvm-strip", "-g", BPF_OBJECT_WITH_DEBUG, "-o", BPF_OBJECT])
        run([*CLANG, *target, "-DPLAIN", "-o", PLAIN_BPF_OBJECT])
        run(["llvm-strip", "-g", PLAIN_BPF_OBJECT])

    if not PLAIN_BPF_OBJECT.exists():
        BPF_OBJECT.unlink(missing_ok=True)
    once(BPF_OBJECT, [*sources, *CLANG, "plain"], work)


def generate_layout() -> None:
    """Write src/netmon/layout.py from the object's debug information. It is committed; a test compares it."""
    command = f"import layout, pathlib; print(end=layout.generate(pathlib.Path({str(BPF_OBJECT_WITH_DEBUG)!r})))"
    generated = subprocess.run([PYTHON, "-c", command], cwd=ROOT / "bpf", check=True, stdout=subprocess.PIPE).stdout
    LAYOUT.write_bytes(generated)


def compile_programs(architecture: str) -> None:
    """Compile the programs of tests and benchmarks, for guests of any userland."""
    compiler = PROGRAM_COMPILERS[architecture]
    for source in sorted((ROOT / "tests/programs").glob("*.c")):
        program = BUILD / "programs" / architecture / source.stem

        def work(source: Path = source, program: Path = program) -> None:
            program.parent.mkdir(parents=True, exist_ok=True)
            run([*compiler, "-static", "-pthread", source, "-o", program])

        once(program, [source, *compiler], work)


def package_inputs(*others: str) -> list[Path]:
    """Return the files that what is installed is made of."""
    paths = [path for name in ("pack", "src/netmon", *others) for path in sorted((ROOT / name).rglob("*"))]
    return [*(path for path in paths if path.is_file() and path.suffix != ".pyc"), ROOT / "pyproject.toml"]


def unpack_wheel(architecture: str) -> None:
    """Lay out a platform's wheel as pip would, for the tests in guests."""
    wheel = BUILD / "wheel" / architecture

    def work() -> None:
        command = f"from pack import wheel; wheel.unpack('{architecture}-manylinux', {str(wheel)!r})"
        run([PYTHON, "-c", command])

    once(wheel, package_inputs(), work)


def build_deb(architecture: str) -> None:
    """Build a Debian package, for the tests in guests."""
    directory = BUILD / "deb" / architecture

    def work() -> None:
        shutil.rmtree(directory, ignore_errors=True)
        command = f"from pack import deb; import pathlib; deb.build({architecture!r}, pathlib.Path({str(directory)!r}))"
        run([PYTHON, "-c", command])

    once(directory, [*package_inputs("docs"), ROOT / "CHANGELOG.md"], work)


def set_up() -> None:
    """Do all that is needed before anything of netmon runs."""
    install_system_packages()
    install_python_packages()
    compile_bpf()
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


def command_test(arguments: Sequence[str]) -> None:
    set_up()
    check()
    for architecture in PROGRAM_COMPILERS:
        compile_programs(architecture)
        unpack_wheel(architecture)
        build_deb(architecture)
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", "pytest", *arguments])


def command_run(arguments: Sequence[str]) -> None:
    set_up()
    os.chdir(ROOT)
    able = subprocess.run([PYTHON, "-m", "netmon", "check"], capture_output=True, text=True)
    if able.returncode == 0:
        say("running netmon on this kernel")
        os.execv(PYTHON, [str(PYTHON), "-m", "netmon", "run", *arguments])
    for line in able.stdout.splitlines():
        if line.startswith("FAIL"):
            say(f"this host cannot run netmon: {line.removeprefix('FAIL').strip()}")
    say("running it in a QEMU guest instead, with sample traffic; Ctrl-C ends it")
    os.execv(PYTHON, [str(PYTHON), "-m", "vm.run", "run", *arguments])


def command_shell(arguments: Sequence[str]) -> None:
    set_up()
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", "vm.run", "shell", *arguments])


def command_bench(arguments: Sequence[str]) -> None:
    set_up()
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", "bench", *arguments])


def command_wheel(arguments: Sequence[str]) -> None:
    set_up()
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", "pack.wheel", *arguments])


def command_binary(arguments: Sequence[str]) -> None:
    set_up()
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", "pack.binary", *arguments])


def command_deb(arguments: Sequence[str]) -> None:
    set_up()
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", "pack.deb", *arguments])


def command_clean(_arguments: Sequence[str]) -> None:
    for directory in (BUILD, VENV, ROOT / "dist", ROOT / "third_party"):
        shutil.rmtree(directory, ignore_errors=True)
    for compiled in (BPF_OBJECT, PLAIN_BPF_OBJECT):
        compiled.unlink(missing_ok=True)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "run": command_run,
    "test": command_test,
    "shell": command_shell,
    "bench": command_bench,
    "compile": command_compile,
    "check": command_check,
    "wheel": command_wheel,
    "binary": command_binary,
    "deb": command_deb,
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

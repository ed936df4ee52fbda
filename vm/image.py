"""The guest's file system: Debian packages, Python packages and the project, as an initramfs."""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vm.architecture import NATIVE, Architecture
from vm.archive import CACHE, Archive, KernelLine

PROJECT = Path(__file__).resolve().parents[1]
BUILD = PROJECT / "build"

PACKAGES = (
    "bash",
    "coreutils",
    "curl",
    "dnsmasq-base",
    "inetutils-telnet",
    "iproute2",
    "kmod",
    "libbpf1",
    "libcap2-bin",
    "mount",
    "netcat-openbsd",
    "nftables",
    "nginx-light",
    "procps",
    "sed",
    "python3",
    "python3-dnspython",
    "python3-pycares",
    "util-linux",
    "wget",
)
PYTHON_PACKAGES = ("hypothesis", "orjson", "pydantic", "pytest", "pyyaml")
TERMINAL_EMULATOR = "pyte"

KEEP = 7 * 24 * 3600  # seconds that an unused image stays in the cache

# Not needed to run what the tests run.
LEFT_OUT = (
    "./usr/share/[!n]*",  # all but nginx
    "./usr/include",
    "./usr/lib/python3*/ensurepip",
    "./usr/lib/python3*/idlelib",
    "./usr/lib/python3*/lib2to3",
    "./usr/lib/python3*/pydoc_data",
    "./usr/lib/python3*/turtledemo",
    "./usr/lib/*-linux-gnu/libmvec*",
    "./usr/lib/*-linux-gnu/perl*",
    "./usr/lib/*-linux-gnu/gconv",
    "./usr/lib/*-linux-gnu/systemd",
    "./usr/lib/systemd",
    "./usr/lib/udev",
    "./var/lib/dpkg",
)
UNNEEDED_PACKAGES = ("perl", "libperl", "systemd", "udev", "dpkg", "apt", "debconf")

ALIASES = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
LINKS = {"usr/bin/nc": "nc.openbsd", "usr/bin/telnet": "inetutils-telnet", "usr/bin/sh": "bash"}
FILES = {
    "etc/passwd": "root:x:0:0::/root:/bin/bash\nwww-data:x:33:33::/:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n"
    "nobody:x:65534:65534::/:/bin/sh\n",
    "etc/group": "root:x:0:\nshadow:x:42:\nwww-data:x:33:\nuser:x:1000:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost guest\n::1 localhost\n",
    "etc/nsswitch.conf": "hosts: files\n",
}
# Where sudo is installed: the user may become anybody. What Debian's own pam.d/sudo includes is made by scripts.
SUDO = "usr/bin/sudo"
FILES_OF_SUDO = {
    "etc/sudoers.d/tests": "user ALL=(ALL:ALL) NOPASSWD:SETENV: ALL\n",
    "etc/pam.d/sudo": "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session")),
    "etc/pam.d/other": "".join(f"{kind} required pam_deny.so\n" for kind in ("auth", "account", "session")),
}


# Of the kernel, and what they need: it may have any of these built in. ss, nft and tc have the kernel load theirs.
MODULES = (
    "inet_diag",
    "tcp_diag",
    "mptcp_diag",
    "libcrc32c",
    "nfnetlink",
    "nf_tables",
    "sch_netem",
    "krb5",
    "libceph",
    "rbd",
    "fuse",
    "ib_core",
    "smc",
)


@dataclass(frozen=True)
class Contents:
    """What a guest has beside the project, and the memory to hold it."""

    name: str
    packages: tuple[str, ...]
    memory: str
    python_packages: tuple[str, ...] = PYTHON_PACKAGES
    kernel_headers: bool = False
    modules: tuple[str, ...] = ()
    left_out: tuple[str, ...] = LEFT_OUT
    unneeded_packages: tuple[str, ...] = UNNEEDED_PACKAGES
    # What build.py has built for the guest's architecture, and where it is laid.
    built: tuple[tuple[str, str], ...] = (("programs", "bin"), ("wheel", "wheel"))


FOR_TESTS = Contents("test", (*PACKAGES, "sudo"), "2G", modules=MODULES)
# Where systemd is the first process and dpkg installs netmon.
WITH_SYSTEMD = Contents(
    "systemd",
    (*PACKAGES, "diffutils", "dpkg", "init-system-helpers", "libc-bin", "perl-base", "systemd"),
    "2G",
    python_packages=(*PYTHON_PACKAGES, TERMINAL_EMULATOR),
    left_out=tuple(path for path in LEFT_OUT if not re.search("perl|systemd|dpkg", path)),
    unneeded_packages=("perl_", "perl-modules", "libperl", "udev", "apt", "debconf"),
    built=(("deb", "deb"),),
)


@dataclass(frozen=True)
class Userland:
    """A guest's Debian suite and the version of its Python."""

    suite: str
    python: str


USERLANDS = {
    "bookworm": Userland("bookworm", "3.11"),
    "trixie": Userland("trixie", "3.13"),
}


def base_image(line: KernelLine, contents: Contents = FOR_TESTS) -> Path:
    """Return the initramfs with Debian's and Python's packages, built when it is not cached."""
    userland, architecture = USERLANDS[line.suite], line.architecture
    downloaded = Archive(line.suite, architecture).download(contents.packages)
    debs = [deb for deb in downloaded if not deb.name.startswith(contents.unneeded_packages)]
    recipe = [*map(str, debs), Path(__file__).read_text(), *_python_versions(contents)]
    digest = hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:16]
    name = f"{line.suite}-{architecture.debian}-{contents.name}"
    image = CACHE / "images" / f"{name}-{digest}.cpio"
    if image.exists():
        os.utime(image)
        return image
    root = CACHE / "roots" / f"{name}-{os.getpid()}"
    shutil.rmtree(root, ignore_errors=True)
    _unpack(debs, root, contents.left_out)
    _set_up(root)
    _install_python_packages(userland, architecture, root, _python_versions(contents))
    compile_python(userland, root, root / f"usr/lib/python{userland.python}", _dist_packages(root))
    image.parent.mkdir(parents=True, exist_ok=True)
    _remove_unused(image.parent)
    write_cpio(root, image)
    shutil.rmtree(root)
    return image


def _remove_unused(images: Path) -> None:
    """Remove base images that no guest has used for long: other trees of the project have images of their own."""
    for image in images.glob("*.cpio"):
        if time.time() - image.stat().st_mtime > KEEP:
            image.unlink()


def headers_image(line: KernelLine, release: str) -> Path:
    """Return the initramfs with the headers of a kernel, for what compiles against them."""
    common = re.sub(r"-\w+-\w+$", "-common", release)

    def fill(root: Path, downloads: Path) -> None:
        # Alone: they depend on a compiler, which bcc brings itself.
        packages = [f"linux-headers-{release}", f"linux-headers-{common}"]
        _unpack(Archive(line.suite, line.architecture).download_alone(packages, downloads), root)

    return _kernels_image("headers", release, fill)


def modules_image(line: KernelLine, release: str, names: Sequence[str]) -> Path:
    """Return the initramfs with modules of a kernel, by their names."""

    def fill(root: Path, downloads: Path) -> None:
        directory = root / "usr/lib/modules" / release
        directory.mkdir(parents=True)
        archive = Archive(line.suite, line.architecture)
        (deb,) = archive.download_alone([archive.modules_package(release)], downloads)
        _unpack_modules(deb, directory, names)

    return _kernels_image("modules", f"{release}-{'-'.join(names)}", fill)


def _kernels_image(kind: str, version: str, fill: Callable[[Path, Path], None]) -> Path:
    """Return the initramfs of what fill(root, downloads) lays under root, built when it is not cached."""
    image = CACHE / "images" / f"{kind}-{version}.cpio"
    if image.exists():
        os.utime(image)
        return image
    root = CACHE / "roots" / f"{kind}-{os.getpid()}"
    shutil.rmtree(root, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as downloads:
        fill(root, Path(downloads))
    image.parent.mkdir(parents=True, exist_ok=True)
    write_cpio(root, image)
    shutil.rmtree(root)
    return image


def _unpack_modules(deb: Path, directory: Path, names: Sequence[str]) -> None:
    """Uncompressed: not every kmod can."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as tar,
    ):
        for member in tar:
            name, _, suffix = Path(member.name).name.partition(".")
            if name in names and suffix in ("ko", "ko.xz"):
                file = tar.extractfile(member)
                assert file is not None
                data = file.read()
                (directory / f"{name}.ko").write_bytes(lzma.decompress(data) if suffix == "ko.xz" else data)


def _unpack(debs: Sequence[Path], root: Path, left_out: Sequence[str] = LEFT_OUT) -> None:
    for target in ALIASES.values():
        (root / target).mkdir(parents=True)
    for alias, target in ALIASES.items():
        (root / alias).symlink_to(target)
    for deb in debs:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as tar:
            subprocess.run(
                [
                    *("tar", "-x", "-C", root, "--keep-directory-symlink", "--no-same-owner"),
                    *("--exclude=./etc/alternatives", *(f"--exclude={path}" for path in left_out)),
                ],
                stdin=tar.stdout,
                check=True,
            )


def _set_up(root: Path) -> None:
    """Do what the packages' own scripts and an installer would."""
    for directory in ("proc", "sys", "dev", "tmp", "run", "root", "etc", "var/log/nginx", "var/lib/dpkg/updates"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for name, target in LINKS.items():
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)
    files = dict(FILES)
    if (sudo := root / SUDO).exists():
        files |= FILES_OF_SUDO
        sudo.chmod(0o4755)  # tar keeps the bit for root alone
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def _python_versions(contents: Contents) -> list[str]:
    """Return a guest's Python packages as this environment has them."""
    from importlib.metadata import version

    return [f"{package}=={version(package)}" for package in contents.python_packages]


def _install_python_packages(
    userland: Userland, architecture: Architecture, root: Path, versions: Sequence[str]
) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-qq", "--target", _dist_packages(root)),
            *("--python-version", userland.python, "--implementation", "cp"),
            *("--only-binary=:all:", "--no-compile", "--disable-pip-version-check"),
            *(f"--platform={platform}" for platform in architecture.wheel_platforms),
            *versions,
        ],
        check=True,
    )


def compile_python(userland: Userland, root: Path, *directories: Path) -> None:
    """Compile the Python modules in directories under a guest's root: in the guest it is slow.

    The compiled files are trusted unseen, since the guest's files may not keep their times.
    """
    options = ("--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/")
    run_native_python(userland, "compileall", "-q", *options, *directories)


def run_native_python(userland: Userland, module: str, *arguments: str | Path, path: str = "") -> None:
    """Run a module with a suite's Python, for this machine: what it compiles is the same on every architecture.

    Args:
        userland: The suite.
        module: The module.
        arguments: Its arguments.
        path: PYTHONPATH.
    """
    native = _native_python(userland)
    libraries = native / "usr/lib" / NATIVE.multiarch
    (loader,) = libraries.glob("ld-linux-*.so.*")
    python = (loader, "--library-path", libraries, native / f"usr/bin/python{userland.python}")
    environment = {"PYTHONHOME": str(native / "usr"), "PYTHONPATH": path}
    subprocess.run([*python, "-m", module, *arguments], check=True, env=environment)


def _native_python(userland: Userland) -> Path:
    """Return the root directory of a suite's Python for this machine, unpacked when it is not cached."""
    debs = Archive(userland.suite).download(("python3",))
    digest = hashlib.sha256("\n".join(map(str, debs)).encode()).hexdigest()[:16]
    directory = CACHE / "pythons" / f"{userland.suite}-{digest}"
    if not directory.exists():
        partial = directory.with_suffix(f".{os.getpid()}")
        _unpack(debs, partial)
        partial.rename(directory)
    return directory


def _dist_packages(root: Path) -> Path:
    return root / "usr/lib/python3/dist-packages"


def write_cpio(root: Path, image: Path) -> None:
    """Write a directory's tree as an initramfs, every file root's."""
    partial = image.with_suffix(".partial")
    with (
        partial.open("wb") as output,
        subprocess.Popen(["find", ".", "-print0"], cwd=root, stdout=subprocess.PIPE) as names,
    ):
        subprocess.run(
            ["cpio", "--null", "--create", "--format=newc", "--owner=+0:+0", "--quiet"],
            cwd=root,
            stdin=names.stdout,
            stdout=output,
            check=True,
        )
    partial.rename(image)

"""Debian's archive, through a private APT state in the cache: nothing is installed on this machine."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vm.architecture import AARCH64, NATIVE, X86_64, Architecture

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "netmon"
KERNEL_IMAGES = CACHE / "kernels"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
UPDATE_EVERY = 24 * 3600  # seconds


class ArchiveError(Exception):
    """The archive does not have what is needed, or cannot be reached."""


# QEMU emulates string instructions byte by byte; a kernel that sees these flags clears pages with them.
X86_64_CPU = "max,-erms,-fsrm"


@dataclass(frozen=True)
class KernelLine:
    """A kernel of the test matrix: the newest revision of a line, and the Debian suite that it runs."""

    name: str
    suite: str
    pattern: str  # of the version in the package's name, as a regular expression
    architecture: Architecture = X86_64
    # Under QEMU 7.2 an interrupted cmpxchg16b loses the flags: the allocator's fast path, up to 6.x, double-faults.
    # Newer kernels do without it there, and cannot allocate socket storage (kmalloc_nolock) without the instruction.
    cpu: str = f"{X86_64_CPU},-cx16"

    def __str__(self) -> str:
        return self.name

    @property
    def releases(self) -> str:
        """The pattern of the line's releases, as uname -r prints them."""
        return rf"{self.pattern}\d.*-cloud-{self.architecture.debian}"


# 6.1 stands for 6.2 to 6.9, which Debian does not have. bookworm has libbpf 1.1, trixie 1.5.
KERNELS = {
    line.name: line
    for line in (
        KernelLine("6.1", "bookworm", r"6\.1\.0-"),
        KernelLine("6.12", "bookworm", r"6\.12\."),
        KernelLine("6.18", "trixie", r"6\.18\."),
        KernelLine("newest", "trixie", r"", cpu=X86_64_CPU),
        # Pointer authentication is slow to emulate.
        KernelLine("6.12-arm64", "bookworm", r"6\.12\.", AARCH64, cpu="max,pauth=off"),
    )
}


def mirror(name: str) -> str:
    """Return the URL of debian or debian-security: of the mirror that this machine uses, or else Debian's own."""
    paths = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.sources")]
    for path in filter(Path.exists, paths):
        match = re.search(rf"^(?:deb |URIs:).*?(https?://\S+/{name})/?\s", path.read_text(), re.MULTILINE)
        if match:
            return match[1]
    return f"http://deb.debian.org/{name}"


@contextmanager
def locked_cache() -> Iterator[None]:
    """Lock the cache against other guests and other test runs of this user."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _host_network_options() -> str:
    """Return this machine's own APT options for proxies and the like."""
    dump = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
    return "".join(re.findall(r"^Acquire::https?::.*\n", dump, re.MULTILINE))


class Archive:
    """One Debian suite, with its backports; or with its security updates, or its sources alone.

    Use it with the cache locked.
    """

    def __init__(
        self, suite: str, architecture: Architecture = NATIVE, *, sources: bool = False, security: bool = False
    ) -> None:
        self.suite = suite
        self.architecture = architecture
        if sources:
            kind, self._lines = "sources", [("deb-src", "debian", suite)]
        elif security:
            kind = f"{architecture.debian}-security"
            self._lines = [("deb", "debian", suite), ("deb", "debian-security", f"{suite}-security")]
        else:
            kind = architecture.debian
            self._lines = [("deb", "debian", suite), ("deb", "debian", f"{suite}-backports")]
        self.directory = CACHE / "apt" / f"{suite}-{kind}"
        self._stamp = self.directory / "updated"
        self._config = self.directory / "apt.conf"

    def _write_config(self) -> None:
        for part in ("state/lists/partial", "cache/archives/partial"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        sources = self.directory / "sources.list"
        sources.write_text(
            "".join(f"{kind} [signed-by={KEYRING}] {mirror(name)} {suite} main\n" for kind, name, suite in self._lines)
        )
        options = {
            "Dir::State": self.directory / "state",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.directory / "cache",
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            # Without this machine's options: its hooks are for its own package lists.
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "APT::Architecture": self.architecture.debian,
            # Without the foreign architectures of this machine's dpkg.
            "APT::Architectures": self.architecture.debian,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            # APT would take dpkg's lock, which needs root; locked_cache() replaces it.
            "Debug::NoLocking": "true",
            "APT::Get::Assume-Yes": "true",
        }
        text = "".join(f'{key} "{value}";\n' for key, value in options.items())
        self._config.write_text(_host_network_options() + text)

    def _apt(self, command: str, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [command, *arguments],
            env={**os.environ, "APT_CONFIG": str(self._config), "LC_ALL": "C"},
            cwd=cwd or self.directory,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ArchiveError(f"{command} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _update(self, max_age: float = UPDATE_EVERY) -> None:
        """Refresh package lists older than max_age seconds; keep old ones if the archive cannot be reached."""
        if self._stamp.exists() and time.time() - self._stamp.stat().st_mtime < max_age:
            return
        self._write_config()
        try:
            # Without the option, an archive that cannot be reached is a success with warnings.
            self._apt("apt-get", "update", "-q", "--error-on=any")
        except ArchiveError as error:
            if not self._stamp.exists():
                raise
            print(f"guest: the package lists stay as they were: {str(error).splitlines()[-1]}", file=sys.stderr)
            return
        self._stamp.touch()

    def download(self, packages: Sequence[str]) -> list[Path]:
        """Return the packages' files with all that they depend on, downloaded where they are not cached."""
        self._update()
        files = self._planned(packages)
        if not all(map(Path.exists, files)):
            # A revision that was replaced since the last update is gone.
            self._update(max_age=0)
            files = self._planned(packages)
            self._apt("apt-get", "install", "--download-only", "-q", *packages)
            self._forget_old(files)
        return files

    def _planned(self, packages: Sequence[str]) -> list[Path]:
        """Return the files that apt would install. The answers, which take seconds, are kept until the next update."""
        file = self.directory / "plan.json"
        updated = self._stamp.stat().st_mtime
        made, plans = json.loads(file.read_text()) if file.exists() else (updated, {})
        if made != updated:
            plans = {}
        wanted = " ".join(packages)
        if wanted not in plans:
            planned = self._apt("apt-get", "install", "--simulate", "-q", *packages)
            chosen = re.findall(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", planned, re.MULTILINE)
            plans[wanted] = [f"{name}_{version.replace(':', '%3a')}_{machine}.deb" for name, version, machine in chosen]
            file.write_text(json.dumps([updated, plans]))
        return [self.directory / "cache/archives" / name for name in plans[wanted]]

    def download_alone(self, packages: Sequence[str], directory: Path) -> list[Path]:
        """Download packages, without what they depend on, into a directory; return their files."""
        self._update()
        self._apt("apt-get", "download", "-q", *packages, cwd=directory)
        return list(directory.glob("*.deb"))

    def modules_package(self, release: str) -> str:
        """Return the name of the package with a kernel's modules: its image's, up to 6.18."""
        self._update()
        own = f"linux-modules-{release}"
        return own if own in self._apt("apt-cache", "pkgnames", own).split() else f"linux-image-{release}"

    def source_file(self, package: str, name: str) -> Path:
        """Return a file of a source package, downloaded anew. The caller checks its contents."""
        self._update()
        try:
            self._apt("apt-get", "source", "--download-only", "-q", package)
        except ArchiveError:
            # The revision's other files may be gone; a release's own archive stays the same over its revisions.
            if not (self.directory / name).exists():
                raise
        return self.directory / name

    def kernel(self, line: KernelLine) -> Path:
        """Return the kernel image (vmlinuz) of a line's newest revision, or of a cached one when that is out of reach.

        Its directory is named after the release, as uname -r prints it.
        """
        self._update()
        try:
            return self._unpack_kernel(*self._newest_kernel(line))
        except ArchiveError:
            # A revision that was replaced since the last update is gone.
            self._update(max_age=0)
        try:
            return self._unpack_kernel(*self._newest_kernel(line))
        except ArchiveError as error:
            cached = [path for path in KERNEL_IMAGES.glob("*/vmlinuz") if re.fullmatch(line.releases, path.parent.name)]
            if not cached:
                raise
            image = max(cached, key=lambda path: _version_key(path.parent.name))
            print(f"guest: using the cached Linux {image.parent.name}: {error}", file=sys.stderr)
            return image

    def _newest_kernel(self, line: KernelLine) -> tuple[str, str]:
        """Return the package of a line's newest kernel, and its release."""
        names = self._apt("apt-cache", "pkgnames", "linux-").split()
        # From 6.19 on the image is in linux-binary-*; linux-image-* has it before that.
        pattern = re.compile(rf"linux-(binary|image)-({line.releases})")
        matches = [match for name in names if (match := pattern.fullmatch(name))]
        if not matches:
            raise ArchiveError(f"{self.suite} has no kernel of the line {line}")
        best = max(matches, key=lambda match: (_version_key(match[2]), match[1] == "binary"))
        return best[0], best[2]

    def _unpack_kernel(self, package: str, release: str) -> Path:
        image = KERNEL_IMAGES / release / "vmlinuz"
        if image.exists():
            return image
        self._apt("apt-get", "download", "-q", package)
        (deb,) = self.directory.glob(f"{package}_*.deb")
        image.parent.mkdir(parents=True, exist_ok=True)
        listing = subprocess.run(["dpkg-deb", "-c", deb], check=True, capture_output=True, text=True)
        (member,) = re.findall(r"(\./\S*vmlinuz\S*)$", listing.stdout, re.MULTILINE)
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as tar:
            data = subprocess.run(["tar", "-xO", member], stdin=tar.stdout, check=True, capture_output=True).stdout
        partial = image.with_suffix(".partial")
        partial.write_bytes(data)
        partial.rename(image)
        deb.unlink()
        return image

    def _forget_old(self, files: Sequence[Path]) -> None:
        """Drop cached packages that a newer revision has replaced."""
        names = {_package_name(path) for path in files}
        for path in set((self.directory / "cache/archives").glob("*.deb")) - set(files):
            if _package_name(path) in names:
                path.unlink()


def _package_name(deb: Path) -> str:
    return deb.name.partition("_")[0]


def _version_key(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]

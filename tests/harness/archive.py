"""Debian's archive, through a private APT state in the cache: nothing is installed on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "netmon"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
UPDATE_EVERY = 24 * 3600  # seconds


class ArchiveError(Exception):
    """The archive does not have what is needed, or cannot be reached."""


@dataclass(frozen=True)
class KernelLine:
    """One kernel of the test matrix: the newest revision of a line, and the userland that it runs."""

    name: str
    suite: str
    pattern: str  # of the version in the package's name

    def __str__(self) -> str:
        return self.name


# 6.1 stands in for 6.2 to 6.9, which Debian does not have. The older userland has libbpf 1.1, the newer one 1.5.
KERNELS = {
    line.name: line
    for line in (
        KernelLine("6.1", "bookworm", r"6\.1\.0-"),
        KernelLine("6.12", "bookworm", r"6\.12\."),
        KernelLine("6.18", "trixie", r"6\.18\."),
        KernelLine("newest", "trixie", r""),
    )
}


def mirror() -> str:
    """Return the archive that this machine uses for Debian, or Debian's own."""
    paths = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.sources")]
    for path in filter(Path.exists, paths):
        match = re.search(r"^(?:deb |URIs:).*?(https?://\S+/debian)/?\s", path.read_text(), re.MULTILINE)
        if match:
            return match[1]
    return "http://deb.debian.org/debian"


class Archive:
    """One Debian suite with its backports."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.directory = CACHE / "apt" / suite
        self._config = self.directory / "apt.conf"

    def _write_config(self) -> None:
        for part in ("state/lists/partial", "cache/archives/partial"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        sources = self.directory / "sources.list"
        sources.write_text(
            "".join(
                f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n"
                for suite in (self.suite, f"{self.suite}-backports")
            )
        )
        options = {
            "Dir::State": self.directory / "state",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.directory / "cache",
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "APT::Architecture": "amd64",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "APT::Get::Assume-Yes": "true",
        }
        self._config.write_text("".join(f'{key} "{value}";\n' for key, value in options.items()))

    def _apt(self, command: str, *arguments: str) -> str:
        done = subprocess.run(
            [command, *arguments],
            env={**os.environ, "APT_CONFIG": str(self._config), "LC_ALL": "C"},
            cwd=self.directory,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ArchiveError(f"{command} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    @cached_property
    def _updated(self) -> bool:
        """Refresh the package lists, at most daily; old ones will do when the archive cannot be reached."""
        stamp = self.directory / "updated"
        if stamp.exists() and time.time() - stamp.stat().st_mtime < UPDATE_EVERY:
            return True
        self._write_config()
        try:
            self._apt("apt-get", "update", "-q")
        except ArchiveError:
            if not stamp.exists():
                raise
        stamp.touch()
        return True

    def download(self, packages: Sequence[str]) -> list[Path]:
        """Return the packages' files with all that they depend on, downloaded where they are not cached."""
        assert self._updated
        planned = self._apt("apt-get", "install", "--simulate", "-q", *packages)
        chosen = re.findall(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", planned, re.MULTILINE)
        files = [
            self.directory / "cache/archives" / f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"
            for name, version, architecture in chosen
        ]
        if not all(map(Path.exists, files)):
            self._apt("apt-get", "install", "--download-only", "-q", *packages)
        self._forget_old(files)
        return files

    def kernel(self, line: KernelLine) -> Path:
        """Return the kernel image (vmlinuz) of a line's newest revision."""
        assert self._updated
        names = self._apt("apt-cache", "pkgnames", "linux-").split()
        # From 6.19 on the image is in linux-binary-*; linux-image-* has it before that.
        pattern = re.compile(rf"linux-(binary|image)-({line.pattern}\d.*)-cloud-amd64")
        matches = [match for name in names if (match := pattern.fullmatch(name))]
        if not matches:
            raise ArchiveError(f"{self.suite} has no kernel of the line {line}")
        best = max(matches, key=lambda match: (_version_key(match[2]), match[1] == "binary"))
        return self._unpack_kernel(best[0], best[2])

    def _unpack_kernel(self, package: str, version: str) -> Path:
        image = CACHE / "kernels" / version / "vmlinuz"
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
        for path in set((self.directory / "cache/archives").glob("*.deb")) - set(files):
            path.unlink()


def _version_key(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]

"""The one file's first Python: has modules imported from the archive that is the file, then runs netmon.

launcher.c has started it. What is native code is unpacked into memory, sealed, when it is first imported.
"""

from __future__ import annotations

import fcntl
import os
import sys
from functools import lru_cache
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from types import ModuleType
from zipimport import zipimporter

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
MFD_NOEXEC_SEAL = 0x0008  # linux/memfd.h, from 6.3 on

descriptors = "/proc/self/fd"


class OneFile(zipimporter):
    """Imports from the archive, native modules too."""

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        return super().find_spec(fullname, target) or self._native_spec(fullname)

    def _native_spec(self, fullname: str) -> ModuleSpec | None:
        try:
            path = self.native(f"{self.archive}/{self.prefix}{fullname.rpartition('.')[2]}.so")
        except OSError:
            return None
        return ModuleSpec(fullname, ExtensionFileLoader(fullname, path), origin=path)

    @lru_cache(maxsize=None)  # noqa: B019, UP033  importers live as long as Python
    def native(self, path: str) -> str:
        """Return the path of a library that the archive has at path. Raises OSError when it has none."""
        return memory_file(path.rpartition("/")[2], self.get_data(path))


def memory_file(name: str, data: bytes) -> str:
    """Return the path of a file with data in it, that nobody can write to and that ends with this process."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        file = os.memfd_create(f"netmon/{name}", flags | MFD_NOEXEC_SEAL)
    except OSError:  # before 6.3
        file = os.memfd_create(f"netmon/{name}", flags)
    with open(file, "wb", closefd=False) as output:
        output.write(data)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS)
    return f"{descriptors}/{file}"


def main(root: int) -> None:
    """Run netmon.

    root: where there is no /proc, the root directory as it was: the root is a proc file system then. -1 otherwise.
    The first argument is the archive's path, whatever the root is.
    """
    # Set for Python alone, by launcher.c.
    for name in ("LD_PRELOAD", "PYTHONHOME", "PYTHONPATH"):
        del os.environ[name]
    # pydantic would look for them among installed distributions, zoneinfo for its files among Python's: none here.
    os.environ.update(PYDANTIC_DISABLE_PLUGINS="1", PYTHONTZPATH="/usr/share/zoneinfo")
    archive = sys.argv.pop(1)
    sys.path[:] = [archive]
    for module in list(sys.modules.values()):
        if path := getattr(module, "__path__", None):
            module.__path__ = [f"{archive}/{place.rpartition('/exe/')[2]}" for place in path]
    sys.path_hooks.insert(0, OneFile)
    sys.path_importer_cache.clear()
    if root >= 0:
        load_in_proc(archive, root)
    from netmon.cli import main as run

    sys.exit(run())


def load_in_proc(archive: str, root: int) -> None:
    """Load all native code while its files have paths, then go back to the root as it was."""
    global descriptors
    descriptors = "/self/fd"
    from importlib import import_module
    from zipfile import ZipFile

    from netmon import libbpf

    libbpf.library()
    for name in ZipFile(archive).namelist():
        if name.endswith(".so") and name != "netmon/libbpf-netmon.so":
            import_module(name.removesuffix(".so").replace("/", "."))
    here = os.open(".", os.O_PATH)
    os.fchdir(root)
    os.chroot(".")
    os.fchdir(here)
    os.close(here)
    os.close(root)

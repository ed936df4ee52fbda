"""The first Python code of the single-file executable: imports modules from its archive, then runs netmon.

launcher.c starts it. A native module is unpacked into sealed memory when it is first imported.
"""

from __future__ import annotations

import fcntl
import io
import marshal
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from types import ModuleType
from typing import IO, Any, cast
from zipimport import zipimporter

ARCHIVE = "/proc/self/exe"
# In the archive: an archive of the modules that only the live view of `netmon top` needs, and the first of them.
VIEW_ARCHIVE = "view.zip"
VIEW = "netmon.top.app"
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
MFD_NOEXEC_SEAL = 0x0008  # linux/memfd.h, from 6.3 on
PYC_HEADER_SIZE = 16  # bytes

descriptors = "/proc/self/fd"


class ArchiveImporter(zipimporter):
    """Imports from the archive, native modules too."""

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        return super().find_spec(fullname, target) or self._native_spec(fullname)

    def _native_spec(self, fullname: str) -> ModuleSpec | None:
        try:
            path = self.native(f"{self.archive}/{self.prefix}{fullname.rpartition('.')[2]}.so")
        except OSError as error:
            if error.errno == 0:  # zipimport's own error: not in the archive
                return None
            raise
        return ModuleSpec(fullname, ExtensionFileLoader(fullname, path), origin=path)

    @lru_cache(maxsize=None)  # noqa: B019, UP033  an importer lives as long as Python
    def native(self, path: str) -> str:
        """Return a path to open the archive's library at path. Raises OSError if the archive has none."""
        return memory_file(path.rpartition("/")[2], self.get_data(path))


class ArchiveFile(io.RawIOBase):
    """Reads an open file from positions of its own.

    A forked process shares the descriptor's position with its parent: if both import modules, each would read from
    where the other one has stopped.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be read from any position."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position; return it."""
        origins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._file).st_size}
        self._position = origins[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read what fits into a buffer; return how many bytes."""
        count = os.preadv(self._file, [buffer], self._position)
        self._position += count
        return count


class FileImporter:
    """Imports from an archive that is an open file: to the executable where no path leads to it, or in memory."""

    def __init__(self, file: io.IOBase, path: str = ARCHIVE) -> None:
        """Take the file, and the path that the modules are to have."""
        from zipfile import ZipFile  # slow to import

        self._archive = ZipFile(cast(IO[bytes], file))
        self._path = path
        self.names = frozenset(self._archive.namelist())

    def find_spec(self, fullname: str, _path: object, _target: ModuleType | None = None) -> ModuleSpec | None:
        place = fullname.replace(".", "/")
        loader: Any = self
        for name in (f"{place}/__init__.pyc", f"{place}.pyc"):
            if name in self.names:
                spec = ModuleSpec(fullname, loader, origin=f"{self._path}/{name}", is_package=name != f"{place}.pyc")
                spec.has_location = True  # gives the module a __file__
                return spec
        if f"{place}.so" in self.names:
            native = self.native(f"{self._path}/{place}.so")
            return ModuleSpec(fullname, ExtensionFileLoader(fullname, native), origin=native)
        return None

    def create_module(self, _spec: ModuleSpec) -> None:
        """Return None: Python makes the module as usual."""

    def exec_module(self, module: ModuleType) -> None:
        code = self.get_data(module.__file__ or "")[PYC_HEADER_SIZE:]
        exec(marshal.loads(code), module.__dict__)

    def get_data(self, path: str) -> bytes:
        """Return the archive's file at path. Raises KeyError if the archive has none."""
        return self._archive.read(path.removeprefix(f"{self._path}/"))

    @lru_cache(maxsize=None)  # noqa: B019, UP033  it lives as long as Python
    def native(self, path: str) -> str:
        """Return a path to open the archive's library at path. Raises KeyError if the archive has none."""
        return memory_file(path.rpartition("/")[2], self.get_data(path))


class ViewImporter:
    """Unpacks the live view when its module is imported, and lets its modules be imported from then on."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        """Take the function that reads a file of the archive."""
        self._read = read

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != VIEW:
            return None
        place = f"{ARCHIVE}/{VIEW_ARCHIVE}"
        importer: Any = FileImporter(io.BytesIO(self._read(place)), place)
        sys.meta_path[sys.meta_path.index(cast(Any, self))] = importer
        return cast(FileImporter, importer).find_spec(fullname, path, target)


def memory_file(name: str, data: bytes) -> str:
    """Write data into a sealed file in memory; return its path. Nobody can write to it; it ends with this process."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        file = os.memfd_create(f"netmon/{name}", flags | MFD_NOEXEC_SEAL)
    except OSError:  # before 6.3
        file = os.memfd_create(f"netmon/{name}", flags)
    with open(file, "wb", closefd=False) as output:
        output.write(data)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS)
    return f"{descriptors}/{file}"


def main(root: int, file: int) -> None:
    """Run netmon.

    Args:
        root: The original root directory, if the launcher had to make a proc file system the root; else -1.
        file: The archive, in the same case; else -1.
    """
    # launcher.c set them for Python alone.
    for name in ("LD_PRELOAD", "PYTHONHOME", "PYTHONPATH"):
        del os.environ[name]
    # Here are no installed distributions for pydantic to search for plugins, nor time zones among Python's files.
    os.environ.update(PYDANTIC_DISABLE_PLUGINS="1", PYTHONTZPATH="/usr/share/zoneinfo")
    if root < 0:
        import_by_path()
    else:
        import_by_descriptor(root, file)
    from netmon.cli.main import main as run

    sys.exit(run())


def import_by_path() -> None:
    """Import modules from ARCHIVE: the file that was started, even if another file has its name by now."""
    sys.path[:] = [ARCHIVE]
    for module in list(sys.modules.values()):
        if path := getattr(module, "__path__", None):
            module.__path__ = [f"{ARCHIVE}/{place.rpartition('/exe/')[2]}" for place in path]
    sys.path_hooks.insert(0, ArchiveImporter)
    sys.path_importer_cache.clear()
    importer: Any = ViewImporter(lambda path: cast(zipimporter, sys.path_importer_cache[ARCHIVE]).get_data(path))
    sys.meta_path.append(importer)


def import_by_descriptor(root: int, file: int) -> None:
    """Import all native modules while their files have paths, then go back to the original root."""
    global descriptors
    descriptors = "/self/fd"
    from importlib import import_module

    importer = FileImporter(ArchiveFile(file))
    sys.path.clear()
    sys.meta_path[:0] = [importer, ViewImporter(importer.get_data)]
    from netmon.kernel import BUNDLED_LIBBPF, libbpf

    libbpf.library()
    for name in importer.names:
        if name.endswith(".so") and not name.endswith(f"/{BUNDLED_LIBBPF}"):
            import_module(name.removesuffix(".so").replace("/", "."))
    here = os.open(".", os.O_PATH)
    os.fchdir(root)
    os.chroot(".")
    os.fchdir(here)
    os.close(here)
    os.close(root)

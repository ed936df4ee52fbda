"""libbpf's objects with Python's manners: context managers, bytes, exceptions."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple

from netmon.errors import ENOTSUPP, BpfError, NetmonError
from netmon.kernel import libbpf


class Handle:
    """A pointer of libbpf's that is freed once, and not used after that."""

    def __init__(self, pointer: Any, free: str) -> None:
        self._pointer = pointer
        self._free = free

    @property
    def pointer(self) -> Any:
        if self._pointer is None:
            raise NetmonError(f"{type(self).__name__} is closed")
        return self._pointer

    @property
    def closed(self) -> bool:
        return self._pointer is None

    def close(self) -> None:
        """Free it. Twice is fine."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            libbpf.call("close", self._free, pointer)

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Link(Handle):
    """An attached program; closing detaches it. The kernel does, too, when this process ends."""

    def iterate(self) -> int:
        """Return a file descriptor of one run of an iterator: reading it runs it. Raises BpfError."""
        fd = libbpf.call("use iterator", "bpf_link__fd", self.pointer)
        return int(libbpf.call("start iterator", "bpf_iter_create", fd))


class ProgramInfo(NamedTuple):
    """What the kernel says of a loaded program. Times count while kernel.bpf_stats_enabled is on."""

    name: str
    run_count: int
    run_time_ns: int
    recursion_misses: int
    verified_instructions: int
    translated_bytes: int
    native_bytes: int


class MapKind(NamedTuple):
    """A map's definition, all but its size. type: of enum bpf_map_type."""

    type: int
    key_size: int
    value_size: int
    flags: int


class Map:
    """A map that is no object's: freed once it is closed, in no map of maps and used by no program."""

    def __init__(self, kind: MapKind, name: str, max_entries: int) -> None:
        """Make it in the kernel. name: at most 15 characters are kept. Raises BpfError."""
        self.kind = kind
        options = libbpf.bpf_map_create_opts(sz=ctypes.sizeof(libbpf.bpf_map_create_opts), map_flags=kind.flags)
        self.fd: int = libbpf.call(
            f"make map {name}",
            "bpf_map_create",
            kind.type,
            name[:15].encode(),
            kind.key_size,
            kind.value_size,
            max_entries,
            ctypes.byref(options),
        )

    def items(self, batch: int = 8192) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys and values of a hash that nobody changes meanwhile. Raises BpfError.

        batch: entries to read at once.
        """
        key_size, value_size = self.kind.key_size, self.kind.value_size
        keys, values = (ctypes.create_string_buffer(batch * size) for size in (key_size, value_size))
        position = ctypes.create_string_buffer(max(key_size, 4))  # of the kernel's own making
        begun, more = False, True
        while more:
            count = ctypes.c_uint32(batch)
            buffers = position if begun else None, position, keys, values
            try:
                libbpf.call("read map", "bpf_map_lookup_batch", self.fd, *buffers, ctypes.byref(count), None)
            except BpfError as error:
                if error.errno != errno.ENOENT:
                    raise
                more = False  # but count entries were read
            begun = True
            read = range(count.value)
            yield from zip(_slices(keys, key_size, read), _slices(values, value_size, read), strict=True)

    def close(self) -> None:
        """Let it go. Twice is fine."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _slices(buffer: ctypes.Array[ctypes.c_char], size: int, indices: range) -> Iterator[bytes]:
    data = buffer.raw[: size * len(indices)]
    return (data[i * size : (i + 1) * size] for i in indices)


class BpfObject(Handle):
    """A compiled BPF object: opened, configured, loaded, attached.

    Not to be used by two threads at once. Maps and programs live as long as it does.
    """

    def __init__(self, data: bytes, name: str) -> None:
        """Open the object file in data; its global data's maps get name as a prefix. Raises BpfError."""
        options = libbpf.bpf_object_open_opts(ctypes.sizeof(libbpf.bpf_object_open_opts), name.encode())
        self.name = name
        super().__init__(
            libbpf.call(f"open {name}", "bpf_object__open_mem", data, len(data), ctypes.byref(options)),
            "bpf_object__close",
        )

    def load(self) -> None:
        """Load maps and programs into the kernel. Raises BpfError, VerifierError for a rejected program."""
        libbpf.call(f"load {self.name}", "bpf_object__load", self.pointer)

    def _program(self, name: str) -> Any:
        return libbpf.call(f"find program {name}", "bpf_object__find_program_by_name", self.pointer, name.encode())

    def _map(self, name: str) -> Any:
        # A data section's map is named like the section.
        return libbpf.call(f"find map {name}", "bpf_object__find_map_by_name", self.pointer, name.encode())

    def set_autoload(self, program: str, enabled: bool) -> None:
        """Choose, before load(), whether a program is loaded."""
        libbpf.call(f"choose {program}", "bpf_program__set_autoload", self._program(program), enabled)

    def set_max_entries(self, map_name: str, count: int) -> None:
        """Size a map, before load()."""
        libbpf.call(f"size map {map_name}", "bpf_map__set_max_entries", self._map(map_name), count)

    def set_initial_value(self, section: str, value: bytes) -> None:
        """Set a whole data section, before load()."""
        libbpf.call(f"set {section}", "bpf_map__set_initial_value", self._map(section), value, len(value))

    def inner_map_kind(self, map_name: str) -> MapKind:
        """Return, before load(), what the maps in a map of maps must be like."""
        operation = f"look into map {map_name}"
        inner = libbpf.call(operation, "bpf_map__inner_map", self._map(map_name))
        names = ("type", "key_size", "value_size", "map_flags")
        return MapKind(*(libbpf.call(operation, f"bpf_map__{name}", inner) for name in names))

    def data(self, section: str) -> memoryview:
        """Return a writable data section's memory, shared with the kernel, after load().

        A mapping of its own, which lives until released. libbpf's own view of the section is of no use here:
        before 1.4 libbpf leaves it apart from the kernel's, unless a generated skeleton joins the two.
        """
        operation = f"map {section}"
        size = libbpf.call(operation, "bpf_map__value_size", self._map(section))
        try:
            return memoryview(mmap.mmap(self.map_fd(section), size))
        except OSError as error:
            raise BpfError(error.errno or errno.EINVAL, operation) from None

    def map_fd(self, name: str) -> int:
        """Return a loaded map's file descriptor, which stays this object's."""
        return int(libbpf.call(f"use map {name}", "bpf_map__fd", self._map(name)))

    def program_fd(self, name: str) -> int:
        """Return a loaded program's file descriptor, which stays this object's."""
        return int(libbpf.call(f"use program {name}", "bpf_program__fd", self._program(name)))

    def attach(self, program: str) -> Link:
        """Attach a loaded program to what its section names."""
        pointer = libbpf.call(f"attach {program}", "bpf_program__attach", self._program(program))
        return Link(pointer, "bpf_link__destroy")

    def program_info(self, program: str) -> ProgramInfo:
        """Return what the kernel says of a loaded program."""
        info = libbpf.bpf_prog_info()
        size = ctypes.c_uint32(ctypes.sizeof(info))
        fd = self.program_fd(program)
        libbpf.call(
            f"ask about program {program}",
            "bpf_obj_get_info_by_fd",
            fd,
            ctypes.byref(info),
            ctypes.byref(size),
        )
        return ProgramInfo(
            name=program,
            run_count=info.run_cnt,
            run_time_ns=info.run_time_ns,
            recursion_misses=info.recursion_misses,
            verified_instructions=info.verified_insns,
            translated_bytes=info.xlated_prog_len,
            native_bytes=info.jited_prog_len,
        )


def update_map(fd: int, keys: bytes, key_size: int, value: bytes, batch: int = 1 << 16) -> None:
    """Give each key the same value: many at once where the kernel can. Raises BpfError.

    keys: one after the other; batch: how many at once, since the values take room.
    """
    step = batch * key_size
    for start in range(0, len(keys), step):
        _update_batch(fd, keys[start : start + step], key_size, value)


def _update_batch(fd: int, keys: bytes, key_size: int, value: bytes) -> None:
    count = len(keys) // key_size
    done = ctypes.c_uint32(count)
    try:
        libbpf.call("fill map", "bpf_map_update_batch", fd, keys, value * count, ctypes.byref(done), None)
    except BpfError as error:
        # Not every map type of every kernel has it.
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP):
            raise
        for start in range(0, len(keys), key_size):
            libbpf.call("fill map", "bpf_map_update_elem", fd, keys[start : start + key_size], value, 0)


def put_map(outer_fd: int, index: int, inner: Map | None) -> None:
    """Put a map into an array of maps, or with None none: when this returns, no program uses the one before any more.

    Raises BpfError.
    """
    key = ctypes.byref(ctypes.c_uint32(index))
    if inner is not None:
        libbpf.call("put in map", "bpf_map_update_elem", outer_fd, key, ctypes.byref(ctypes.c_uint32(inner.fd)), 0)
        return
    try:
        libbpf.call("clear map", "bpf_map_delete_elem", outer_fd, key)
    except BpfError as error:
        if error.errno != errno.ENOENT:
            raise

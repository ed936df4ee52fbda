"""BPF objects, maps and links as Python objects, with exceptions for errors."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from netmon.errors import ENOTSUPP, BpfError, NetmonError
from netmon.kernel import libbpf

if TYPE_CHECKING:
    from netmon.filters.compiled import StoredKeys


class Handle:
    """A pointer from libbpf that is freed once and refused after that."""

    def __init__(self, pointer: Any, free: str) -> None:
        """free: the name of the function that frees it."""
        self._pointer = pointer
        self._free = free

    @property
    def pointer(self) -> Any:
        """The pointer. Raises NetmonError after close()."""
        if self._pointer is None:
            raise NetmonError(f"{type(self).__name__} is closed")
        return self._pointer

    @property
    def closed(self) -> bool:
        return self._pointer is None

    def close(self) -> None:
        """Free it. Idempotent."""
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
    """An attached program. close() detaches it, as the kernel does when the process ends."""

    def iterate(self) -> int:
        """Return a file descriptor for one run of an attached iterator, which reading it runs. Raises BpfError."""
        fd = libbpf.call("use iterator", "bpf_link__fd", self.pointer)
        return int(libbpf.call("start iterator", "bpf_iter_create", fd))


class ProgramInfo(NamedTuple):
    """What the kernel reports about a loaded BPF program.

    Attributes:
        name: The program's name.
        recursion_misses: How often the kernel skipped it, because it had interrupted the same program on that CPU.
        verified_instructions: How many instructions the verifier went through, on all paths together.
        runs: How often it ran, and
        run_time_ns: how long that took, all in all: counted only while kernel.bpf_stats_enabled is 1.
    """

    name: str
    recursion_misses: int
    verified_instructions: int
    runs: int = 0
    run_time_ns: int = 0


class MapKind(NamedTuple):
    """A map's definition without its size."""

    type: int  # enum bpf_map_type
    key_size: int
    value_size: int
    flags: int


class Map:
    """A map created at run time; the kernel frees it when it is closed and no longer referenced."""

    def __init__(self, kind: MapKind, name: str, max_entries: int) -> None:
        """Create it in the kernel, which keeps 15 characters of the name. Raises BpfError."""
        self.kind = kind
        options = libbpf.bpf_map_create_opts(sz=ctypes.sizeof(libbpf.bpf_map_create_opts), map_flags=kind.flags)
        self.fd: int = libbpf.call(
            f"create map {name}",
            "bpf_map_create",
            kind.type,
            name[:15].encode(),
            kind.key_size,
            kind.value_size,
            max_entries,
            ctypes.byref(options),
        )

    def items(self, batch: int = 8192) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys and values of a hash map, which must not change meanwhile. Raises BpfError.

        batch: how many entries to read with one system call.
        """
        key_size, value_size = self.kind.key_size, self.kind.value_size
        keys, values = (ctypes.create_string_buffer(batch * size) for size in (key_size, value_size))
        position = ctypes.create_string_buffer(max(key_size, 4))  # opaque: the kernel's
        begun, more = False, True
        while more:
            count = ctypes.c_uint32(batch)
            buffers = position if begun else None, position, keys, values
            try:
                libbpf.call("read map", "bpf_map_lookup_batch", self.fd, *buffers, ctypes.byref(count), None)
            except BpfError as error:
                if error.errno != errno.ENOENT:
                    raise
                more = False  # the last batch: it may hold entries
            begun = True
            read = range(count.value)
            yield from zip(_slices(keys, key_size, read), _slices(values, value_size, read), strict=True)

    def close(self) -> None:
        """Close. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _slices(buffer: ctypes.Array[ctypes.c_char], size: int, indices: range) -> Iterator[bytes]:
    """Yield the elements of an array: size is an element's, in bytes."""
    data = buffer.raw[: size * len(indices)]
    return (data[i * size : (i + 1) * size] for i in indices)


class BpfObject(Handle):
    """A compiled BPF object: opened, configured, loaded, attached, in this order.

    Its maps and programs live as long as it does. Only one thread at a time may use it.
    """

    def __init__(self, data: bytes, name: str) -> None:
        """Open an object file. Raises BpfError.

        Args:
            data: The file's content.
            name: The object's name; libbpf puts it before the names of the data sections' maps.
        """
        options = libbpf.bpf_object_open_opts(ctypes.sizeof(libbpf.bpf_object_open_opts), name.encode())
        self.name = name
        super().__init__(
            libbpf.call(f"open {name}", "bpf_object__open_mem", data, len(data), ctypes.byref(options)),
            "bpf_object__close",
        )

    def load(self) -> None:
        """Load the maps and programs into the kernel.

        Raises:
            BpfError: The kernel or libbpf refuses.
            VerifierError: The verifier rejects a program.
        """
        libbpf.call(f"load {self.name}", "bpf_object__load", self.pointer)

    def _program(self, name: str) -> Any:
        return libbpf.call(f"find program {name}", "bpf_object__find_program_by_name", self.pointer, name.encode())

    def _map(self, name: str) -> Any:
        # The map of a data section has the section's name.
        return libbpf.call(f"find map {name}", "bpf_object__find_map_by_name", self.pointer, name.encode())

    def set_autoload(self, program: str, enabled: bool) -> None:
        """Choose, before load(), whether a program is loaded."""
        libbpf.call(f"choose {program}", "bpf_program__set_autoload", self._program(program), enabled)

    def leave_out(self, map_name: str) -> None:
        """Have load() not create a map, which no code that is left of the programs may use."""
        libbpf.call(f"leave out map {map_name}", "bpf_map__set_autocreate", self._map(map_name), False)

    def set_max_entries(self, map_name: str, count: int) -> None:
        """Size a map, before load()."""
        libbpf.call(f"size map {map_name}", "bpf_map__set_max_entries", self._map(map_name), count)

    def set_initial_value(self, section: str, value: bytes) -> None:
        """Set a whole data section, before load()."""
        libbpf.call(f"set {section}", "bpf_map__set_initial_value", self._map(section), value, len(value))

    def inner_map_kind(self, map_name: str) -> MapKind:
        """Return, before load(), the definition that the maps in a map of maps must have."""
        operation = f"look into map {map_name}"
        inner = libbpf.call(operation, "bpf_map__inner_map", self._map(map_name))
        names = ("type", "key_size", "value_size", "map_flags")
        return MapKind(*(libbpf.call(operation, f"bpf_map__{name}", inner) for name in names))

    def data(self, section: str, elements: int = 1) -> memoryview:
        """Return a writable data section's memory, shared with the kernel, after load().

        It is valid until it is released, also after close(). It is mapped here because libbpf's own view of a section
        is a copy before libbpf 1.4, unless a generated skeleton is used.

        Args:
            section: Its name; or the name of a map that is an array and can be mapped.
            elements: How many the array has. Their size is a multiple of eight bytes.
        """
        operation = f"map {section}"
        size = libbpf.call(operation, "bpf_map__value_size", self._map(section))
        try:
            return memoryview(mmap.mmap(self.map_fd(section), elements * size))
        except OSError as error:
            raise BpfError(error.errno or errno.EINVAL, operation) from None

    def map_fd(self, name: str) -> int:
        """Return a loaded map's file descriptor, which close() closes."""
        return int(libbpf.call(f"use map {name}", "bpf_map__fd", self._map(name)))

    def program_fd(self, name: str) -> int:
        """Return a loaded program's file descriptor, which close() closes."""
        return int(libbpf.call(f"use program {name}", "bpf_program__fd", self._program(name)))

    def attach(self, program: str) -> Link:
        """Attach a loaded program to the hook that its section names."""
        pointer = libbpf.call(f"attach {program}", "bpf_program__attach", self._program(program))
        return Link(pointer, "bpf_link__destroy")

    def attach_to_map(self, program: str, map_name: str) -> Link:
        """Attach a loaded iterator of maps to one of the object's maps."""
        info = libbpf.bpf_iter_link_info(self.map_fd(map_name))
        options = libbpf.bpf_iter_attach_opts(
            ctypes.sizeof(libbpf.bpf_iter_attach_opts), ctypes.pointer(info), ctypes.sizeof(info)
        )
        operation = f"attach {program} to {map_name}"
        pointer = libbpf.call(operation, "bpf_program__attach_iter", self._program(program), ctypes.byref(options))
        return Link(pointer, "bpf_link__destroy")

    def test_run(self, program: str) -> None:
        """Have the kernel test a loaded program of its test functions: it calls these functions. Raises BpfError."""
        options = libbpf.bpf_test_run_opts(sz=ctypes.sizeof(libbpf.bpf_test_run_opts))
        libbpf.call(f"run {program}", "bpf_prog_test_run_opts", self.program_fd(program), ctypes.byref(options))

    def program_info(self, program: str) -> ProgramInfo:
        """Return what the kernel reports about a loaded program."""
        info = libbpf.bpf_prog_info()
        size = ctypes.c_uint32(ctypes.sizeof(info))
        fd = self.program_fd(program)
        libbpf.call(
            f"inspect program {program}",
            "bpf_obj_get_info_by_fd",
            fd,
            ctypes.byref(info),
            ctypes.byref(size),
        )
        return ProgramInfo(
            name=program,
            recursion_misses=info.recursion_misses,
            verified_instructions=info.verified_insns,
            runs=info.run_cnt,
            run_time_ns=info.run_time_ns,
        )


def update_map(fd: int, keys: "bytes | StoredKeys", key_size: int, value: bytes, piece: int = 1 << 20) -> None:
    """Add keys to a map, all with the same value. Raises BpfError.

    Args:
        fd: The map's file descriptor.
        keys: The keys, one after the other.
        key_size: The size of each, in bytes.
        value: The value.
        piece: How many bytes of keys to add with one system call, at most: bounds the memory. Each key needs a copy of
            the value, which is bounded alike.
    """
    step = max(1, piece // max(key_size, len(value))) * key_size
    for start in range(0, len(keys), step):
        part = keys[start : start + step]
        _update_batch(fd, part, value * (len(part) // key_size), len(part) // key_size)


def update_values(
    fd: int, keys: "bytes | StoredKeys", values: "bytes | StoredKeys", kind: MapKind, piece: int = 1 << 20
) -> None:
    """As update_map(), with a value of its own for each key, in their order."""
    step = max(1, piece // max(kind.key_size, kind.value_size))
    count = len(keys) // kind.key_size
    for start in range(0, count, step):
        end = min(count, start + step)
        _update_batch(
            fd,
            keys[start * kind.key_size : end * kind.key_size],
            values[start * kind.value_size : end * kind.value_size],
            end - start,
        )


def _update_batch(fd: int, keys: bytes, values: bytes, count: int) -> None:
    key_size, value_size = len(keys) // count, len(values) // count
    done = ctypes.c_uint32(count)
    try:
        libbpf.call("fill map", "bpf_map_update_batch", fd, keys, values, ctypes.byref(done), None)
    except BpfError as error:
        # Some kernels lack the operation for some types of maps.
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP):
            raise
        for i in range(count):
            key = keys[i * key_size : (i + 1) * key_size]
            libbpf.call("fill map", "bpf_map_update_elem", fd, key, values[i * value_size : (i + 1) * value_size], 0)


def put_map(outer_fd: int, index: int, inner: Map | None) -> None:
    """Replace an element of an array of maps. On return no program uses the previous map any more.

    Args:
        outer_fd: The file descriptor of the array.
        index: The element.
        inner: The new map; None leaves the element empty.

    Raises:
        BpfError: The kernel refuses.
    """
    key = ctypes.byref(ctypes.c_uint32(index))
    if inner is not None:
        libbpf.call("replace map", "bpf_map_update_elem", outer_fd, key, ctypes.byref(ctypes.c_uint32(inner.fd)), 0)
        return
    try:
        libbpf.call("clear map", "bpf_map_delete_elem", outer_fd, key)
    except BpfError as error:
        if error.errno != errno.ENOENT:
            raise

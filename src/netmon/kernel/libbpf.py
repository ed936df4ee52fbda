"""ctypes declarations of libbpf's functions and structs, and the call that turns their failures into exceptions.

The library is loaded when it is first needed: the file that NETMON_LIBBPF names, else the one bundled with netmon, else
the system's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_long, c_size_t, c_uint32, c_uint64, c_void_p
from functools import lru_cache
from typing import Any

from netmon.errors import BpfError, LibbpfError, VerifierError
from netmon.kernel import BUNDLED_LIBBPF
from netmon.log import debug_logger

SONAME = "libbpf.so.1"
SYSTEM = "system"  # as the value of NETMON_LIBBPF: the system's library, not the bundled one
BUNDLED = os.path.join(os.path.dirname(__file__), BUNDLED_LIBBPF)
MINIMUM_VERSION = (1, 1)

LIBBPF_WARN = 0


class bpf_object(ctypes.Structure):  # noqa: N801 - C's own names
    """Opaque."""


class bpf_program(ctypes.Structure):  # noqa: N801
    """Opaque."""


class bpf_map(ctypes.Structure):  # noqa: N801
    """Opaque."""


class bpf_link(ctypes.Structure):  # noqa: N801
    """Opaque."""


class bpf_object_open_opts(ctypes.Structure):  # noqa: N801
    """The first fields of libbpf's struct; sz is the size of those given."""

    _fields_ = (("sz", c_size_t), ("object_name", c_char_p))


class bpf_map_create_opts(ctypes.Structure):  # noqa: N801
    """The first fields of libbpf's struct; sz is the size of those given."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
    )


class bpf_prog_info(ctypes.Structure):  # noqa: N801
    """include/uapi/linux/bpf.h, up to verified_insns (5.16). The pointers stay NULL: no arrays are wanted."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", ctypes.c_char * 16),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", c_uint64),
        ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", c_uint64),
        ("run_time_ns", c_uint64),
        ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64),
        ("verified_insns", c_uint32),
    )


class bpf_test_run_opts(ctypes.Structure):  # noqa: N801
    """The first fields of libbpf's struct, up to duration; sz is the size of those given."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),  # nanoseconds of a run
    )


class bpf_iter_link_info(ctypes.Structure):  # noqa: N801
    """A part of include/uapi/linux/bpf.h's union of that name: that of an iterator of a map."""

    _fields_ = (("map_fd", c_uint32), ("reserved", c_uint32 * 3))


class bpf_iter_attach_opts(ctypes.Structure):  # noqa: N801
    """libbpf's struct; sz is its size."""

    _fields_ = (("sz", c_size_t), ("link_info", POINTER(bpf_iter_link_info)), ("link_info_len", c_uint32))


object_p, program_p, map_p = POINTER(bpf_object), POINTER(bpf_program), POINTER(bpf_map)
link_p = POINTER(bpf_link)

# A va_list is passed as a pointer: on x86_64 it is an array, on arm64 a large struct.
print_fn = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)

# Name, result, arguments. A NULL pointer and a negative c_int or c_long are failures; a c_uint32 never is one.
FUNCTIONS: tuple[tuple[str, Any, Sequence[Any]], ...] = (
    ("bpf_object__open_mem", object_p, (c_void_p, c_size_t, POINTER(bpf_object_open_opts))),
    ("bpf_object__load", c_int, (object_p,)),
    ("bpf_object__close", None, (object_p,)),
    ("bpf_object__find_map_by_name", map_p, (object_p, c_char_p)),
    ("bpf_object__find_program_by_name", program_p, (object_p, c_char_p)),
    ("bpf_program__set_autoload", c_int, (program_p, ctypes.c_bool)),
    ("bpf_map__set_autocreate", c_int, (map_p, ctypes.c_bool)),
    ("bpf_program__fd", c_int, (program_p,)),
    ("bpf_program__attach", link_p, (program_p,)),
    ("bpf_program__attach_iter", link_p, (program_p, POINTER(bpf_iter_attach_opts))),
    ("bpf_link__destroy", c_int, (link_p,)),
    ("bpf_link__fd", c_int, (link_p,)),
    ("bpf_iter_create", c_int, (c_int,)),
    ("bpf_map__fd", c_int, (map_p,)),
    ("bpf_map__set_max_entries", c_int, (map_p, c_uint32)),
    ("bpf_map__set_initial_value", c_int, (map_p, c_void_p, c_size_t)),
    ("bpf_map__inner_map", map_p, (map_p,)),
    ("bpf_map__type", c_uint32, (map_p,)),
    ("bpf_map__key_size", c_uint32, (map_p,)),
    ("bpf_map__value_size", c_uint32, (map_p,)),
    ("bpf_map__map_flags", c_uint32, (map_p,)),
    ("bpf_map_create", c_int, (c_uint32, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(bpf_map_create_opts))),
    ("bpf_map_delete_elem", c_int, (c_int, c_void_p)),
    (
        "bpf_map_lookup_batch",
        c_int,
        (c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p),
    ),
    ("bpf_map_lookup_elem", c_int, (c_int, c_void_p, c_void_p)),
    ("bpf_map_update_elem", c_int, (c_int, c_void_p, c_void_p, c_uint64)),
    ("bpf_map_update_batch", c_int, (c_int, c_void_p, c_void_p, POINTER(c_uint32), c_void_p)),
    ("bpf_obj_get_info_by_fd", c_int, (c_int, c_void_p, POINTER(c_uint32))),
    ("bpf_prog_test_run_opts", c_int, (c_int, POINTER(bpf_test_run_opts))),
)


class _Captured(threading.local):
    """The warnings that libbpf has printed in this thread since _capture() began; None outside it."""

    lines: list[str] | None = None


_captured = _Captured()


def call(operation: str, name: str, *arguments: Any) -> Any:
    """Call a libbpf function.

    Args:
        operation: The purpose of the call, such as "load netmon", for the error.
        name: The function's name.
        arguments: The function's arguments.

    Raises:
        BpfError: The call failed.
        VerifierError: The kernel's verifier rejected a program.
    """
    function = getattr(library(), name)
    with _capture() as log:
        result = function(*arguments)
        number = ctypes.get_errno() or errno.EINVAL
    if function.restype in (None, c_uint32):
        return result
    if function.restype in (c_int, c_long):
        if result >= 0:
            return result
        number = -result
    elif result:
        return result
    raise make_error(number, operation, "".join(log))


def make_error(number: int, operation: str, log: str) -> BpfError:
    """Return the error for a failed call; its message ends with the most useful line of libbpf's log."""
    verdict = verifier_verdict(log)
    if verdict:
        return VerifierError(number, operation, verdict, log)
    # Without capabilities libbpf advises to raise a limit, which would not help.
    useful = (line for line in log.splitlines() if line.strip() and "RLIMIT_MEMLOCK" not in line)
    lines = [line.removeprefix("libbpf: ") for line in useful]
    return BpfError(number, operation, lines[0] if lines else "", log)


def verifier_verdict(log: str) -> str:
    """Return the program's name and the verifier's last message; "" when the log has no verifier's messages."""
    before, begin, rest = log.partition("BEGIN PROG LOAD LOG --\n")
    messages, _, _ = rest.partition("-- END PROG LOAD LOG")
    if not begin:
        return ""
    statistics = ("processed ", "verification time", "stack depth")
    lines = [line for line in messages.splitlines() if line.strip() and not line.startswith(statistics)]
    return f"{_program_named(before)}{lines[-1].strip()}" if lines else ""


def _program_named(before: str) -> str:
    """Return "name: " from what libbpf prints before a program's log: `libbpf: prog 'name': -- `."""
    match = re.search(r"prog '([^']+)': -- $", before)
    return f"{match[1]}: " if match else ""


@contextmanager
def _capture() -> Iterator[list[str]]:
    """Collect the warnings that libbpf prints in this thread."""
    outer, _captured.lines = _captured.lines, []
    try:
        yield _captured.lines
    finally:
        _captured.lines = outer


def chosen() -> tuple[str, str]:
    """Return the path of the library to load, and in words where it comes from."""
    path = os.environ.get("NETMON_LIBBPF")
    if path and path != SYSTEM:
        return path, f"{path}, as NETMON_LIBBPF says"
    if not path and os.path.exists(BUNDLED):
        return BUNDLED, "bundled with netmon"
    # The importer of the single-file executable (pack/launcher/start.py) unpacks it into memory.
    native = getattr(__spec__.loader, "native", None)
    if not path and native:
        return native(BUNDLED), "bundled with netmon, in a single-file executable"
    return SONAME, f"the system's {SONAME}"


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """Return libbpf with its functions declared. Raises LibbpfError when it is missing or too old."""
    path, _ = chosen()
    try:
        dll = ctypes.CDLL(path, use_errno=True)
        if _version(dll) < MINIMUM_VERSION:
            found, least = (".".join(map(str, version)) for version in (_version(dll), MINIMUM_VERSION))
            raise LibbpfError(f"{path} is libbpf {found}; netmon needs {least} or newer")
        for name, result, arguments in FUNCTIONS:
            function = getattr(dll, name)
            function.restype, function.argtypes = result, arguments
        dll.libbpf_set_print(_print_callback)
    except (OSError, AttributeError) as error:
        remedy = "install it (Debian: libbpf1), or set NETMON_LIBBPF to its file"
        if os.environ.get("NETMON_LIBBPF") not in (None, "", SYSTEM):
            remedy = "correct NETMON_LIBBPF, which names this file, or unset it"
        raise LibbpfError(f"libbpf cannot be loaded ({error}): {remedy}") from None
    return dll


def _version(dll: ctypes.CDLL) -> tuple[int, int]:
    return dll.libbpf_major_version(), dll.libbpf_minor_version()


def version() -> str:
    """Return libbpf's version, such as "1.1"."""
    return ".".join(map(str, _version(library())))


def description() -> str:
    """Return libbpf's version and where it comes from."""
    return f"version {version()}, {chosen()[1]}"


def _print(level: int, template: bytes, arguments: int) -> int:
    # libbpf prints hundreds of lines while it loads an object: only those that are wanted are formatted. ctypes cannot
    # pass an exception on from a callback.
    try:
        logger = debug_logger("netmon.libbpf")
        if level == LIBBPF_WARN or logger:
            text = _format(template, arguments)
            if level == LIBBPF_WARN and _captured.lines is not None:
                _captured.lines.append(text)
            if logger:
                logger.debug("%s", text.rstrip())
    except Exception:
        return -errno.EINVAL
    return 0


_print_callback = print_fn(_print)


def _format(template: bytes, arguments: int) -> str:
    """Return a printf template filled in, by the C library: only C can read a va_list."""
    libc = ctypes.CDLL(None)
    text = c_void_p()
    size = libc.vasprintf(ctypes.byref(text), c_char_p(template), c_void_p(arguments))
    if size < 0:
        return template.decode(errors="replace")
    try:
        return ctypes.string_at(text, size).decode(errors="replace")
    finally:
        libc.free(text)

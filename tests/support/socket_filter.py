"""Socket filters: BPF programs that any kernel runs on request, with real maps (BPF_PROG_TEST_RUN)."""

from __future__ import annotations

import ctypes
import subprocess
from ctypes import c_char_p, c_int, c_size_t, c_uint32, c_void_p
from pathlib import Path

from netmon.kernel import libbpf

INCLUDE = Path(__file__).parents[2] / "bpf"
PACKET = bytes(64)


class RunOptions(ctypes.Structure):
    """libbpf's struct bpf_test_run_opts, up to repeat."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_char_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
    )


def run(fd: int, times: int) -> None:
    """Run a socket filter in the kernel a number of times."""
    options = RunOptions(sz=ctypes.sizeof(RunOptions), data_in=PACKET, data_size_in=len(PACKET), repeat=times)
    assert libbpf.library().bpf_prog_test_run_opts(fd, ctypes.byref(options)) == 0


def compile_bpf(source: Path, output: Path) -> bytes:
    """Compile a BPF object that uses netmon's headers; return it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    options = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", f"-I{INCLUDE}", "-c")
    subprocess.run(["clang", *options, str(source), "-o", str(output)], check=True)
    return output.read_bytes()

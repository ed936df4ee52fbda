"""Socket filters: BPF programs that any kernel runs on request, with real maps (BPF_PROG_TEST_RUN)."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

from netmon.kernel import libbpf

INCLUDE = Path(__file__).parents[2] / "bpf"
PACKET_SIZE = 64


def run(fd: int, times: int) -> int:
    """Run a socket filter in the kernel a number of times; return how many nanoseconds a run took."""
    packet = ctypes.create_string_buffer(PACKET_SIZE)
    options = libbpf.bpf_test_run_opts(
        ctypes.sizeof(libbpf.bpf_test_run_opts),
        data_in=ctypes.addressof(packet),
        data_size_in=PACKET_SIZE,
        repeat=times,
    )
    assert libbpf.library().bpf_prog_test_run_opts(fd, ctypes.byref(options)) == 0
    return int(options.duration)


def compile_bpf(source: Path, output: Path) -> bytes:
    """Compile a BPF object that uses netmon's headers; return it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    options = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", f"-I{INCLUDE}", "-c")
    subprocess.run(["clang", *options, str(source), "-o", str(output)], check=True)
    return output.read_bytes()

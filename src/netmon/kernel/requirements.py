"""What netmon needs of a host, need by need: for `netmon check`, and to explain a failed start."""

from __future__ import annotations

import errno
import mmap
import os
import re
from collections.abc import Callable
from typing import NamedTuple

from netmon.errors import ENOTSUPP, BpfError, KernelError, NetmonError, VerifierError
from netmon.filters.compile import compile_filters
from netmon.kernel import libbpf
from netmon.kernel.probes import KERNEL_BTF, Probes

MINIMUM_KERNEL = (6, 2)
ANY_KERNEL_HINT = "run 6.2 or newer, or try this one with --any-kernel (NETMON_ANY_KERNEL=1)"

STATUS = "/proc/self/status"
LOCKDOWN = "/sys/kernel/security/lockdown"

# capability.h. CAP_SYS_ADMIN stands for both, as it did before 5.8.
CAP_SYS_ADMIN = 21
NEEDED_CAPABILITIES = {"CAP_PERFMON": 38, "CAP_BPF": 39}


class Need(NamedTuple):
    """One thing netmon needs: whether it is there, what was found, and what to do when it is not."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def parse_release(release: str) -> tuple[int, int]:
    """Return a kernel release's first two numbers. Raises ValueError when it has none."""
    match = re.match(r"(\d+)\.(\d+)", release)
    if not match:
        raise ValueError(f"{release!r} is not a kernel release")
    return int(match[1]), int(match[2])


def check_kernel(release: str, any_kernel: bool = False) -> Need:
    """release: as uname -r prints it."""
    try:
        old = parse_release(release) < MINIMUM_KERNEL
        detail = f"Linux {release}" + (", older than 6.2" if old else "")
    except ValueError as error:
        old, detail = True, str(error)
    if old and any_kernel:
        return Need("kernel", True, f"{detail}, to be tried as asked")
    return Need("kernel", not old, detail, ANY_KERNEL_HINT)


def require_kernel(release: str) -> None:
    """Raise KernelError unless netmon supports the kernel."""
    need = check_kernel(release)
    if not need.ok:
        raise KernelError(f"{need.detail}: {need.remedy}")


def missing_capabilities(status: str) -> list[str]:
    """Return which capabilities /proc/self/status shows to be missing."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    effective = int(match[1], 16) if match else 0
    if effective >> CAP_SYS_ADMIN & 1:
        return []
    return [name for name, bit in NEEDED_CAPABILITIES.items() if not effective >> bit & 1]


def check_capabilities(status: str) -> Need:
    """status: the text of /proc/self/status."""
    missing = missing_capabilities(status)
    detail = f"{' and '.join(missing)} missing" if missing else "CAP_BPF and CAP_PERFMON"
    return Need("capabilities", not missing, detail, "run as root, or grant the missing capabilities")


def check_lockdown(text: str) -> Need:
    """text: of /sys/kernel/security/lockdown, such as "none [integrity] confidentiality"; empty without it."""
    match = re.search(r"\[(\w+)\]", text)
    mode = match[1] if match else "none"
    remedy = "boot with lockdown=integrity or less: this mode keeps programs from reading kernel memory"
    return Need("lockdown", mode != "confidentiality", mode, remedy)


def _check_btf() -> Need:
    found = os.access(KERNEL_BTF, os.R_OK)
    detail = KERNEL_BTF + ("" if found else " is missing or not readable")
    return Need("BTF", found, detail, "run a kernel built with CONFIG_DEBUG_INFO_BTF")


def _check_libbpf() -> Need:
    try:
        return Need("libbpf", True, libbpf.description())
    except NetmonError as error:
        return Need("libbpf", False, "not usable", str(error))


def _check_programs() -> Need:
    """Load and attach netmon's own programs, and let them go."""
    name = "tracing programs"
    try:
        probes = Probes(compile_filters(None)._replace(configured=True), ring_size=mmap.PAGESIZE)
        try:
            probes.attach()
        finally:
            probes.close()
    except BpfError as error:
        return Need(name, False, str(error), explain_refusal(error))
    except NetmonError as error:
        return Need(name, False, str(error))
    return Need(name, True, "netmon's programs load and attach")


def explain_refusal(error: BpfError) -> str:
    """Return what most likely made this kernel refuse, and what to do; "" when there is nothing to add."""
    return explanation(error, _read(STATUS), _read(LOCKDOWN))


def explanation(error: BpfError, status: str, lockdown: str) -> str:
    """status, lockdown: as for check_capabilities() and check_lockdown()."""
    # First, since lockdown also speaks through the verifier: helpers that read the kernel's memory are unknown then.
    for need in (check_capabilities(status), check_lockdown(lockdown)):
        if not need.ok:
            return f"{need.name}: {need.detail}: {need.remedy}"
    if error.errno == ENOTSUPP:
        return "netmon needs a kernel built with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS (on arm64 from 6.4)"
    if error.errno in (errno.EPERM, errno.EACCES) and not isinstance(error, VerifierError):
        return (
            "the capabilities are there: this kernel, a security module, a seccomp profile or a user namespace "
            "(a rootless container) forbids tracing programs"
        )
    return ""


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:  # /proc/self/status has the program's name as it is
            return file.read()
    except OSError:
        return ""


def check_host(any_kernel: bool = False) -> list[Need]:
    """Return every need, met or not; none hides another."""
    checks: tuple[Callable[[], Need], ...] = (
        lambda: check_kernel(os.uname().release, any_kernel),
        _check_btf,
        lambda: check_capabilities(_read(STATUS)),
        lambda: check_lockdown(_read(LOCKDOWN)),
        _check_libbpf,
        _check_programs,
    )
    return [check() for check in checks]

"""What netmon needs of a host: `netmon check` reports each requirement, and a failed start names the one not met.

The last one, that the programs load, attach and report events, is checked by cli/selftest.py.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from typing import NamedTuple

from netmon.capabilities import NEEDED, capability_mask
from netmon.errors import ENOTSUPP, BpfError, KernelError, NetmonError, VerifierError
from netmon.kernel import libbpf
from netmon.kernel.features import KERNEL_BTF, parse_release
from netmon.limits import MINIMUM_KERNEL

ANY_KERNEL_HINT = f"run {MINIMUM_KERNEL} or newer, or try this one with --any-kernel (NETMON_ANY_KERNEL=1)"

STATUS = "/proc/self/status"
LOCKDOWN = "/sys/kernel/security/lockdown"


# Why the kernel refuses to attach a program that it has loaded, by the error.
ATTACH_REFUSALS = {
    ENOTSUPP: "netmon needs a kernel built with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS (on arm64 from 6.4)",
    errno.ENODEV: "ftrace is off since the kernel warned of a fault in it (see dmesg): reboot",
    errno.E2BIG: "other tools have attached as many programs to this function as it can have (38): stop one of them",
    errno.EBUSY: "a live patch, or another tool, has taken this function: see /sys/kernel/tracing/enabled_functions",
}


class Requirement(NamedTuple):
    """Something that netmon needs of a host."""

    name: str
    ok: bool  # whether it is met
    detail: str  # what was found
    remedy: str = ""  # what to do when it is not met


def check_kernel(release: str, any_kernel: bool = False) -> Requirement:
    """Check the kernel's version. release: as uname -r prints it; any_kernel: an older one will do."""
    try:
        old = parse_release(release) < parse_release(MINIMUM_KERNEL)
        detail = f"Linux {release}" + (f", older than {MINIMUM_KERNEL}" if old else "")
    except ValueError as error:
        old, detail = True, str(error)
    if old and any_kernel:
        return Requirement("kernel", True, f"{detail}, but tried on request")
    return Requirement("kernel", not old, detail, ANY_KERNEL_HINT)


def require_kernel(release: str) -> None:
    """Raise KernelError unless netmon supports the kernel. release: as uname -r prints it."""
    kernel = check_kernel(release)
    if not kernel.ok:
        raise KernelError(f"{kernel.detail}: {kernel.remedy}")


def missing_capabilities(status: str) -> list[str]:
    """Return the needed capabilities that are missing according to the text of /proc/self/status."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    effective = int(match[1], 16) if match else 0
    # CAP_SYS_ADMIN includes them, as it did before they were split off in 5.8.
    if effective & capability_mask("SYS_ADMIN"):
        return []
    return [f"CAP_{name}" for name in NEEDED if not effective & capability_mask(name)]


def check_capabilities(status: str) -> Requirement:
    """Check the process's capabilities. status: the text of /proc/self/status."""
    missing = missing_capabilities(status)
    detail = f"{' and '.join(missing)} missing" if missing else "CAP_BPF and CAP_PERFMON"
    return Requirement("capabilities", not missing, detail, "run as root, or grant the missing capabilities")


def check_lockdown(text: str) -> Requirement:
    """Check the kernel's lockdown mode.

    text: of /sys/kernel/security/lockdown, such as "none [integrity] confidentiality"; empty where it does not exist.
    """
    match = re.search(r"\[(\w+)\]", text)
    mode = match[1] if match else "none"
    remedy = "boot with lockdown=integrity or less: this mode keeps programs from reading kernel memory"
    return Requirement("lockdown", mode != "confidentiality", mode, remedy)


def _check_btf() -> Requirement:
    found = os.access(KERNEL_BTF, os.R_OK)
    detail = KERNEL_BTF + ("" if found else " is missing or not readable")
    return Requirement("BTF", found, detail, "run a kernel built with CONFIG_DEBUG_INFO_BTF")


def _check_libbpf() -> Requirement:
    try:
        return Requirement("libbpf", True, libbpf.description())
    except NetmonError as error:
        return Requirement("libbpf", False, "not usable", str(error))


def explain_refusal(error: BpfError) -> str:
    """Return the most likely cause of this kernel's refusal and the remedy; "" when there is nothing to add."""
    return explanation(error, _read(STATUS), _read(LOCKDOWN))


def explanation(error: BpfError, status: str, lockdown: str) -> str:
    """Return what explain_refusal() does, from the texts that check_capabilities() and check_lockdown() take."""
    # Checked first, since under lockdown the verifier rejects programs: helpers that read kernel memory are unknown.
    for requirement in (check_capabilities(status), check_lockdown(lockdown)):
        if not requirement.ok:
            return f"{requirement.name}: {requirement.detail}: {requirement.remedy}"
    if "non-JITed" in f"{error}{error.log}":
        return "the kernel's compiler for BPF programs is off: run sysctl net.core.bpf_jit_enable=1"
    if error.operation.startswith("attach ") and error.errno in ATTACH_REFUSALS:
        return ATTACH_REFUSALS[error.errno]
    if error.errno in (errno.EPERM, errno.EACCES) and not isinstance(error, VerifierError):
        return (
            "the capabilities are there: this kernel, a security module, a seccomp profile or a user namespace "
            "(a rootless container) forbids tracing programs"
        )
    return ""


def _read(path: str) -> str:
    """Return a file's text; "" when it cannot be read."""
    try:
        with open(path, errors="replace") as file:  # /proc/self/status has the program's name, in any encoding
            return file.read()
    except OSError:
        return ""


def check_host(any_kernel: bool = False) -> list[Requirement]:
    """Check what can be checked without loading programs, each requirement whether or not another one is met.

    any_kernel: a kernel that is too old will do.
    """
    checks: tuple[Callable[[], Requirement], ...] = (
        lambda: check_kernel(os.uname().release, any_kernel),
        _check_btf,
        lambda: check_capabilities(_read(STATUS)),
        lambda: check_lockdown(_read(LOCKDOWN)),
        _check_libbpf,
    )
    return [check() for check in checks]

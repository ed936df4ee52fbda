"""The filter of system calls, run here for each call, and its numbers, compared with the kernel's headers.

What the kernel makes of it is tried in tests/unit/cli/test_confine.py.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from netmon.kernel import seccomp
from netmon.kernel.seccomp import ALLOW, ARCHITECTURES, NUMBERS, REFUSE, REFUSED, make_filter

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
REFUSED_WITH = {name: REFUSE | number for name, number in (("EPERM", errno.EPERM), ("ENOSYS", errno.ENOSYS))}
READ = {"x86_64": 0, "aarch64": 63}
CLONE_THREAD = 0x3D0F00  # what glibc's pthread_create() gives
CLONE_NEWUSER = 0x10000000


def verdict(machine: str, number: int, argument: int = 0, makes_maps: bool = False, audit: int | None = None) -> int:
    """Run the filter as the kernel does; return what it returns."""
    architecture = ARCHITECTURES[machine]
    audit = architecture.audit if audit is None else audit
    data = {seccomp.AT_NUMBER: number, seccomp.AT_ARCHITECTURE: audit, seccomp.AT_FIRST_ARGUMENT: argument}
    instructions = make_filter(architecture, makes_maps)
    at = loaded = 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        if code == seccomp.RETURN:
            return operand
        if code == seccomp.LOAD:
            loaded = data[operand]
        elif code == seccomp.EQUAL:
            at += if_true if loaded == operand else if_false
        else:
            assert code == seccomp.ANY_BIT
            at += if_true if loaded & operand else if_false


@pytest.fixture(params=ARCHITECTURES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def number_of(machine: str, name: str) -> int:
    return NUMBERS[name][ARCHITECTURES[machine].column]


def test_the_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are not installed")
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", HEADERS[machine].read_text(), re.MULTILINE)
    numbers = {name: int(number) for name, number in found}
    assert {name: number_of(machine, name) for name in NUMBERS} == {name: numbers[name] for name in NUMBERS}
    assert numbers["read"] == READ[machine]


def test_calls_that_are_listed_are_refused_and_no_others(machine: str) -> None:
    looked_at = {number_of(machine, name) for name in ("bpf", "socket", "clone", "clone3")}
    refused = {number for number in range(600) if verdict(machine, number) != ALLOW} - looked_at
    assert refused == {number_of(machine, name) for name in REFUSED}
    assert {verdict(machine, number) for number in refused} == {REFUSED_WITH["EPERM"]}


@pytest.mark.parametrize("makes_maps", [True, False])
def test_bpf_has_the_commands_for_what_is_open(machine: str, makes_maps: bool) -> None:
    bpf = number_of(machine, "bpf")
    allowed = {command for command in range(100) if verdict(machine, bpf, command, makes_maps) == ALLOW}
    assert allowed == {*seccomp.COMMANDS, *([seccomp.MAP_CREATE] if makes_maps else [])}


def test_threads_can_be_made_but_no_namespaces(machine: str) -> None:
    clone = number_of(machine, "clone")
    assert verdict(machine, clone, CLONE_THREAD) == ALLOW
    assert verdict(machine, clone, CLONE_THREAD | CLONE_NEWUSER) == REFUSED_WITH["EPERM"]
    assert verdict(machine, number_of(machine, "clone3")) == REFUSED_WITH["ENOSYS"]


def test_unix_sockets_can_be_made_alone(machine: str) -> None:
    sock = number_of(machine, "socket")
    assert [family for family in range(50) if verdict(machine, sock, family) == ALLOW] == [1]


def test_calls_of_another_architecture_are_refused(machine: str) -> None:
    assert verdict(machine, READ[machine], audit=0x40000003) == REFUSED_WITH["EPERM"]  # AUDIT_ARCH_I386
    assert verdict(machine, READ[machine] | seccomp.X32) == REFUSED_WITH["EPERM"]
    assert verdict(machine, READ[machine]) == ALLOW

"""netmon's requirements: each checked against given texts, and all of them on this host."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from netmon.errors import ENOTSUPP, BpfError, KernelError, VerifierError
from netmon.kernel import libbpf
from netmon.kernel.features import is_new_enough, parse_release
from netmon.kernel.requirements import (
    Requirement,
    check_capabilities,
    check_host,
    check_kernel,
    check_lockdown,
    explanation,
    require_kernel,
)

ROOT = "Name:\tnetmon\nCapInh:\t0000000000000000\nCapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n"
NOBODY = ROOT.replace("CapEff:\t000001ffffffffff", "CapEff:\t0000000000000000")
OPEN = "[none] integrity confidentiality\n"


def with_capabilities(*numbers: int) -> str:
    """Return a /proc/self/status in which only these are effective."""
    mask = sum(1 << number for number in numbers)
    return NOBODY.replace("CapEff:\t0000000000000000", f"CapEff:\t{mask:016x}")


class TestKernel:
    @pytest.mark.parametrize(
        ("release", "numbers"),
        [
            ("6.2.0", (6, 2)),
            ("6.12.63+deb13-cloud-amd64", (6, 12)),
            ("7.3-rc1", (7, 3)),
            ("6.18", (6, 18)),
            ("10.0.1-custom", (10, 0)),
        ],
    )
    def test_reads_releases(self, release: str, numbers: tuple[int, int]) -> None:
        assert parse_release(release) == numbers
        assert is_new_enough(release)

    @pytest.mark.parametrize("release", ["", "linux", "6", "v6.2"])
    def test_refuses_what_is_no_release(self, release: str) -> None:
        with pytest.raises(ValueError, match="is not a kernel release"):
            parse_release(release)
        assert not check_kernel(release).ok
        assert not is_new_enough(release)
        assert check_kernel(release, any_kernel=True).ok

    @pytest.mark.parametrize("release", ["6.2.0", "6.10.1", "7.0.0"])
    def test_accepts_6_2_and_newer(self, release: str) -> None:
        assert check_kernel(release) == Requirement("kernel", True, f"Linux {release}", check_kernel(release).remedy)
        require_kernel(release)

    @pytest.mark.parametrize("release", ["6.1.99-cloud", "5.15.0", "4.19"])
    def test_refuses_older_kernels_unless_any_will_do(self, release: str) -> None:
        requirement = check_kernel(release)
        assert not requirement.ok
        assert requirement.detail == f"Linux {release}, older than 6.2"
        assert "--any-kernel" in requirement.remedy
        assert check_kernel(release, any_kernel=True).ok
        with pytest.raises(KernelError, match=r"older than 6\.2: .*--any-kernel"):
            require_kernel(release)


class TestCapabilities:
    @pytest.mark.parametrize("status", [ROOT, with_capabilities(38, 39), with_capabilities(21)])
    def test_enough(self, status: str) -> None:
        assert check_capabilities(status).ok

    @pytest.mark.parametrize(
        ("status", "detail"),
        [
            (NOBODY, "CAP_PERFMON and CAP_BPF missing"),
            (with_capabilities(38), "CAP_BPF missing"),
            (with_capabilities(39, 12), "CAP_PERFMON missing"),
        ],
    )
    def test_names_those_that_are_missing(self, status: str, detail: str) -> None:
        requirement = check_capabilities(status)
        assert (requirement.ok, requirement.detail) == (False, detail)
        assert requirement.remedy


class TestLockdown:
    @pytest.mark.parametrize(
        ("text", "mode", "ok"),
        [
            ("", "none", True),
            (OPEN, "none", True),
            ("none [integrity] confidentiality\n", "integrity", True),
            ("none integrity [confidentiality]\n", "confidentiality", False),
        ],
    )
    def test_only_the_mode_confidentiality_is_refused(self, text: str, mode: str, ok: bool) -> None:
        requirement = check_lockdown(text)
        assert (requirement.ok, requirement.detail) == (ok, mode)


class TestExplanation:
    REFUSED = BpfError(errno.EPERM, "load netmon")

    def test_missing_capabilities_come_first(self) -> None:
        confidential = "none integrity [confidentiality]"
        assert "CAP_BPF missing" in explanation(self.REFUSED, with_capabilities(38), confidential)

    def test_lockdown_explains_a_rejection_by_the_verifier(self) -> None:
        rejected = VerifierError(errno.EINVAL, "load netmon", "program of this type cannot use helper")
        assert "lockdown" in explanation(rejected, ROOT, "none integrity [confidentiality]")

    def test_a_refusal_despite_all_capabilities(self) -> None:
        assert "forbids tracing programs" in explanation(self.REFUSED, ROOT, OPEN)

    def test_a_kernel_that_cannot_attach(self) -> None:
        error = BpfError(ENOTSUPP, "attach tcp_close_entry")
        assert "(ENOTSUPP)" in str(error)
        assert "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS" in explanation(error, ROOT, OPEN)

    @pytest.mark.parametrize(
        ("number", "says"),
        [(errno.ENODEV, "reboot"), (errno.E2BIG, "38"), (errno.EBUSY, "live patch")],
    )
    def test_a_function_that_takes_no_program(self, number: int, says: str) -> None:
        assert says in explanation(BpfError(number, "attach tcp_close_entry"), ROOT, OPEN)
        assert explanation(BpfError(number, "load netmon"), ROOT, OPEN) == ""

    def test_a_kernel_that_does_not_compile_programs(self) -> None:
        rejected = VerifierError(errno.EINVAL, "load netmon", "callbacks are not allowed in non-JITed programs")
        assert "net.core.bpf_jit_enable=1" in explanation(rejected, ROOT, OPEN)

    def test_nothing_is_added_to_an_error_that_explains_itself(self) -> None:
        assert explanation(VerifierError(errno.EACCES, "load netmon", "R0 !read_ok"), ROOT, OPEN) == ""
        assert explanation(BpfError(errno.ENOSPC, "fill map"), ROOT, OPEN) == ""


NAMES = ["kernel", "BTF", "capabilities", "lockdown", "libbpf"]


class TestHost:
    def test_reports_every_requirement(self) -> None:
        requirements = check_host()
        assert [requirement.name for requirement in requirements] == NAMES
        assert all(requirement.detail for requirement in requirements)
        assert all(requirement.ok or requirement.remedy for requirement in requirements)

    def test_a_program_whose_name_is_not_utf8(self) -> None:
        """The kernel cuts names at 15 bytes, in the middle of a character, too."""
        script = (
            "import ctypes; from netmon.kernel.requirements import check_host\n"
            "ctypes.CDLL(None).prctl(15, b'caf\\xe9')\n"
            "print(len(check_host()))\n"
        )
        done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
        assert int(done.stdout) == len(NAMES)

    def test_an_unmet_requirement_hides_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = check_host()
        monkeypatch.setenv("NETMON_LIBBPF", "/nowhere/libbpf.so.1")
        libbpf.library.cache_clear()
        try:
            requirements = check_host()
        finally:
            monkeypatch.undo()
            libbpf.library.cache_clear()
        assert requirements[:4] == before[:4]
        assert not requirements[4].ok
        assert "correct NETMON_LIBBPF" in requirements[4].remedy

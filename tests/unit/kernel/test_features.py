"""What netmon finds out about a kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from netmon.errors import KernelError
from netmon.kernel import features
from netmon.kernel.features import BTF_HEADER, Features, read_features

HEADER_SIZE = BTF_HEADER.size
TYPES = b"types" * 10


@pytest.fixture
def btf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is read in place of the kernel's BTF. There is no file with the mode of preemption."""
    monkeypatch.setattr(features, "KERNEL_BTF", str(tmp_path / "vmlinux"))
    monkeypatch.setattr(features, "PREEMPTION", str(tmp_path / "preempt"))
    return tmp_path / "vmlinux"


def write(btf: Path, *names: str) -> None:
    """Write BTF with these names."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    btf.write_bytes(BTF_HEADER.pack(HEADER_SIZE, 0, len(TYPES), len(TYPES), len(strings)) + TYPES + strings)


def test_a_kernel_with_everything(btf: Path) -> None:
    write(
        btf,
        "tcp_v6_connect",
        "skc_v6_daddr",
        "mptcp_connect",
        "security_sock_graft",
        "proto_accept_arg",
        "bpf_fentry_test1",
    )
    assert read_features() == Features(
        ipv6=True,
        ipv6_module=False,
        mptcp=True,
        sock_graft=True,
        accept_arguments=2,
        preemptible=True,
        test_function=True,
    )


def test_names_that_contain_those_looked_for(btf: Path) -> None:
    write(
        btf, "tcp_v6_connect_init", "__mptcp_connect", "security_sock_graft2", "proto_accept_args", "bpf_fentry_test10"
    )
    assert read_features() == Features(
        ipv6=False,
        ipv6_module=False,
        mptcp=False,
        sock_graft=False,
        accept_arguments=4,
        preemptible=True,
        test_function=False,
    )


@pytest.mark.parametrize("names", [("skc_v6_daddr",), ("skc_v6_daddr", "tcp_v6_connect")])
def test_ipv6_whose_functions_are_not_in_the_kernel_itself_is_a_module(btf: Path, names: tuple[str, ...]) -> None:
    write(btf, *names)
    features = read_features()
    assert (features.ipv6, features.ipv6_module) == ("tcp_v6_connect" in names, "tcp_v6_connect" not in names)


@pytest.mark.parametrize(
    ("mode", "preemptible"),
    [
        ("(none) voluntary full\n", False),
        ("none (voluntary) full lazy\n", False),
        ("none voluntary (full)\n", True),
        ("full (lazy)\n", True),
    ],
)
def test_the_mode_of_preemption(btf: Path, mode: str, preemptible: bool) -> None:
    write(btf)
    (btf.parent / "preempt").write_text(mode)
    assert read_features().preemptible is preemptible


@pytest.mark.parametrize("content", [None, b"", bytes(HEADER_SIZE - 1)])
def test_a_kernel_without_btf(btf: Path, content: bytes | None) -> None:
    if content is not None:
        btf.write_bytes(content)
    with pytest.raises(KernelError, match=r"vmlinux cannot be read .*: this kernel has no BTF"):
        read_features()

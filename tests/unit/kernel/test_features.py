"""What netmon finds out about a kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from netmon.errors import KernelError
from netmon.kernel import features
from netmon.kernel.features import BTF_HEADER, Features, read_features, read_legacy_cgroups, read_tick_ns
from netmon.layout import LegacyCgroups

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


def test_functions_that_a_kernel_has(btf: Path) -> None:
    write(btf, "tcp_v6_connect", "mptcp_connect", "proto_accept_arg")
    assert read_features(["mptcp_connect", "security_sock_graft", "tcp_v6_connect"]) == Features(
        functions=frozenset({"tcp_v6_connect", "mptcp_connect"}), accept_arguments=2, preemptible=True
    )


def test_names_that_contain_those_looked_for(btf: Path) -> None:
    write(btf, "tcp_v6_connect_init", "__mptcp_connect", "proto_accept_args")
    assert read_features(["tcp_v6_connect", "mptcp_connect"]) == Features(
        functions=frozenset(), accept_arguments=4, preemptible=True
    )


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
    assert read_features([]).preemptible is preemptible


@pytest.mark.parametrize("content", [None, b"", bytes(HEADER_SIZE - 1)])
def test_a_kernel_without_btf(btf: Path, content: bytes | None) -> None:
    if content is not None:
        btf.write_bytes(content)
    with pytest.raises(KernelError, match=r"vmlinux cannot be read .*: this kernel has no BTF"):
        read_features([])


def test_what_is_read_ahead_is_used_once(btf: Path) -> None:
    write(btf, "mptcp_connect")
    features.read_ahead()
    write(btf, "tcp_v6_connect")
    names = ["mptcp_connect", "tcp_v6_connect"]
    assert [read_features(names).functions for _ in range(2)] == [{"mptcp_connect"}, {"tcp_v6_connect"}]


def test_without_btf_nothing_is_read_ahead(btf: Path) -> None:
    features.read_ahead()
    with pytest.raises(KernelError, match="this kernel has no BTF"):
        read_features([])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0::/init.scope\n", LegacyCgroups.NONE),
        ("12:pids:/a\n9:memory:/a\n1:name=systemd:/\n0::/a\n", LegacyCgroups.PIDS),
        ("9:memory:/a\n4:cpu,cpuacct:/\n", LegacyCgroups.MEMORY),
        ("4:cpu,pids:/x:y\n", LegacyCgroups.PIDS),
        ("4:cpu,cpuacct:/\n", LegacyCgroups.NONE),
        (None, LegacyCgroups.NONE),
    ],
)
def test_controllers_of_version_1(
    text: str | None, kind: LegacyCgroups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cgroup"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(features, "OWN_CGROUPS", str(file))
    assert read_legacy_cgroups() == kind


def test_a_tick_is_that_of_a_kernel() -> None:
    """CONFIG_HZ has one of these values."""
    assert round(1e9 / read_tick_ns()) in (100, 250, 300, 1000)

"""Hypothesis strategies: configurations, connections and programs from pools so small that they often meet."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import strategies as st

from netmon.config import Config
from netmon.report import OPTIONS
from tests.support.filter_model import Program, Socket

IPV4 = ["0.0.0.0", "10.0.0.1", "10.0.0.2", "10.128.0.1", "127.0.0.1", "192.168.1.7", "255.255.255.255"]
IPV6 = ["::", "::1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fe80::1", "ff02::1", "8000::"]
IDS = [0, 1, 1000, 2**31, 2**32 - 1]
PATHS = [
    "/usr/bin/curl",
    "/usr/bin/curl2",
    "/usr/bin/cur",
    "/usr/local/bin/curl",
    "/usr/bin/caf\u00e9",
    "/curl",
    "/memfd:curl",
    "/opt/" + "d" * 250 + "/" + "n" * 255,  # 511 bytes: the longest path that can be listed
    "/opt/" + "d" * 250 + "/" + "n" * 254,  # has the same longest prefix, 256 bytes
]
COMMS = ["curl", "python3", "caf\u00e9", "fifteen-bytes-a", "fifteen-bytes-and-more"]
PORTS = [0, 1, 7, 8, 443, 8000, 65534, 65535]
NETNS = [1, 4026531840, 2**32 - 1]
ID, OTHER_ID = "0123456789abcdef" * 4, "fedcba9876543210" * 4
# Cgroups in the container ID, and on the host.
IN_CONTAINER = [
    f"/system.slice/docker-{ID}.scope",
    f"/docker/{ID}",
    f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope",
    f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/crio-{ID}.scope",
    f"/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope/container",
    f"/kubepods/burstable/pod0a1b2c3d-1111-2222-3333-444455556666/{ID}",
    f"/kubepods/pod1/crio-{ID}",
    f"/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}",
    f"/machine.slice/libpod-{ID}.scope",
    f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
    f"/libpod_parent/libpod-{ID}",
    f"/kubepods.slice/kubepods-pod1.slice/{ID}",
    f"/libpod_parent/{OTHER_ID}/libpod-{ID}",  # in a pod
    f"/user.slice/app.service/libpod-payload-{ID}",
    f"/machine.slice/nerdctl-{ID}.scope",
    f"/default/{ID}",
    f"/k8s.io/{ID}",
    f"/garden/{ID}",
    f"/actions_job/{ID}",
    f"/ecs/{ID[:32]}/{ID}",
    # long names above and below it
    f"/{'n' * 300}/docker-{ID}.scope",
    f"/docker-{ID}.scope/{'n' * 300}/{'n' * 1100}",
    # systemd inside a container
    f"/system.slice/docker-{ID}.scope/init.scope",
    f"/system.slice/docker-{ID}.scope/system.slice/nginx.service",
    # nested containers: the innermost one counts
    f"/docker/{OTHER_ID}/docker/{ID}",
    f"/system.slice/docker-{OTHER_ID}.scope/kubelet/kubepods/pod1/{ID}",
    # conmon of a nested container: it runs in the outer one
    f"/system.slice/docker-{ID}.scope/machine.slice/libpod-conmon-{OTHER_ID}.scope",
]
ON_THE_HOST = [
    "/",
    "",
    "/init.scope",
    "/system.slice/docker.service",
    "/user.slice/user-1000.slice/session-1.scope",
    f"/kubepods.slice/crio-conmon-{ID}.scope",
    f"/machine.slice/libpod-conmon-{ID}.scope",
    f"/machine.slice:libpod-conmon:{ID}",
    f"/conmon-{ID}",
    f"/docker_{ID}",
    f"/docker-{ID}.scope.scope",
    f"/machine.slice/machine-libpod_pod_{ID}.slice",  # a pod is no container
    f"/machine.slice/machine-libpod_pod_{ID}.slice/libpod-conmon-{ID}.scope",
    f"/libpod_parent/{ID}",
    f"/libpod_parent/{ID}/conmon",
    # an id alone says nothing
    f"/{ID}",
    f"/{ID}.scope",
    f"/docker/{ID}.scope",
    f"/docker/x/{ID}",
    f"/ecs/{ID}",
    f"/foo/{ID}",
    f"/user.slice/user-1000.slice/user@1000.service/{ID}",
    f"/user.slice/foo-{ID}.scope",
    f"/user.slice/my-docker-{ID}.scope",
    f"/user.slice/xdocker-{ID}.scope",
    f"/user.slice:foo:{ID}",
    f"/docker:{ID}",
    f"/docker/{ID[:-1]}",
    f"/docker/{ID}0",
    f"/docker/0{ID}",
    f"/docker/{ID.upper()}",
    f"/system.slice/docker-0{ID}.scope",
    f"/system.slice/docker-{ID}.service",
    f"/system.slice/{ID}.slice",
]
CGROUPS = ["/", "/a", "/ab", "/a/b", "/a/b.slice", f"/system.slice/docker-{ID}.scope", "/" + "d" * 254]
# Cgroups that are too long for a list: netmon compares their beginning.
DEEP_CGROUPS = ["/" + "d" * 254 + "/e", "/" + "d" * 255, "/a/" + "e/" * 200 + "f"]
# Paths that programs may have, but lists may not: none, not UTF-8, too long.
UNLISTABLE = [b"", b"/usr/bin/caf\xe9", b"/" + b"d" * 255 + b"/" + b"n" * 255]


@st.composite
def cidrs(draw: st.DrawFn, pool: list[str]) -> str:
    """Draw one of the pool's addresses, or a CIDR of any length around one."""
    address = draw(st.sampled_from(pool))
    if draw(st.booleans()):
        return address
    length = draw(st.integers(0, ip_address(address).max_prefixlen))
    return str(ip_network((address, length), strict=False))


def lists(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, min_size=1, max_size=4)


def sections(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a mapping with at least one of the keys."""
    return st.fixed_dictionaries({}, optional=keys).filter(bool)


def with_deny_list(section: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    deny_list = st.fixed_dictionaries({}, optional={"deny_list": st.booleans()})
    return st.builds(lambda left, right: {**left, **right}, section, deny_list)


def with_match(section: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    match = st.fixed_dictionaries({}, optional={"match": st.sampled_from(["any", "all"])})
    return st.builds(lambda left, right: {**left, **right}, section, match)


def ip_filters(pool: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return with_match(with_deny_list(sections(src_ip=lists(cidrs(pool)), dst_ip=lists(cidrs(pool)))))


prefixes = st.sampled_from(PATHS).flatmap(
    lambda path: st.integers(1, min(256, len(path))).map(lambda length: path[:length])
)
ids = lists(st.sampled_from(IDS))
binary_filters = sections(
    name=lists(st.sampled_from(PATHS).map(lambda path: path.rpartition("/")[2])),
    prefix=lists(prefixes.filter(lambda prefix: len(prefix.encode()) <= 256)),
    path=lists(st.sampled_from(PATHS).filter(lambda path: len(path.encode()) <= 511)),
    comm=lists(st.sampled_from(COMMS)),
)
container_ids = st.sampled_from([ID, OTHER_ID, ID[:-1] + "0", OTHER_ID[:63], ID[:12], "f" * 12])
process_filters = with_deny_list(
    sections(
        uid=ids,
        euid=ids,
        auid=ids,
        gid=ids,
        binary=binary_filters,
        cgroup=lists(st.sampled_from(CGROUPS)),
        container_id=lists(container_ids),
    )
)
ranges = st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(lambda ends: f"{min(ends)}-{max(ends)}")
ports = lists(st.sampled_from(PORTS) | ranges)
port_filters = with_match(with_deny_list(sections(src_port=ports, dst_port=ports)))
netns_filters = with_deny_list(sections(netns=lists(st.sampled_from(NETNS))))


name_filters = with_deny_list(
    sections(domain=lists(st.sampled_from(["a.example", "*.example", "**.b.example", "c", "**"])))
)


def directions(enabled: st.SearchStrategy[bool]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"enabled": enabled},
        optional={"ipv4_filter": ip_filters(IPV4), "ipv6_filter": ip_filters(IPV6), "port_filter": port_filters},
    )


@st.composite
def configs(draw: st.DrawFn, *, both: bool = False, names: bool = False) -> Config:
    """Draw a configuration. both: with both directions enabled; names: with a filter of names, if it can have one."""
    ingress = draw(directions(st.just(True) if both else st.booleans()))
    egress = draw(directions(st.just(True) if both or not ingress["enabled"] else st.booleans()))
    data = {"ingress": ingress, "egress": egress}
    for key, filters in (("netns_filter", netns_filters), ("process_filter", process_filters)):
        filter_ = draw(st.none() | filters)
        if filter_:
            data[key] = filter_
    if names and data["egress"]["enabled"]:
        data["name_filter"] = draw(name_filters)
        data["report"] = {"names": True}
    elif draw(st.booleans()):
        options = [name for name, option in OPTIONS.items() if not option.needs or data[option.needs]["enabled"]]
        report: dict[str, Any] = dict.fromkeys(draw(st.sets(st.sampled_from(options))), True)
        if draw(st.booleans()):
            report["progress"] = f"{draw(st.decimals(1, 86400, places=9))}s"
        data["report"] = report
    return Config.from_dict(data)


# saddr and daddr
ends = st.sampled_from([IPV4, IPV6]).flatmap(lambda pool: st.tuples(st.sampled_from(pool), st.sampled_from(pool)))
programs = st.builds(
    Program,
    *[st.sampled_from(IDS)] * 3,
    path=st.sampled_from([path.encode() for path in PATHS] + UNLISTABLE),
    cgroup=st.sampled_from(CGROUPS + DEEP_CGROUPS),
    container_id=st.sampled_from([None, ID, OTHER_ID]),
    comm=st.sampled_from([comm.encode()[:15] for comm in COMMS]),
    gid=st.sampled_from(IDS),
)
sockets = st.builds(Socket, st.sampled_from(PORTS), st.sampled_from(PORTS), st.sampled_from(NETNS))

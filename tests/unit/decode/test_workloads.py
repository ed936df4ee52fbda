"""Workloads: what the path of a cgroup says, and the names that are asked for."""

from __future__ import annotations

import json

import pytest

from netmon.decode.images import Cgroup
from netmon.decode.workloads import CONTAINERS_KEPT, Place, Workloads, place_of
from netmon.layout import ProcessFlag
from netmon.workload import KEYS, WORKLOAD_SIZE, Names, container_names
from tests.support.decoders import make_table
from tests.support.name_sources import KnowsAll
from tests.support.records import process_record

ID = "0123456789abcdef" * 4
UID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
UNDERSCORED = UID.replace("-", "_")
KUBEPODS = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNDERSCORED}.slice"


def names_of(path: str) -> bytes:
    """Return the names of a cgroup's path as the kernel lists them."""
    return "".join(f"{name}/" for name in reversed(path.split("/")[1:])).encode()


@pytest.mark.parametrize(
    ("path", "container_id", "place"),
    [
        ("/", "", Place("", "", "")),
        ("/system.slice/nginx.service", "", Place("nginx.service", "", "")),
        ("/system.slice/system-getty.slice/getty@tty1.service", "", Place("getty@tty1.service", "", "")),
        ("/user.slice/user-1000.slice/session-3.scope", "", Place("session-3.scope", "", "")),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service", "", Place("web.service", "", "")),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "", Place("init.scope", "", "")),
        ("/init.scope", "", Place("init.scope", "", "")),
        # What a service makes below its own cgroup is no unit.
        ("/system.slice/evil.service/sshd.service", "", Place("evil.service", "", "")),
        ("/system.slice/evil.service/payload/system.slice/sshd.service", "", Place("evil.service", "", "")),
        ("/user.slice/user@1000.service/app.slice/a.scope/system.slice/sshd.service", "", Place("a.scope", "", "")),
        ("/evil/sshd.service", "", Place("", "", "")),
        ("/system.slice/\x1b[31m.service", "", Place("", "", "")),
        # Docker, with systemd and without.
        (f"/system.slice/docker-{ID}.scope", ID, Place("", "", ID)),
        (f"/docker/{ID}", ID, Place("", "", ID)),
        # Podman: a service of systemd's, and another user's.
        (f"/system.slice/db.service/libpod-payload-{ID}", ID, Place("db.service", "", ID)),
        (f"/machine.slice/libpod-{ID}.scope/container", ID, Place("", "", ID)),
        (
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
            ID,
            Place("user@1000.service", "", ID),
        ),
        # Pods, with systemd and without, in kind, and a static one.
        (f"{KUBEPODS}/cri-containerd-{ID}.scope", ID, Place("", UID, ID)),
        (f"{KUBEPODS}/crio-{ID}.scope", ID, Place("", UID, ID)),
        (f"/kubepods/besteffort/pod{UID}/{ID}", ID, Place("", UID, ID)),
        (f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UNDERSCORED}.slice/x", "", Place("", UID, "")),
        (f"/kubepods.slice/kubepods-pod{'a' * 32}.slice", "", Place("", "a" * 32, "")),
        (f"/kubepods.slice/kubepods-pod{UNDERSCORED}.slice.d", "", Place("", "", "")),
        (f"/system.slice/x.service/pod{UID}", "", Place("x.service", "", "")),
        # systemd-nspawn.
        ("/machine.slice/machine-a\\x2db.scope", "", Place("machine-a\\x2db.scope", "", "machine-a\\x2db.scope")),
        (
            "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
            "",
            Place("systemd-nspawn@web.service", "", "systemd-nspawn@web.service"),
        ),
    ],
)
def test_the_path_of_a_cgroup(path: str, container_id: str, place: Place) -> None:
    assert place_of(names_of(path) if path != "/" else b"", container_id.encode(), whole=True) == place


def test_the_end_of_a_long_path_says_no_unit() -> None:
    assert place_of(names_of("/system.slice/sshd.service"), b"", whole=False) == Place("", "", "")
    assert place_of(names_of(f"/docker/{ID}"), ID.encode(), whole=False) == Place("", "", ID)


class Host:
    """Knows the names of containers from their second question on."""

    def __init__(self, *later: Names | None, first: Names | None = None) -> None:
        self.first, self.later = first, list(later)
        self.asked: list[str] = []

    def container(self, subject: str) -> Names | None:
        self.asked.append(subject)
        return self.first

    def container_again(self, subject: str) -> Names | None:
        return self.later.pop(0) if self.later else None

    def user(self, uid: int) -> str | None:
        return {1000: "alice", 7: "x" * 100, 8: 'a"b'}.get(uid)


def workload_of(workloads: Workloads, uid: int = 1000, path: str = f"/docker/{ID}", container_id: str = ID) -> Names:
    json_text = workloads.find(Cgroup(names_of(path), container_id.encode(), False), uid).json
    return json.loads(f"{{{json_text[1:]}}}").get("workload", {}) if json_text else {}


def test_all_names_in_their_order() -> None:
    workloads = Workloads(Host(first={"image": "i", "container": "c", "pod": "p", "namespace": "n"}))
    path = f"{KUBEPODS}/cri-containerd-{ID}.scope"
    assert [*workload_of(workloads, path=path).items()] == [
        ("pod", "p"),
        ("namespace", "n"),
        ("pod_uid", UID),
        ("container", "c"),
        ("image", "i"),
        ("user", "alice"),
    ]
    assert workloads.unknown == 0


def test_on_the_host_nobody_is_asked_for_a_container() -> None:
    host = Host()
    workloads = Workloads(host)
    assert workload_of(workloads, path="/system.slice/a.service", container_id="") == {
        "unit": "a.service",
        "user": "alice",
    }
    assert workload_of(workloads, path="/x", container_id="", uid=5) == {}
    assert (host.asked, workloads.unknown) == ([], 0)


@pytest.mark.parametrize(("uid", "user"), [(7, None), (8, 'a"b'), (9, None)])
def test_a_user_without_a_fair_name_has_none(uid: int, user: str | None) -> None:
    assert workload_of(Workloads(Host()), uid=uid, path="/x", container_id="").get("user") == user


def test_a_container_is_asked_for_once_and_once_more() -> None:
    host = Host(None, {"container": "c"}, {"container": "d"})
    workloads = Workloads(host)
    found = workloads.find(Cgroup(names_of(f"/docker/{ID}"), ID.encode(), False), 5)
    assert (found.json, workloads.unknown, found.settled) == ("", 1, False)
    assert not workloads.look_again()  # too early
    assert workloads.look_again()
    assert found.settled
    assert found.json == ',"workload":{"container":"c"}'  # that of the processes that are known
    assert not workloads.look_again()
    assert workload_of(workloads, uid=5) == {"container": "c"}
    assert (host.asked, workloads.unknown) == ([ID], 1)


def test_a_container_that_stays_unknown_is_counted_each_time() -> None:
    host = Host({})
    workloads = Workloads(host)
    assert workload_of(workloads, uid=5) == {}
    assert not workloads.look_again()
    assert workload_of(workloads, uid=5) == {}
    assert (host.asked, workloads.unknown) == ([ID], 2)


def test_containers_are_bounded_and_those_in_use_stay() -> None:
    host = Host()
    workloads = Workloads(host)
    for number in range(2 * CONTAINERS_KEPT):
        workload_of(workloads)
        workload_of(workloads, container_id=f"{number:064x}")
    assert host.asked.count(ID) == 1
    assert len(workloads._containers) == CONTAINERS_KEPT
    assert len(workloads._unnamed) <= CONTAINERS_KEPT


def test_the_longest_names_fit() -> None:
    names = KnowsAll().container(ID) or {}
    assert container_names(names) == names
    for key, name in names.items():
        assert container_names({key: f"{name}n"}) == {}
    workload = Workloads(KnowsAll()).find(
        Cgroup(names_of(f"/a.slice/{'u' * 118}.service/{ID}"), ID.encode(), False), 1000
    )
    assert [*json.loads(f"{{{workload.json[1:]}}}")["workload"]] == [*KEYS]
    assert len(workload.json) <= WORKLOAD_SIZE


def test_a_name_that_is_found_later_is_in_later_events() -> None:
    """Also in what was rendered already: in the parent that an event has, and in models."""
    table = make_table(name_source=Host({"container": "c"}))
    table.add(process_record(process_id=1, container_id=ID.encode(), uid=5))
    process = table.get(1)
    assert process is not None
    assert "workload" not in process.tail
    assert process.model(7).workload is None
    table.note_consumed(0)
    assert "workload" not in process.tail
    table.note_consumed(1)
    assert '"workload":{"container":"c"}' in process.tail
    model = process.model(7).workload
    assert model is not None
    assert model.container == "c"
    assert table.workload_unknown == 1
    assert len(process.tail) + len(process.json_head) <= process.length


def test_without_the_option_there_is_no_workload() -> None:
    table = make_table()
    table.add(process_record(process_id=1, container_id=ID.encode()))
    process = table.get(1)
    assert process is not None
    assert "workload" not in process.tail
    assert table.workload_unknown == 0


def test_the_rest_of_a_cut_path_is_no_unit() -> None:
    table = make_table(name_source=Host())
    flags = int(ProcessFlag.CGROUP_INCOMPLETE)
    table.add(process_record(process_id=1, cgroup=b"sshd.service/system.slice/", flags=flags, uid=5))
    process = table.get(1)
    assert process is not None
    assert "workload" not in process.tail

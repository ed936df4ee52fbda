"""Reads how containers are called: from the files that their runtimes and the kubelet keep on the host.

No runtime is asked: who may use its socket is root, and it may not answer. The files are read only, up to a size, and
below a runtime's directory no symbolic link is followed. None of them is in a container, but what is in them was chosen
by whoever made the container: see netmon.workload.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from netmon.layout import Limit
from netmon.workload import Names, container_names

SIZE_LIMIT = 1 << 20  # bytes of a file: a larger one is not read
NAMES_LIMIT = 16384  # entries of a directory that are looked at

# Below these, containerd keeps a directory for each of its namespaces, and in it one for each container.
CONTAINERD = tuple(
    f"{state}/io.containerd.runtime.v2.task"
    for state in (
        "run/containerd",
        "run/k3s/containerd",  # k3s, RKE2
        "run/k0s/containerd",
        "run/docker/containerd/daemon",  # a containerd that Docker has started
        "var/snap/microk8s/common/run/containerd",
    )
)
DOCKER = ("var/lib/docker/containers", "var/snap/docker/common/var-lib-docker/containers")
# Of CRI-O, and of root's Podman: a directory for each container, and a list of all of them. Other users' Podman keeps
# its files where the user can write them.
STORAGE = ("run/containers/storage/overlay-containers", "var/lib/containers/storage/overlay-containers")
LISTS = ("containers.json", "volatile-containers.json")  # the second one for `podman run --rm`
LOGS = "var/log/containers"
MACHINES = "run/systemd/machines"  # of systemd-nspawn, as systemd-machined registers it
DIRECTORIES = (*CONTAINERD, *DOCKER, *STORAGE, LOGS, MACHINES)

# By the key of the workload: where it stands in the annotations of a container, as containerd, CRI-O and nerdctl write
# them. Docker's labels have those of the kubelet, too.
ANNOTATIONS = {
    "pod": ("io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"),
    "namespace": ("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"),
    "pod_uid": ("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"),
    "container": ("io.kubernetes.cri.container-name", "io.kubernetes.container.name", "nerdctl/name"),
    "image": ("io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"),
}

DIRECTORY, FILE = (os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
CONTAINER_ID = re.compile(f"[0-9a-f]{{{int(Limit.CONTAINER_ID_SIZE)}}}")
COMPLETE = {"container", "image"}  # with these, no further file is read


class RuntimeFiles:
    """Finds the names of containers."""

    def __init__(self, root: str = "/") -> None:
        """Make it. root: the host's root directory."""
        self._root = root

    def names(self, subject: str) -> Names:
        """Return what is known of a container: some of the keys of CONTAINER_FORMS. It may be held up by a file system.

        Args:
            subject: The id of a container, or the unit of a machine.
        """
        if not CONTAINER_ID.fullmatch(subject):
            return self._machine(subject)
        names: Names = {}
        for find in (self._in_containerd, self._in_docker, self._in_storage, self._in_lists, self._in_logs):
            with suppress(OSError):
                for key, value in find(subject).items():
                    names.setdefault(key, value)
            if names.keys() >= COMPLETE:
                break
        return names

    def _in_containerd(self, container_id: str) -> Names:
        for base in self._existing(CONTAINERD):
            for namespace in _list(base):
                if spec := _read_mapping(base, namespace, container_id, "config.json"):
                    return _annotated(_mapping(spec.get("annotations")))
        return {}

    def _in_docker(self, container_id: str) -> Names:
        for base in self._existing(DOCKER):
            if state := _read_mapping(base, container_id, "config.v2.json"):
                config = _mapping(state.get("Config"))
                own = {"container": _text(state.get("Name")).removeprefix("/"), "image": config.get("Image")}
                return container_names(own) | _annotated(_mapping(config.get("Labels")))
        return {}

    def _in_storage(self, container_id: str) -> Names:
        for base in self._existing(STORAGE):
            spec = _read_mapping(base, container_id, "userdata", "config.json")
            if names := _annotated(_mapping(spec.get("annotations"))):
                return names
        return {}

    def _in_lists(self, container_id: str) -> Names:
        for base in self._existing(STORAGE):
            for name in LISTS:
                for entry in map(_mapping, _sequence(_parse(_read(base, name)))):
                    if entry.get("id") == container_id:
                        first = next(iter(_sequence(entry.get("names"))), None)
                        metadata = _mapping(_parse(_text(entry.get("metadata"))))
                        return container_names({"container": first, "image": metadata.get("image-name")})
        return {}

    def _in_logs(self, container_id: str) -> Names:
        """Return what the name of a container's log says: POD_NAMESPACE_CONTAINER-ID.log. Where it leads is unread."""
        end = f"-{container_id}.log"
        for base in self._existing((LOGS,)):
            for name in _list(base):
                if name.endswith(end):
                    keys, values = ("pod", "namespace", "container"), name.removesuffix(end).split("_")
                    names = container_names(dict(zip(keys, values, strict=False)))
                    return names if len(names) == len(values) == len(keys) else {}
        return {}

    def _machine(self, unit: str) -> Names:
        """Return the name of a machine, if it is a container: others are virtual."""
        with suppress(OSError):
            base = os.path.join(self._root, MACHINES)
            name = os.readlink(os.path.join(base, f"unit:{unit}"))
            names = container_names({"container": name})
            if names and b"CLASS=container" in (_read(base, name) or b"").splitlines():
                return names
        return {}

    def _existing(self, directories: tuple[str, ...]) -> Iterator[str]:
        for directory in directories:
            if os.path.isdir(path := os.path.join(self._root, directory)):
                yield path


def directories(root: str = "/") -> list[str]:
    """Return the directories in which there may be names."""
    return [os.path.join(root, directory) for directory in DIRECTORIES]


def _list(directory: str) -> Iterator[str]:
    """Yield the names in a directory, NAMES_LIMIT at most. Raises OSError."""
    with os.scandir(directory) as entries:
        for entry, _ in zip(entries, range(NAMES_LIMIT), strict=False):
            yield entry.name


def _read(base: str, *names: str) -> bytes | None:
    """Return the bytes of a file below a directory; None if there is none, or no regular one of a fair size.

    A symbolic link below the directory is none.
    """
    fd = -1
    try:
        fd = os.open(base, DIRECTORY)
        for name in names:
            kind = FILE if name is names[-1] else DIRECTORY
            below = os.open(name, kind | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > SIZE_LIMIT:
            return None
        with open(fd, "rb", closefd=False) as file:
            return file.read(SIZE_LIMIT)
    except OSError:
        return None
    finally:
        if fd >= 0:
            os.close(fd)


def _parse(data: bytes | str | None) -> Any:
    """Return what JSON says; None if it is none."""
    import orjson  # imported late: slow

    try:
        return orjson.loads(data) if data else None
    except ValueError:
        return None


def _read_mapping(base: str, *names: str) -> dict[str, Any]:
    """Return the members of a file's JSON; none if there is no such file."""
    return _mapping(_parse(_read(base, *names)))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _annotated(annotations: dict[str, Any]) -> Names:
    """Return the names in a container's annotations."""
    found = {key: next(filter(None, map(annotations.get, places)), None) for key, places in ANNOTATIONS.items()}
    return container_names(found)

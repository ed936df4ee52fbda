"""The processes that the kernel has described, by the id that events carry."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from netmon import procfs
from netmon.clock import Clock
from netmon.errors import DecodeError
from netmon.layout import PROCESS_RECORD, ProcessFlag, ProcessRecord
from netmon.texts import container_id_of, format_args, format_capabilities, format_secureexec, format_timestamp

if TYPE_CHECKING:
    from netmon.events import Process

DELETED = " (deleted)"  # as /proc/PID/exe marks it

# What to keep before the older half is let go: processes, and characters of their JSON.
DEFAULT_LIMIT = 8192
SIZE_LIMIT = 16 << 20

LATE_RECORDS = 64 << 10  # bytes

MAX_MODELS = 32  # of one process, by thread


class KnownProcess:
    """One process image: its fields and its parent's, and an event's JSON around its thread id, up to both of them."""

    __slots__ = ("_models", "_parent_model", "comm", "fields", "json_head", "json_tail", "parent", "size")

    def __init__(self, fields: dict[str, Any], comm: bytes, parent: dict[str, Any] | None = None) -> None:
        import orjson  # slow to import: not before the probes are attached

        self.fields = fields
        self.comm = comm
        self.parent = parent  # its fields alone: it may be let go, and so may its own parent
        self._models: dict[int, Process] = {}
        self._parent_model: Process | None = None
        # The thread id is the third of the keys.
        event = {"type": "NetworkEvent", "process": fields}
        json = orjson.dumps({**event, "parent": parent} if parent else event).decode()
        head, key, tail = json.partition('"tid":')
        self.json_head = head + key
        self.json_tail = tail[1:-1]
        self.size = len(json)

    def json(self, tid: int) -> str:
        """Return the process alone, as thread tid of it is seen, as JSON."""
        import orjson

        return orjson.dumps({**self.fields, "tid": tid}).decode()

    @property
    def parent_model(self) -> Process | None:
        if self.parent is not None and self._parent_model is None:
            from netmon.events import Process

            self._parent_model = Process.model_validate(self.parent)
        return self._parent_model

    def model(self, tid: int) -> Process:
        """Return the process as thread tid of it is seen. Some are kept: servers take turns of threads."""
        model = self._models.get(tid)
        if model is None:
            from netmon.events import Process  # pydantic: slow to import, and not needed for JSON lines

            if len(self._models) >= MAX_MODELS:
                self._models.clear()
            model = self._models[tid] = Process.model_validate({**self.fields, "tid": tid})
        return model


class ProcessTable:
    """Process ids to KnownProcess, bounded.

    The older half is let go when there are more than `limit`, or large ones: first the kernel is told (`oldest` is the
    id below which it describes a process again); they are dropped once no record from before that can be unread.
    """

    def __init__(
        self,
        clock: Clock,
        last_cap: int,
        *,
        waiting: Callable[[], int],
        set_oldest: Callable[[int], None],
        read_cmdline: Callable[[int, int, str | None, bytes], bytes | None] = procfs.read_cmdline,
        limit: int = DEFAULT_LIMIT,
        keep: bool = False,
        tell_cgroup: bool = False,
    ) -> None:
        """waiting: how many bytes wait in the ring buffer. keep: let none go but when forget_old() is called.

        tell_cgroup: among a process's fields.
        """
        self._clock = clock
        self._last_cap = last_cap
        self._waiting = waiting
        self._set_oldest = set_oldest
        self._read_cmdline = read_cmdline
        self._limit = limit
        self._keep = keep
        self._tell_cgroup = tell_cgroup
        self._known: dict[int, KnownProcess] = {}
        self._oldest = 0
        self._size = 0
        self._consumed = 0
        self._next_eviction = 0
        self.described = 0  # records taken in
        self.args_unread = 0  # processes whose arguments neither the kernel's record nor /proc has told
        self.get = self._known.get

    def __len__(self) -> int:
        return len(self._known)

    def add(self, record: bytes) -> None:
        """Take in a process record (struct process_record and its strings).

        Raises DecodeError when the record is shorter than it says.
        """
        process, cgroup, path, argv = split_record(record)
        known = KnownProcess(self._fields(process, cgroup, path, argv), process.comm, self._parent_fields(process))
        self._known[process.process_id] = known
        self.described += 1
        self._size += known.size
        if not self._keep and self.crowded and self._consumed >= self._next_eviction:
            self._evict()

    @property
    def crowded(self) -> bool:
        """Whether there are more than should be kept."""
        return len(self._known) > self._limit or self._size > SIZE_LIMIT

    def forget_old(self) -> None:
        """Let go what was old at the last call, and name what is old now: for those who keep ids between calls only."""
        self._drop_old()
        if self.crowded:
            self._evict()

    def note_consumed(self, size: int) -> None:
        """Count size bytes as read from the ring buffer."""
        self._consumed += size

    def _drop_old(self) -> None:
        for process_id in [known for known in self._known if known < self._oldest]:
            self._size -= self._known.pop(process_id).size

    def _evict(self) -> None:
        self._drop_old()
        ids = sorted(self._known)
        self._oldest = ids[len(ids) // 2]
        self._set_oldest(self._oldest)
        # What was written before the kernel was told, and what a preempted program writes a little later.
        self._next_eviction = self._consumed + self._waiting() + LATE_RECORDS

    def _fields(self, process: ProcessRecord, cgroup: bytes, path: bytes, argv: bytes) -> dict[str, Any]:
        image = self._image(process, path, argv)
        fields: dict[str, Any] = {
            "start_time": format_timestamp(self._clock.start_time(process.start_time_ns)),
            "pid": process.pid,
            "tid": 0,
            "ppid": process.ppid,
            "uid": process.uid,
            "euid": process.euid,
            "gid": process.gid,
            "egid": process.egid,
            "auid": process.auid,
            "cap_inheritable": format_capabilities(process.cap_inheritable, self._last_cap),
            "cap_permitted": format_capabilities(process.cap_permitted, self._last_cap),
            "cap_effective": format_capabilities(process.cap_effective, self._last_cap),
            **image,
        }
        container_id = _container_id(cgroup)
        if container_id is not None:
            fields["container_id"] = container_id
        if self._tell_cgroup:
            fields["cgroup"] = cgroup_path(cgroup)
        return fields

    def _parent_fields(self, process: ProcessRecord) -> dict[str, Any] | None:
        parent = self._known.get(process.parent_id)
        # It may have ended after it was described, and left its child to another one.
        if parent is None or parent.fields["pid"] != process.ppid:
            return None
        return {**parent.fields, "tid": process.ppid}

    def _image(self, process: ProcessRecord, path: bytes, argv: bytes) -> dict[str, str]:
        """Return secureexec, filename, binary_path and args."""
        if process.flags & ProcessFlag.NO_IMAGE:
            return self._borrowed_image(process)
        name = path.decode(errors="backslashreplace")
        binary_path = name + DELETED * bool(process.flags & ProcessFlag.UNLINKED)
        if process.flags & (ProcessFlag.ARGS_INCOMPLETE | ProcessFlag.ARGS_UNREAD):
            argv = self._complete_args(process, binary_path, argv)
        return {
            "secureexec": format_secureexec(process.secureexec),
            "filename": name.rpartition("/")[2],
            "binary_path": binary_path,
            "args": format_args(argv),
        }

    def _borrowed_image(self, process: ProcessRecord) -> dict[str, str]:
        """An exiting process has given up its image: take that of the process it was forked from.

        The kernel names one that exec'd as often; another name means that it was another one's child after all.
        """
        lender = self._known.get(process.image_of)
        if lender is not None and lender.comm == process.comm:
            return {key: lender.fields[key] for key in ("secureexec", "filename", "binary_path", "args")}
        name = process.comm.rstrip(b"\0").decode(errors="backslashreplace")
        return {"secureexec": "", "filename": name, "binary_path": "", "args": ""}

    def _complete_args(self, process: ProcessRecord, binary_path: str, argv: bytes) -> bytes:
        cmdline = None
        if self._size <= SIZE_LIMIT:  # anyone may start processes, with as many arguments as these
            # Something else may have been exec'd since: the part that is known tells, or else the executable.
            exe, comm = None if argv else binary_path, process.comm.rstrip(b"\0")
            cmdline = self._read_cmdline(process.pid, process.start_time_ns, exe, comm)
        if cmdline is not None and cmdline.startswith(argv):
            return cmdline
        self.args_unread += bool(process.flags & ProcessFlag.ARGS_UNREAD)
        return argv


def split_record(record: bytes) -> tuple[ProcessRecord, bytes, bytes, bytes]:
    """Return a process record's fixed part, its cgroup names, path and argv.

    Raises DecodeError when the record is shorter than it says.
    """
    if len(record) < PROCESS_RECORD.size:
        raise DecodeError(f"a process record of {len(record)} bytes; at least {PROCESS_RECORD.size}")
    process = ProcessRecord._make(PROCESS_RECORD.unpack_from(record))
    path_at = PROCESS_RECORD.size + process.cgroup_length
    args_at = path_at + process.path_length
    end = args_at + process.args_length
    if len(record) < end:
        raise DecodeError(f"a process record of {len(record)} bytes that tells of {end}")
    return (
        process,
        record[PROCESS_RECORD.size : path_at],
        record[path_at:args_at],
        record[args_at:end],
    )


@lru_cache(maxsize=256)
def _container_id(cgroup: bytes) -> str | None:
    return container_id_of(cgroup_path(cgroup))


def cgroup_path(names: bytes) -> str:
    """Return the path for the kernel's names from the leaf up, each followed by '/'."""
    parts = names.decode(errors="backslashreplace").split("/")[:-1]
    return "/" + "/".join(reversed(parts))

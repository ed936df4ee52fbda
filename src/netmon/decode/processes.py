"""The processes that the kernel has described, by the id that events carry."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from netmon.decode.clock import Clock
from netmon.decode.format import container_id_of, format_args, format_capabilities, format_secureexec, format_timestamp
from netmon.errors import DecodeError
from netmon.layout import PROCESS_RECORD, ProcessFlag, ProcessRecord

if TYPE_CHECKING:
    from netmon.events import Process

DELETED = " (deleted)"  # as /proc/PID/exe marks it

# What to keep before the older half is let go: processes, and characters of their JSON.
DEFAULT_LIMIT = 8192
SIZE_LIMIT = 16 << 20

LATE_RECORDS = 64 << 10  # bytes

MAX_MODELS = 32  # of one process, by thread

PARTS_KEPT = 64  # of each kind: a path may be long

# Plain ints: an enum's members are slow to reach.
_NO_IMAGE = int(ProcessFlag.NO_IMAGE)
_UNLINKED = int(ProcessFlag.UNLINKED)
_ARGS_MISSING = int(ProcessFlag.ARGS_INCOMPLETE | ProcessFlag.ARGS_UNREAD)

# The fields of a record that credentials are, by the names that they have in events, too.
CREDENTIALS = slice(ProcessRecord._fields.index("uid"), ProcessRecord._fields.index("cap_effective") + 1)


class Part(NamedTuple):
    """Some of a process's fields, which many processes have alike."""

    fields: dict[str, Any]
    json: str  # the same, each behind a comma


def _part(fields: dict[str, Any]) -> Part:
    import orjson  # slow to import: not before the probes are attached

    return Part(fields, f",{orjson.dumps(fields).decode()[1:-1]}" if fields else "")


class KnownProcess:
    """One process image: its fields and its parent's, and an event's JSON around its thread id, up to both of them."""

    __slots__ = (
        "_args",
        "_credentials",
        "_image",
        "_models",
        "_parent_model",
        "_place",
        "_start_time",
        "comm",
        "json_head",
        "json_tail",
        "parent",
        "pid",
        "ppid",
        "size",
    )

    def __init__(
        self,
        start_time: str,
        process: ProcessRecord,
        credentials: Part,
        image: Part,
        args: str,
        place: Part,
        parent: dict[str, Any] | None = None,
    ) -> None:
        """parent: its fields alone, since it may be let go, and so may its own parent."""
        import orjson

        self._start_time = start_time
        self.pid = process.pid
        self.ppid = process.ppid
        self._credentials = credentials
        self._image = image
        self._args = args
        self._place = place
        self.comm = process.comm
        self.parent = parent
        self._models: dict[int, Process] = {}
        self._parent_model: Process | None = None
        # In the order of the model's fields. Put together here, for parts cost less than to write the whole each time.
        self.json_head = f'{{"type":"NetworkEvent","process":{{"start_time":"{start_time}","pid":{self.pid},"tid":'
        of_parent = f',"parent":{orjson.dumps(parent).decode()}' if parent else ""
        self.json_tail = (
            f',"ppid":{self.ppid}{credentials.json}{image.json},"args":{orjson.dumps(args).decode()}{place.json}}}'
            f"{of_parent}"
        )
        self.size = len(self.json_head) + len(self.json_tail)

    @property
    def fields(self) -> dict[str, Any]:
        """The process, without a thread: tid is 0."""
        return self.fields_of(0)

    def fields_of(self, tid: int) -> dict[str, Any]:
        """Return the process as thread tid of it is seen."""
        return {
            "start_time": self._start_time,
            "pid": self.pid,
            "tid": tid,
            "ppid": self.ppid,
            **self._credentials.fields,
            **self._image.fields,
            "args": self._args,
            **self._place.fields,
        }

    def lend(self) -> tuple[Part, str]:
        """Return the executable's part, and the arguments."""
        return self._image, self._args

    def json(self, tid: int) -> str:
        """Return the process alone, as thread tid of it is seen, as JSON."""
        import orjson

        return orjson.dumps(self.fields_of(tid)).decode()

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
            model = self._models[tid] = Process.model_validate(self.fields_of(tid))
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
        read_cmdline: Callable[[int, int, str | None, bytes], bytes | None],
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
        image, args = self._image(process, path, argv)
        known = KnownProcess(
            format_timestamp(self._clock.start_time(process.start_time_ns)),
            process,
            _credentials(process[CREDENTIALS], self._last_cap),
            image,
            args,
            _place(cgroup, self._tell_cgroup),
            self._parent_fields(process),
        )
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

    def _parent_fields(self, process: ProcessRecord) -> dict[str, Any] | None:
        parent = self._known.get(process.parent_id)
        # It may have ended after it was described, and left its child to another one.
        if parent is None or parent.pid != process.ppid:
            return None
        return parent.fields_of(process.ppid)

    def _image(self, process: ProcessRecord, path: bytes, argv: bytes) -> tuple[Part, str]:
        """Return the executable's part, and the arguments."""
        flags = process.flags
        if flags & _NO_IMAGE:
            return self._borrowed_image(process)
        image = _executable(path, flags & _UNLINKED, process.secureexec)
        if flags & _ARGS_MISSING:
            argv = self._complete_args(process, image.fields["binary_path"], argv)
        return image, format_args(argv)

    def _borrowed_image(self, process: ProcessRecord) -> tuple[Part, str]:
        """An exiting process has given up its image: take that of the process it was forked from.

        The kernel names one that exec'd as often; another name means that it was another one's child after all.
        """
        source = self._known.get(process.image_source)
        if source is not None and source.comm == process.comm:
            return source.lend()
        name = process.comm.rstrip(b"\0").decode(errors="backslashreplace")
        return _part({"secureexec": "", "filename": name, "binary_path": ""}), ""

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


@lru_cache(maxsize=PARTS_KEPT)
def _credentials(values: tuple[int, ...], last_cap: int) -> Part:
    """values: of the record's fields CREDENTIALS."""
    *ids, inheritable, permitted, effective = values
    capabilities = (format_capabilities(mask, last_cap) for mask in (inheritable, permitted, effective))
    return _part(dict(zip(ProcessRecord._fields[CREDENTIALS], (*ids, *capabilities), strict=True)))


@lru_cache(maxsize=PARTS_KEPT)
def _executable(path: bytes, unlinked: int, secureexec: int) -> Part:
    name = path.decode(errors="backslashreplace")
    return _part(
        {
            "secureexec": format_secureexec(secureexec),
            "filename": name.rpartition("/")[2],
            "binary_path": name + DELETED * bool(unlinked),
        }
    )


@lru_cache(maxsize=PARTS_KEPT)
def _place(cgroup: bytes, tell_cgroup: bool) -> Part:
    path = cgroup_path(cgroup)
    container_id = container_id_of(path)
    return _part(
        {
            **({"container_id": container_id} if container_id is not None else {}),
            **({"cgroup": path} if tell_cgroup else {}),
        }
    )


def cgroup_path(names: bytes) -> str:
    """Return the path for the kernel's names from the leaf up, each followed by '/'."""
    parts = names.decode(errors="backslashreplace").split("/")[:-1]
    return "/" + "/".join(reversed(parts))

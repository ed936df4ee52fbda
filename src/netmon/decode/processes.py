"""The processes that the kernel described, kept by the id that connection events refer to."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from netmon.decode.clock import Clock
from netmon.decode.format import (
    container_id_of,
    format_args,
    format_capabilities,
    format_json,
    format_secureexec,
    format_timestamp,
    json_members,
)
from netmon.errors import DecodeError
from netmon.layout import PROCESS_RECORD, Limit, ProcessFlag, ProcessRecord

if TYPE_CHECKING:
    from netmon.events import Process

DELETED = " (deleted)"  # as /proc/PID/exe marks it

# Limits of a ProcessTable: beyond one of them it evicts the older half.
DEFAULT_LIMIT = 8192  # processes
SIZE_LIMIT = 16 << 20  # characters of their JSON

# A BPF program that was preempted may write its record late: after so many bytes of others at most, a generous guess.
LATE_RECORDS = 64 << 10

MODELS_KEPT = 32  # of one process: one for each thread, as a server's threads take turns

FRAGMENTS_KEPT = 64  # of JSON, of each kind: many processes share them, but a path may be long

# Plain ints: members of an enum are slow to look up.
_NO_IMAGE = int(ProcessFlag.NO_IMAGE)
_UNLINKED = int(ProcessFlag.UNLINKED)
_ARGS_MISSING = int(ProcessFlag.ARGS_INCOMPLETE | ProcessFlag.ARGS_UNREAD)

# The fields of struct credentials in a record. Events have them as keys, with the same names in the same order.
CREDENTIALS = slice(ProcessRecord._fields.index("uid"), ProcessRecord._fields.index("pid"))

_EVENT = '{"type":"NetworkEvent","process":'
_PARENT = ',"parent":'


class KnownProcess:
    """A process as one record described it: with one executable and one set of credentials.

    All of its events begin with the same JSON, except for the thread id. So that is rendered once, here:

        {"type":"NetworkEvent","process":{"start_time":"...","pid":42,"tid":   json_head
                                                                          43   the thread id
        ,"ppid":1,"uid":0, ... ,"args":"..."},"parent":{ ... }                 json_tail

    The dict and the models are read back from this JSON: each key is written in one place.
    """

    __slots__ = (
        "_models",
        "_parent_model",
        "_process_end",
        "comm",
        "has_parent",
        "image",
        "json_head",
        "json_tail",
        "pid",
    )

    def __init__(
        self, start_time: str, record: ProcessRecord, credentials: str, image: str, container: str, parent: str
    ) -> None:
        """Render the process. The keys have the order of the model's fields.

        Args:
            start_time: The value of that key.
            record: The fixed part of the kernel's record.
            credentials: Members of the JSON, each preceded by a comma. So are `image` and `container`.
            image: The keys that an exec changes: the executable's and `args`.
            container: The keys of the process's cgroup.
            parent: The parent's JSON, "" without one. The parent itself may be evicted before its child.
        """
        self.pid = record.pid
        self.comm = record.comm
        self.image = image
        self.json_head = f'{_EVENT}{{"start_time":"{start_time}","pid":{record.pid},"tid":'
        self.json_tail = f',"ppid":{record.ppid}{credentials}{image}{container}}}'
        self._process_end = len(self.json_tail)  # where `parent` begins
        self.has_parent = bool(parent)
        if parent:
            self.json_tail += _PARENT + parent
        self._models: dict[int, Process] = {}
        self._parent_model: Process | None = None

    @property
    def size(self) -> int:
        """How many characters its JSON has."""
        return len(self.json_head) + len(self.json_tail)

    @property
    def fields(self) -> dict[str, Any]:
        """The keys of the process, in a new dict. `tid` is 0."""
        return _parse(self.json(0))

    @property
    def parent(self) -> dict[str, Any] | None:
        """The keys of its parent, in a new dict; None without one."""
        return _parse(self._parent_json) if self.has_parent else None

    @property
    def parent_model(self) -> Process | None:
        """The model of its parent; None without one."""
        if self._parent_model is None and self.has_parent:
            self._parent_model = _model_parser()(self._parent_json)
        return self._parent_model

    @property
    def _parent_json(self) -> str:
        return self.json_tail[self._process_end + len(_PARENT) :]

    def json(self, tid: int) -> str:
        """Return the process, with thread `tid`, as JSON."""
        return f"{self.json_head[len(_EVENT) :]}{tid}{self.json_tail[: self._process_end]}"

    def json_with_parent(self) -> str:
        """Return the members `process` and `parent` of an event that belongs to no thread: `tid` is the process id."""
        return f'"process":{self.json_head[len(_EVENT) :]}{self.pid}{self.json_tail}'

    def model(self, tid: int) -> Process:
        """Return the process, with thread `tid`, as the pydantic model."""
        model = self._models.get(tid)
        if model is None:
            if len(self._models) >= MODELS_KEPT:
                self._models.clear()
            model = self._models[tid] = _model_parser()(self.json(tid))
        return model


def _parse(json: str) -> dict[str, Any]:
    import orjson  # imported late: slow, and start-up does not need it

    fields: dict[str, Any] = orjson.loads(json)
    return fields


@lru_cache(maxsize=1)
def _model_parser() -> Callable[[str], Process]:
    from pydantic import TypeAdapter  # imported late: slow, and JSON lines do not need it

    from netmon.events import Process

    return TypeAdapter(Process).validator.validate_json


class ProcessTable:
    """A bounded mapping of process ids to KnownProcess.

    Beyond its limits it evicts the older half, in two steps. First the kernel is given a new oldest id: it describes
    processes with lower ids again before their next events. Once all records written before that have been read, the
    processes with lower ids are dropped.
    """

    def __init__(
        self,
        clock: Clock,
        last_cap: int,
        *,
        bytes_waiting: Callable[[], int],
        set_oldest: Callable[[int], None],
        read_cmdline: Callable[[int, int, str, bytes], bytes | None],
        limit: int = DEFAULT_LIMIT,
        evict_on_add: bool = True,
        with_cgroup: bool = False,
    ) -> None:
        """Make an empty table.

        Args:
            clock: Converts the processes' start times.
            last_cap: The number of the kernel's last capability.
            bytes_waiting: Returns how many bytes of records wait in the ring buffer.
            set_oldest: Has the kernel describe the processes with ids below this one again.
            read_cmdline: Returns a live process's argv, or None: see netmon.kernel.cmdline_reader.
            limit: How many processes to keep.
            evict_on_add: Whether add() evicts. If not, only evict() does.
            with_cgroup: Whether processes have the key `cgroup`.
        """
        self._clock = clock
        self._last_cap = last_cap
        self._bytes_waiting = bytes_waiting
        self._set_oldest = set_oldest
        self._read_cmdline = read_cmdline
        self._limit = limit
        self._evict_on_add = evict_on_add
        self._with_cgroup = with_cgroup
        self._known: dict[int, KnownProcess] = {}
        self._oldest = 0
        self._size = 0
        self._consumed = 0
        self._next_eviction = 0  # in bytes consumed
        self.described = 0  # how many records were added
        self.args_unread = 0  # processes whose arguments /proc did not give either, or not all of them
        self.get = self._known.get

    def __len__(self) -> int:
        return len(self._known)

    def add(self, record: bytes) -> None:
        """Add the process that a record describes.

        Args:
            record: A struct process_record and the strings that follow it.

        Raises:
            DecodeError: The record is shorter than its lengths say.
        """
        process, cgroup, path, argv = split_record(record)
        known = KnownProcess(
            format_timestamp(self._clock.start_time(process.start_time_ns)),
            process,
            _credentials(process[CREDENTIALS], self._last_cap),
            self._image(process, path, argv),
            _container(cgroup, self._with_cgroup),
            self._parent_json(process),
        )
        self._known[process.process_id] = known
        self.described += 1
        self._size += known.size
        if self._evict_on_add and self.over_limit and self._consumed >= self._next_eviction:
            self._drop_old()
            self._move_oldest()

    @property
    def over_limit(self) -> bool:
        """Whether there are more processes, or larger ones, than should be kept."""
        return len(self._known) > self._limit or self._size > SIZE_LIMIT

    def evict(self) -> None:
        """Drop what was old at the last call, then decide what is old now.

        For users that keep process ids between two calls, but not longer, as aggregates do for a period.
        """
        self._drop_old()
        if self.over_limit:
            self._move_oldest()

    def note_consumed(self, size: int) -> None:
        """Count bytes that were read from the ring buffer."""
        self._consumed += size

    def _drop_old(self) -> None:
        for process_id in [known for known in self._known if known < self._oldest]:
            self._size -= self._known.pop(process_id).size

    def _move_oldest(self) -> None:
        ids = sorted(self._known)
        self._oldest = ids[len(ids) // 2]
        self._set_oldest(self._oldest)
        # Records that may refer to an older id: those that wait already, and those that a preempted program adds late.
        self._next_eviction = self._consumed + self._bytes_waiting() + LATE_RECORDS

    def _parent_json(self, process: ProcessRecord) -> str:
        parent = self._known.get(process.parent_id)
        # If the parent has ended since it was described, its child has another one.
        if parent is None or parent.pid != process.ppid:
            return ""
        return parent.json(process.ppid)

    def _image(self, process: ProcessRecord, path: bytes, argv: bytes) -> str:
        flags = process.flags
        if flags & _NO_IMAGE:
            return self._image_of_source(process)
        if flags & _ARGS_MISSING and not argv:  # not for the rest of long ones
            argv = self._complete_args(process, path)
        return _image_json(_executable(path, flags & _UNLINKED, process.secureexec), format_args(argv))

    def _image_of_source(self, process: ProcessRecord) -> str:
        """Return the image of the process that this one was forked from, for the kernel has freed an exiting one's own.

        The kernel names a source that has exec'd as often. A source of another name must be a wrong guess.
        """
        source = self._known.get(process.image_source)
        if source is not None and source.comm == process.comm:
            return source.image
        name = process.comm.rstrip(b"\0").decode(errors="backslashreplace")
        return _image_json(json_members({"secureexec": "", "filename": name, "binary_path": ""}), "")

    def _complete_args(self, process: ProcessRecord, path: bytes) -> bytes:
        """Return the arguments of a process whose memory the kernel half could not read."""
        exe = _binary_path(path, process.flags & _UNLINKED)
        argv = self._read_cmdline(process.pid, process.start_time_ns, exe, process.comm.rstrip(b"\0"))
        if argv is None or len(argv) > Limit.ARGS_SIZE:
            self.args_unread += bool(process.flags & ProcessFlag.ARGS_UNREAD)  # the kernel half counts the others
        return (argv or b"")[: Limit.ARGS_SIZE]


def split_record(record: bytes) -> tuple[ProcessRecord, bytes, bytes, bytes]:
    """Return a process record's fixed part, its cgroup names, path and argv.

    Raises:
        DecodeError: The record is shorter than its lengths say.
    """
    if len(record) < PROCESS_RECORD.size:
        raise DecodeError(f"a process record has {len(record)} bytes, but needs at least {PROCESS_RECORD.size}")
    process = ProcessRecord._make(PROCESS_RECORD.unpack_from(record))
    path_at = PROCESS_RECORD.size + process.cgroup_length
    args_at = path_at + process.path_length
    end = args_at + process.args_length
    if len(record) < end:
        raise DecodeError(f"a process record has {len(record)} bytes, but its lengths say {end}")
    return (
        process,
        record[PROCESS_RECORD.size : path_at],
        record[path_at:args_at],
        record[args_at:end],
    )


@lru_cache(maxsize=FRAGMENTS_KEPT)
def _credentials(values: tuple[int, ...], last_cap: int) -> str:
    """Return the members for the CREDENTIALS of a record."""
    fields = zip(ProcessRecord._fields[CREDENTIALS], values, strict=True)
    return json_members(
        {key: format_capabilities(value, last_cap) if key.startswith("cap_") else value for key, value in fields}
    )


@lru_cache(maxsize=FRAGMENTS_KEPT)
def _executable(path: bytes, unlinked: int, secureexec: int) -> str:
    return json_members(
        {
            "secureexec": format_secureexec(secureexec),
            "filename": path.decode(errors="backslashreplace").rpartition("/")[2],
            "binary_path": _binary_path(path, unlinked),
        }
    )


def _binary_path(path: bytes, unlinked: int) -> str:
    return path.decode(errors="backslashreplace") + DELETED * bool(unlinked)


def _image_json(executable: str, args: str) -> str:
    return f'{executable},"args":{format_json(args)}'


@lru_cache(maxsize=FRAGMENTS_KEPT)
def _container(cgroup: bytes, with_cgroup: bool) -> str:
    path = cgroup_path(cgroup)
    container_id = container_id_of(path)
    return json_members(
        {
            **({"container_id": container_id} if container_id is not None else {}),
            **({"cgroup": path} if with_cgroup else {}),
        }
    )


def cgroup_path(names: bytes) -> str:
    """Return a cgroup's path from its names, which the kernel lists from the leaf up, each followed by '/'."""
    parts = names.decode(errors="backslashreplace").split("/")[:-1]
    return "/" + "/".join(reversed(parts))

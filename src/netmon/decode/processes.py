"""The processes that the kernel described, kept by the id that connection events refer to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from netmon.decode.clock import Clock
from netmon.decode.format import (
    byte_size,
    container_id_of,
    fit_json,
    format_args,
    format_capabilities,
    format_secureexec,
    format_timestamp,
    json_members,
)
from netmon.errors import DecodeError
from netmon.layout import PROCESS_RECORD, Limit, ProcessFlag, ProcessRecord
from netmon.limits import DEFAULT_LINE_LIMIT

if TYPE_CHECKING:
    from netmon.events import Process

DELETED = " (deleted)"  # as /proc/PID/exe marks it

# Limits of a ProcessTable: beyond one of the first two it evicts the older half. It does so at once, and loses events
# that wait in the ring buffer, beyond the last one: a full ring buffer may describe a million processes.
DEFAULT_LIMIT = 8192  # processes
SIZE_LIMIT = 16 << 20  # bytes that they take
HARD_SIZE_LIMIT = 64 << 20
PROCESS_SIZE = 800  # bytes of a process beside the texts that have any length

MODELS_SIZE_LIMIT = 16 << 20  # bytes of all models together
MODEL_SIZE = 4 << 10  # bytes of a model beside its texts

# A BPF program that was preempted may write its record late: after so many bytes of others at most, a generous guess.
LATE_RECORDS = 64 << 10

FRAGMENTS_KEPT = 64  # of JSON, of each kind: many processes share them, but a path may be long

# Bytes of a line, at most, beside its processes; and of a process beside its credentials and the texts below.
LINE_REST = 1 << 10
PROCESS_REST = 256
# How the texts of a process share the bytes that its line leaves them. The arguments get the rest, up to a limit of
# their own: each event repeats them.
FILENAME_SHARE, PATH_SHARE, CGROUP_SHARE = 2 / 16, 5 / 16, 3 / 16
ARGS_LIMIT = 8 << 10
ROOM_STEP = 256  # the room is rounded to it, so that processes with other credentials share texts, too

# Plain ints: members of an enum are slow to look up.
_NO_IMAGE = int(ProcessFlag.NO_IMAGE)
_UNLINKED = int(ProcessFlag.UNLINKED)
_PATH_INCOMPLETE = int(ProcessFlag.PATH_INCOMPLETE)
_PATH_FLAGS = int(ProcessFlag.UNLINKED | ProcessFlag.PATH_INCOMPLETE)
_ARGS_INCOMPLETE = int(ProcessFlag.ARGS_INCOMPLETE)
_ARGS_MISSING = int(ProcessFlag.ARGS_INCOMPLETE | ProcessFlag.ARGS_UNREAD)

# The fields of struct credentials in a record. Events have them as keys, with the same names in the same order.
CREDENTIALS = slice(ProcessRecord._fields.index("uid"), ProcessRecord._fields.index("pid"))

_EVENT = '{"type":"NetworkEvent","process":'
_PARENT = ',"parent":'


class Part(NamedTuple):
    """A part of a process's JSON: some members, each preceded by a comma."""

    json: str
    cut: tuple[str, ...] = ()  # the keys whose values are not whole
    size: int = 0  # bytes of the JSON, where others need to know it


class ModelMemory:
    """Bounds the memory of the models of all processes of a table: they are dropped together."""

    def __init__(self) -> None:
        self._holders: list[dict[int, Process]] = []
        self._size = 0

    def keep(self, holder: dict[int, Process], key: int, model: Process, size: int) -> None:
        """Keep a model in a process's dict until there are too many. size: its bytes."""
        if self._size + size > MODELS_SIZE_LIMIT:
            for models in self._holders:
                models.clear()
            self._holders.clear()
            self._size = 0
        if not holder:
            self._holders.append(holder)
        holder[key] = model
        self._size += size


_PARENT_KEY = -1  # of the parent's model among those of a process, which have thread ids


class KnownProcess:
    """A process as one record described it: with one executable and one set of credentials.

    All of its events begin with the same JSON, except for the thread id. So that is rendered once, here:

        {"type":"NetworkEvent","process":{"start_time":"...","pid":42,"tid":   json_head
                                                                          43   the thread id
        ,"ppid":1,"uid":0, ... ,"args":"..."},"parent":{ ... }                 json_tail

    Its length is bounded, for each event repeats it, and a process may have megabytes of arguments.

    The dict and the models are read back from this JSON: each key is written in one place.
    """

    __slots__ = (
        "_image_at",
        "_image_length",
        "_memory",
        "_models",
        "_process_end",
        "comm",
        "cut",
        "has_parent",
        "json_head",
        "json_tail",
        "pid",
        "size",
    )

    def __init__(
        self,
        start_time: str,
        record: ProcessRecord,
        credentials: str,
        image: Part,
        container: Part,
        parent: str,
        memory: ModelMemory,
    ) -> None:
        """Render the process. The keys have the order of the model's fields.

        Args:
            start_time: The value of that key.
            record: The fixed part of the kernel's record.
            credentials: Members of the JSON, each preceded by a comma.
            image: The keys that an exec changes: the executable's and `args`.
            container: The keys of the process's cgroup.
            parent: The parent's JSON, "" without one. The parent itself may be evicted before its child.
            memory: Bounds the memory of its models.
        """
        self.pid = record.pid
        self.comm = record.comm
        self.json_head = f'{_EVENT}{{"start_time":"{start_time}","pid":{record.pid},"tid":'
        ppid = f',"ppid":{record.ppid}'
        self.cut = cut = image.cut + container.cut
        truncated = f',"truncated":"{" | ".join(cut)}"' if cut else ""
        self.json_tail = f"{ppid}{credentials}{image.json}{container.json}{truncated}}}"
        self._image_at = len(ppid) + len(credentials)  # in json_tail
        self._image_length = len(image.json)
        self._process_end = len(self.json_tail)  # where `parent` begins
        self.has_parent = bool(parent)
        if parent:
            self.json_tail += _PARENT + parent
        self._models: dict[int, Process] = {}
        self._memory = memory
        # Bytes that it takes: a character takes up to four, if the text has an emoji, for example.
        self.size = PROCESS_SIZE + sys.getsizeof(self.json_tail)

    @property
    def image(self) -> Part:
        """The keys that an exec changes."""
        json = self.json_tail[self._image_at : self._image_at + self._image_length]
        return Part(json, tuple(key for key in self.cut if key != "cgroup"))

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
        if not self.has_parent:
            return None
        return self._models.get(_PARENT_KEY) or self._parse_model(_PARENT_KEY, self._parent_json)

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
        return self._models.get(tid) or self._parse_model(tid, self.json(tid))

    def _parse_model(self, key: int, json: str) -> Process:
        model = _model_parser()(json)
        self._memory.keep(self._models, key, model, sys.getsizeof(json) + MODEL_SIZE)
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
        line_limit: int = DEFAULT_LINE_LIMIT,
        roles: int = 1,
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
            line_limit: How many bytes an event's line may have.
            roles: How many processes an event may have: beside its own the parent, the opener.
            evict_on_add: Whether add() evicts. If not, only evict() does.
            with_cgroup: Whether processes have the key `cgroup`.
        """
        self._clock = clock
        self._last_cap = last_cap
        self._bytes_waiting = bytes_waiting
        self._set_oldest = set_oldest
        self._read_cmdline = read_cmdline
        self._limit = limit
        self._text_limit = (line_limit - LINE_REST) // roles - PROCESS_REST
        self._evict_on_add = evict_on_add
        self._with_cgroup = with_cgroup
        self._known: dict[int, KnownProcess] = {}
        self._oldest = 0
        self._size = 0
        self._consumed = 0
        self._next_eviction = 0  # in bytes consumed
        self.described = 0  # how many records were added
        # Processes reported with only a part of their path, arguments or cgroup. The kernel has not counted these.
        self.path_incomplete = self.args_incomplete = self.cgroup_incomplete = 0
        self.longest = 0  # characters of a process's JSON: the most of those known
        self._models = ModelMemory()
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
        credentials, room = _credentials(process[CREDENTIALS], self._last_cap, self._text_limit)
        container = _container(cgroup, self._with_cgroup, room)
        image = self._image(process, path, argv, room, room - container.size)
        start_time = format_timestamp(self._clock.start_time(process.start_time_ns))
        parent = self._parent_json(process) if process.parent_id else ""
        known = KnownProcess(start_time, process, credentials, image, container, parent, self._models)
        if known.cut:
            self._count_cuts(known.cut, process.flags)
        self.described += 1
        process_id = process.process_id
        if process_id in self._known:
            self._size -= self._known[process_id].size
        self._known[process_id] = known
        self._size += known.size
        if len(known.json_tail) > self.longest:
            self.longest = len(known.json_tail)
        if self._evict_on_add and self.over_limit and self._consumed >= self._next_eviction:
            self._drop_old()
            self._move_oldest()
        while self._size > HARD_SIZE_LIMIT and len(self._known) > 1:
            self._move_oldest()
            self._drop_old()

    def _count_cuts(self, cut: tuple[str, ...], flags: int) -> None:
        self.path_incomplete += not flags & _PATH_INCOMPLETE and not {"filename", "binary_path"}.isdisjoint(cut)
        self.args_incomplete += not flags & _ARGS_INCOMPLETE and "args" in cut
        self.cgroup_incomplete += "cgroup" in cut

    @property
    def over_limit(self) -> bool:
        """Whether there are more processes, or larger ones, than should be kept."""
        return len(self._known) > self._limit or self._size > SIZE_LIMIT

    @property
    def far_over_limit(self) -> bool:
        """Whether they take so much memory that they cannot be kept for any longer."""
        return self._size > 2 * SIZE_LIMIT

    @property
    def position(self) -> int:
        """The position in the ring buffer where the records end that wait now."""
        return self._consumed + self._bytes_waiting()

    def has_read_to(self, position: int) -> bool:
        """Return whether the records up to this position have been read."""
        return self._consumed >= position

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
        self.longest = max((len(known.json_tail) for known in self._known.values()), default=0)

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

    def _image(self, process: ProcessRecord, path: bytes, argv: bytes, room: int, image_room: int) -> Part:
        """Return the keys that an exec changes. image_room: the bytes that they may take, of the room for all texts."""
        flags = process.flags
        if flags & _NO_IMAGE:
            return self._image_of_source(process, room, image_room)
        complete = not flags & _ARGS_MISSING
        if not complete and not argv:  # not for the rest of long ones
            argv, complete = self._complete_args(process, path)
        return _image_part(path, flags & _PATH_FLAGS, process.secureexec, argv, complete, room, image_room)

    def _image_of_source(self, process: ProcessRecord, room: int, image_room: int) -> Part:
        """Return the image of the process that this one was forked from, for the kernel has freed an exiting one's own.

        The kernel names a source that has exec'd as often. A source of another name must be a wrong guess.
        """
        source = self._known.get(process.image_source)
        if source is not None and source.comm == process.comm:
            image = source.image
            if byte_size(image.json) <= image_room:
                return image
            texts = _parse(f"{{{image.json[1:]}}}")
            executable = _executable_part(texts["secureexec"], texts["filename"], texts["binary_path"], room, image.cut)
            return _with_args(executable, texts["args"], image_room, "args" not in image.cut)
        name = process.comm.rstrip(b"\0").decode(errors="backslashreplace")
        return _with_args(_executable_part("", name, "", room), "", image_room)

    def _complete_args(self, process: ProcessRecord, path: bytes) -> tuple[bytes, bool]:
        """Return the arguments of a process whose memory the kernel half could not read, and whether they are whole."""
        exe = _binary_path(path, process.flags & _UNLINKED)
        argv = self._read_cmdline(process.pid, process.start_time_ns, exe, process.comm.rstrip(b"\0"))
        return (b"", False) if argv is None else (argv[: Limit.ARGS_SIZE], len(argv) <= Limit.ARGS_SIZE)


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
def _credentials(values: tuple[int, ...], last_cap: int, limit: int) -> tuple[str, int]:
    """Return the members for the CREDENTIALS of a record, and the room that they leave of limit bytes for texts."""
    fields = zip(ProcessRecord._fields[CREDENTIALS], values, strict=True)
    members = json_members(
        {key: format_capabilities(value, last_cap) if key.startswith("cap_") else value for key, value in fields}
    )
    return members, (limit - len(members)) // ROOM_STEP * ROOM_STEP


@lru_cache(maxsize=FRAGMENTS_KEPT)
def _image_part(
    path: bytes, flags: int, secureexec: int, argv: bytes, complete: bool, room: int, image_room: int
) -> Part:
    executable = _executable(path, flags, secureexec, room)
    # Each byte takes at least one in JSON. So what is beyond the limit and one whole character is cut in any case.
    return _with_args(executable, format_args(argv, ARGS_LIMIT + 4), image_room, complete)


@lru_cache(maxsize=FRAGMENTS_KEPT)
def _executable(path: bytes, flags: int, secureexec: int, room: int) -> Part:
    """Return the executable's keys. room: the bytes for all texts of the process."""
    name = path.decode(errors="backslashreplace").rpartition("/")[2]
    cut = ("binary_path",) if flags & _PATH_INCOMPLETE else ()
    return _executable_part(format_secureexec(secureexec), name, _binary_path(path, flags & _UNLINKED), room, cut)


def _executable_part(secureexec: str, name: str, path: str, room: int, cut: tuple[str, ...] = ()) -> Part:
    """Return the executable's keys. cut: those whose values were not whole before."""
    filename, name_cut = fit_json(name, int(room * FILENAME_SHARE))
    # What matters most of a path is its end.
    binary_path, path_cut = fit_json(path, int(room * PATH_SHARE), keep_end=True)
    was_cut = {"filename": name_cut or "filename" in cut, "binary_path": path_cut or "binary_path" in cut}
    json = f',"secureexec":"{secureexec}","filename":{filename},"binary_path":{binary_path}'
    return Part(json, tuple(key for key, value in was_cut.items() if value), byte_size(json))


def _with_args(executable: Part, args: str, room: int, complete: bool = True) -> Part:
    """Return the keys that an exec changes. room: the bytes that they may take; complete: whether args are whole."""
    left = room - executable.size
    json, cut = fit_json(args, left if left < ARGS_LIMIT else ARGS_LIMIT)
    not_whole = executable.cut if complete and not cut else (*executable.cut, "args")
    return tuple.__new__(Part, (f'{executable.json},"args":{json}', not_whole, 0))  # in half the time of Part()


def _binary_path(path: bytes, unlinked: int) -> str:
    return path.decode(errors="backslashreplace") + DELETED * bool(unlinked)


@lru_cache(maxsize=FRAGMENTS_KEPT)
def _container(cgroup: bytes, with_cgroup: bool, room: int) -> Part:
    """Return the keys of the process's cgroup. room: the bytes for all texts of the process."""
    path = cgroup_path(cgroup)
    container_id = container_id_of(path)
    members = f',"container_id":"{container_id}"' if container_id is not None else ""
    if not with_cgroup:
        return Part(members, (), byte_size(members))
    json, cut = fit_json(path, int(room * CGROUP_SHARE), keep_end=True)
    members += f',"cgroup":{json}'
    return Part(members, ("cgroup",) if cut else (), byte_size(members))


def cgroup_path(names: bytes) -> str:
    """Return a cgroup's path from its names, which the kernel lists from the leaf up, each followed by '/'."""
    parts = names.decode(errors="backslashreplace").split("/")[:-1]
    return "/" + "/".join(reversed(parts))

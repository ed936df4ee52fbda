"""The processes that the kernel described, kept by the id that connection events refer to."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING

from netmon.decode.ancestors import (
    Lineage,
    Texts,
    ancestors_part,
    ancestors_size,
    split_ancestors,
)
from netmon.decode.clock import Clock
from netmon.decode.format import format_timestamp
from netmon.decode.images import (
    ARGS_INCOMPLETE,
    CGROUP_INCOMPLETE,
    PATH_INCOMPLETE,
    Cgroup,
    Exec,
    Image,
    SharedMemory,
    Traits,
    UnknownExec,
    nameless_image,
    split_exec_record,
)
from netmon.decode.known_process import KnownProcess, More, RenderedMemory
from netmon.decode.structs import format_of, format_without
from netmon.decode.texts import CREDENTIALS, NO_PART, Part, credentials_part, round_room
from netmon.errors import DecodeError
from netmon.layout import FIELDS, PROCESS_RECORD, Ancestor, Limit, ProcessFlag, ProcessRecord
from netmon.limits import DEFAULT_LINE_LIMIT
from netmon.workload import WORKLOAD_SIZE

if TYPE_CHECKING:
    from netmon.decode.workloads import NameSource, Workloads

if TYPE_CHECKING:
    from netmon.names.naming import Naming

# Limits of a ProcessTable: beyond one of the first two it evicts the older half. It does so at once, and loses events
# that wait in the ring buffer, beyond the last one: a full ring buffer may describe a million processes.
DEFAULT_LIMIT = 8192  # processes
SIZE_LIMIT = 16 << 20  # bytes that they take
HARD_SIZE_LIMIT = 64 << 20

# A BPF program that was preempted may write its record late: after so many bytes of others at most, a generous guess.
LATE_RECORDS = 64 << 10

# Bytes of a line, at most, beside its processes; and of a process beside its credentials and its texts.
LINE_REST = 1 << 10
NAMES_REST = 1920  # more, with names: five of 253 characters
PROCESS_REST = 256
ID_SIZE = 80  # of its id
EXEC_REST = 256  # of what it exec'd beside the texts

SOURCES_KEPT = 64  # images and cgroups that other processes may have, too

# Bytes of the exec records that are kept until the record of their process comes. It comes right behind, but for a
# program that was preempted: this is more than LATE_RECORDS by far. An entry has some bytes beside its record.
EXECS_SIZE = 1 << 20
EXEC_ENTRY_SIZE = 256
LINEAGES_KEPT = 1024  # likewise

# Plain ints: members of an enum are slow to look up.
_NO_IMAGE = int(ProcessFlag.NO_IMAGE)
_ARGS_MISSING = int(ProcessFlag.ARGS_INCOMPLETE | ProcessFlag.ARGS_UNREAD)
_IMAGE_FLAGS = int(ProcessFlag.UNLINKED | ProcessFlag.PATH_INCOMPLETE)


# The fields of a record that tell who the process is: others, and the strings, are the traits that processes share.
_LAYOUT = (PROCESS_RECORD.format, FIELDS["ProcessRecord"])
WHO = ("process_id", "image_source", "cgroup_source", "start_time_ns", "pid", "ppid", "parent_id", "exec_id")
_unpack_who = Struct(f"={format_of(WHO, _LAYOUT)[0]}").unpack_from
_unpack_uid = Struct(f"={format_of(('uid',), _LAYOUT)[0]}").unpack_from
# Nor are where it comes from, and the thread's name, which tells nothing that is reported of a process with an image.
_ORIGIN = tuple(name for name in FIELDS["ProcessRecord"] if name.startswith("origin_"))
_unpack_traits = Struct(f"={format_without((*WHO, 'comm', *_ORIGIN), _LAYOUT)}").unpack_from

TRAITS_SIZE_LIMIT = 1 << 20  # bytes of the traits that are remembered; beyond, all are forgotten at once
TRAITS_SIZE = 1 << 10  # of one beside its record and its texts


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
        with_exec: bool = False,
        with_argv: bool = False,
        naming: Naming | None = None,
        name_source: NameSource | None = None,
        boot_id: str = "",
        with_ancestors: bool = False,
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
            with_exec: Whether they may have the key `exec`, which takes half of the room for texts.
            with_argv: Whether they have the key `argv`, which takes half of the room for arguments.
            naming: Wants to know where processes come from. Names take room of the line.
            name_source: Knows names for the key `workload`; None: they do not have it.
            boot_id: The boot's part of the key `id`; "": processes do not have it.
            with_ancestors: Whether they may have the key `ancestors`.
        """
        self._clock = clock
        self._last_cap = last_cap
        self._bytes_waiting = bytes_waiting
        self._set_oldest = set_oldest
        self._read_cmdline = read_cmdline
        self._limit = limit
        self._naming = naming
        self._workloads = _workloads(name_source) if name_source else None
        self._boot_id = boot_id
        self._ancestors_size = ancestors_size(line_limit) if with_ancestors else 0
        self._has_more = bool(name_source or boot_id or with_ancestors)
        rest = LINE_REST + WORKLOAD_SIZE * bool(name_source) + self._ancestors_size
        rest += NAMES_REST if naming is not None else 0
        self._text_limit = (line_limit - rest) // roles - PROCESS_REST - ID_SIZE * bool(boot_id)
        self._evict_on_add = evict_on_add
        self._with_cgroup = with_cgroup
        self._with_exec = with_exec
        self._with_argv = with_argv
        # Many processes run the same: their texts are rendered once, and kept once.
        self._image_of = lru_cache(maxsize=SOURCES_KEPT)(Image)
        self._cgroup_of = lru_cache(maxsize=SOURCES_KEPT)(Cgroup)
        self._traits: dict[tuple[bytes, ...], Traits] = {}
        self._traits_size = 0
        self._lineages: dict[int, Lineage] = {}  # of processes whose record comes next, by their numbers
        self._execs: dict[int, bytes] = {}  # the last records, by their ids
        self._execs_size = 0
        self._known: dict[int, KnownProcess] = {}
        # Of processes that were dropped at once, while records that refer to them may wait.
        self._sources: dict[int, tuple[Image, Cgroup]] = {}
        self._shared = SharedMemory()  # the images and cgroups of both
        self._oldest = 0
        self._size = 0  # of the processes alone
        self._consumed = 0
        self._next_eviction = 0  # in bytes consumed
        self.described = 0  # how many process records were added
        self.others_added = 0  # how many further records about processes
        # Processes reported with only a part of their path, arguments, cgroup or exec. The kernel has not counted them.
        self.path_incomplete = self.args_incomplete = self.cgroup_incomplete = self.exec_incomplete = 0
        self.longest = 0  # characters of a process's JSON: the most of those known
        self._rendered = RenderedMemory()
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
        _check_size(record)
        process_id, image_source, cgroup_source, start_time, pid, ppid, parent_id, exec_id = _unpack_who(record)
        if image_source or cgroup_source or exec_id:
            traits = self._describe(record)
        else:
            key = (*_unpack_traits(record), record[PROCESS_RECORD.size :])
            traits = self._traits.get(key) or self._describe(record, key)
        known = KnownProcess(
            pid,
            format_timestamp(self._clock.start_time(start_time)),
            ppid,
            traits,
            self._parent(parent_id, ppid) if parent_id else None,
            self._rendered,
            self._more(record, process_id, start_time, pid, traits) if self._has_more else None,
        )
        if self._naming is not None:
            known.origin = self._naming.note_process(ProcessRecord._make(PROCESS_RECORD.unpack_from(record)))
        self.described += 1
        if process_id in self._known:
            self._drop(process_id)
        self._known[process_id] = known
        self._size += known.size
        self._shared.hold(traits)
        self._shared.hold(known.parent_traits)
        if known.length > self.longest:
            self.longest = known.length
        if self._evict_on_add and self._consumed >= self._next_eviction and self.over_limit:
            self._drop_old()
            self._move_oldest()
        while self._size + self._shared.size > HARD_SIZE_LIMIT and len(self._known) > 1:
            self._move_oldest()
            self._keep_sources()
            self._drop_processes()
            if self.size > HARD_SIZE_LIMIT:
                self._drop_sources()

    def _more(self, record: bytes, process_id: int, start_time: int, pid: int, traits: Traits) -> More:
        """Return what further options tell of a process."""
        workload = self._workloads.find(traits.cgroup, *_unpack_uid(record)) if self._workloads else None
        return More(self._id_member(start_time, pid), workload, self._ancestors(process_id))

    def _describe(self, record: bytes, key: tuple[bytes, ...] | None = None) -> Traits:
        """Return the traits of a process. They are remembered by the key, if they depend on nothing else."""
        process, names, container_id, path, argv = split_record(record)
        image = self._image(process, path, argv)
        cgroup = self._cgroup(process, names, container_id)
        credentials = credentials_part(process[CREDENTIALS], self._last_cap)
        room = self._text_limit - credentials.size
        room = round_room((room - EXEC_REST) // 2 if self._with_exec else room)
        cgroup_part = cgroup.part(self._shared, room, 0)
        own_room = room - cgroup_part.size
        argv_room = own_room // 2 if self._with_argv else 0
        image_part = image.part(self._shared, room, round_room(own_room - argv_room))
        exec_part = image.exec.part(self._shared, room, room) if image.exec else NO_PART
        parts = (image_part, cgroup_part, exec_part)
        traits = Traits(credentials.json, image, cgroup, parts, process.foreign, argv_room)
        if traits.cut:  # they are counted for each process
            self._count_cuts(traits.cut, process, image)
        elif key and not process.flags & (_NO_IMAGE | _ARGS_MISSING):
            self._remember(key, traits, len(record))
        return traits

    def _remember(self, key: tuple[bytes, ...], traits: Traits, record_size: int) -> None:
        size = TRAITS_SIZE + record_size + sum(source.size for source in traits.sources)
        if self._traits_size + size > TRAITS_SIZE_LIMIT:
            self._traits.clear()
            self._traits_size = 0
        self._traits[key] = traits
        self._traits_size += size

    def add_exec(self, record: bytes) -> None:
        """Add what a process exec'd, whose own record follows.

        Args:
            record: A struct exec_record and the strings that follow it.

        Raises:
            DecodeError: The record is shorter than its lengths say.
        """
        exec_id = split_exec_record(record)[0].exec_id
        self._drop_exec(exec_id)
        self._execs[exec_id] = record
        self._execs_size += len(record) + EXEC_ENTRY_SIZE
        while self._execs_size > EXECS_SIZE:
            self._drop_exec(next(iter(self._execs)))
        self.others_added += 1

    def add_ancestors(self, record: bytes) -> None:
        """Add who a process descends from, whose own record follows.

        Args:
            record: A struct ancestors_head and the ancestors that follow it.

        Raises:
            DecodeError: The record is shorter than its count says.
        """
        lineage = split_ancestors(record)
        self._lineages.pop(lineage.process_number, None)
        self._lineages[lineage.process_number] = lineage
        while len(self._lineages) > LINEAGES_KEPT:
            del self._lineages[next(iter(self._lineages))]
        self.others_added += 1

    def _ancestors(self, process_id: int) -> Part:
        """Return the ancestors of a process that is added."""
        lineage = self._lineages.pop(process_id >> Limit.TEXTS_BITS, None)
        if lineage is None:
            return NO_PART
        return ancestors_part(lineage.ancestors, self._ancestor_head, self._ancestor_texts, self._ancestors_size)

    def _ancestor_head(self, ancestor: Ancestor) -> str:
        start = format_timestamp(self._clock.start_time(ancestor.start_time_ns))
        own_id = self._id_member(ancestor.start_time_ns, ancestor.pid)
        return f'"start_time":"{start}","pid":{ancestor.pid}{own_id}'

    def _ancestor_texts(self, ancestor: Ancestor) -> Texts | None:
        known = self._known.get(ancestor.process_id)
        if known is None or known.image.unknown:
            return None
        return known.image.name, known.image.argv, known.image.args_complete

    def _id_member(self, start_time_ns: int, pid: int) -> str:
        return f',"id":"{self._boot_id}.{start_time_ns}.{pid}"' if self._boot_id else ""

    def _drop_exec(self, exec_id: int) -> None:
        if (record := self._execs.pop(exec_id, None)) is not None:
            self._execs_size -= len(record) + EXEC_ENTRY_SIZE

    def _exec(self, process: ProcessRecord) -> Exec | UnknownExec | None:
        """Return what a process exec'd; None if nobody says.

        Its record stays: children that have exec'd nothing refer to the same.
        """
        if not process.exec_id:
            return None
        if (record := self._execs.get(process.exec_id)) is None:
            return UnknownExec()
        fixed, path, argv = split_exec_record(record)
        time = format_timestamp(self._clock.event_time(fixed.time_ns))
        return Exec(fixed, path, argv[: Limit.ARGS_SIZE], time)

    def _count_cuts(self, cut: tuple[str, ...], process: ProcessRecord, image: Image) -> None:
        """Count the keys that are not whole: once an image or a cgroup, and unless the kernel half has done so."""
        flags = process.flags
        if not process.image_source or image.unknown:
            self.path_incomplete += not flags & PATH_INCOMPLETE and not {"filename", "binary_path"}.isdisjoint(cut)
            self.args_incomplete += not flags & ARGS_INCOMPLETE and "args" in cut
            self.exec_incomplete += "exec" in cut
        if not process.cgroup_source or "container_id" in cut:
            self.cgroup_incomplete += "cgroup" in cut or "container_id" in cut

    @property
    def workload_unknown(self) -> int:
        """How many processes were described in a container without a name."""
        return self._workloads.unknown if self._workloads else 0

    @property
    def size(self) -> int:
        """Bytes that the processes take."""
        return self._size + self._shared.size

    @property
    def over_limit(self) -> bool:
        """Whether there are more processes, or larger ones, than should be kept."""
        return len(self._known) > self._limit or self._size + self._shared.size > SIZE_LIMIT

    @property
    def far_over_limit(self) -> bool:
        """Whether they take so much memory that they cannot be kept for any longer."""
        return self.size > 2 * SIZE_LIMIT

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
        if self._workloads and size and self._workloads.look_again():
            self._rendered.forget()

    def _drop(self, process_id: int) -> None:
        known = self._known.pop(process_id)
        self._size -= known.size
        self._shared.let_go(known.traits)
        self._shared.let_go(known.parent_traits)

    def _drop_old(self) -> None:
        self._drop_processes()
        self._drop_sources()

    def _drop_processes(self) -> None:
        for process_id in [known for known in self._known if known < self._oldest]:
            self._drop(process_id)
        self.longest = max((known.length for known in self._known.values()), default=0)

    def _keep_sources(self) -> None:
        """Keep what records that wait may refer to of the processes that are dropped."""
        for process_id, known in self._known.items():
            if process_id < self._oldest and process_id not in self._sources:
                self._sources[process_id] = known.image, known.cgroup
                self._shared.use((*known.image.sources, known.cgroup))

    def _drop_sources(self) -> None:
        for process_id in [source for source in self._sources if source < self._oldest]:
            image, cgroup = self._sources.pop(process_id)
            self._shared.release((*image.sources, cgroup))

    def _move_oldest(self) -> None:
        ids = sorted(self._known)
        self._oldest = ids[len(ids) // 2]
        self._set_oldest(self._oldest)
        # Records that may refer to an older id: those that wait already, and those that a preempted program adds late.
        self._next_eviction = self._consumed + self._bytes_waiting() + LATE_RECORDS

    def _parent(self, process_id: int, ppid: int) -> KnownProcess | None:
        parent = self._known.get(process_id)
        # If the parent has ended since it was described, its child has another one.
        return parent.alone if parent is not None and parent.pid == ppid else None

    def _source(self, process_id: int) -> tuple[Image, Cgroup] | None:
        """Return the image and the cgroup of an earlier record."""
        if (source := self._sources.get(process_id)) is not None:
            return source
        known = self._known.get(process_id)
        return (known.image, known.cgroup) if known is not None else None

    def _image(self, process: ProcessRecord, path: bytes, argv: bytes) -> Image:
        """Return what a process runs: what its record says, or that of the record that it refers to.

        What an image shows at first is kept, its arguments, too: the process may overwrite them. If they were not read
        then, a later record has them.
        """
        flags = process.flags
        if process.image_source:
            source = self._source(process.image_source)
            if source is None:
                return Image(b"", 0, unknown=True)
            image = source[0]
            if image.has_args or flags & _NO_IMAGE or not (argv or flags & ARGS_INCOMPLETE):
                return image
            argv, complete = self._arguments(process, image.exe, argv)
            return image.with_args(argv, complete=complete)
        executed = self._exec(process)
        if flags & _NO_IMAGE:
            return nameless_image(process, executed)
        texts = (path, process.name_length, process.secureexec, flags & _IMAGE_FLAGS, argv, not flags & _ARGS_MISSING)
        image = Image(*texts, executed=executed) if executed else self._image_of(*texts)
        if image.has_args:
            return image
        argv, complete = self._arguments(process, image.exe, argv)
        return image.with_args(argv, complete=complete)

    def _arguments(self, process: ProcessRecord, exe: str, argv: bytes) -> tuple[bytes, bool]:
        """Return the arguments of a process, and whether they are whole: from /proc, if the kernel half has none."""
        if argv:  # not for the rest of long ones
            return argv, not process.flags & ARGS_INCOMPLETE
        read = self._read_cmdline(process.pid, process.start_time_ns, exe, process.comm.rstrip(b"\0"))
        return (b"", False) if read is None else (read[: Limit.ARGS_SIZE], len(read) <= Limit.ARGS_SIZE)

    def _cgroup(self, process: ProcessRecord, names: bytes, container_id: bytes) -> Cgroup:
        """Return the cgroup that a process is in."""
        if process.cgroup_source:
            source = self._source(process.cgroup_source)
            if source is None:
                return Cgroup(b"", b"", self._with_cgroup, ("container_id", "cgroup"))
            return source[1]
        cut = ("cgroup",) if process.flags & CGROUP_INCOMPLETE else ()
        return self._cgroup_of(names, container_id, self._with_cgroup, cut)


def split_record(record: bytes) -> tuple[ProcessRecord, bytes, bytes, bytes, bytes]:
    """Return a process record's fixed part, its cgroup's names, container id, path and argv.

    Raises:
        DecodeError: The record is shorter than its lengths say.
    """
    _check_size(record)
    process = ProcessRecord._make(PROCESS_RECORD.unpack_from(record))
    container_at = PROCESS_RECORD.size + process.cgroup_length
    path_at = container_at + process.container_length
    args_at = path_at + process.path_length
    end = args_at + process.args_length
    if len(record) < end:
        raise DecodeError(f"a process record has {len(record)} bytes, but its lengths say {end}")
    return (
        process,
        record[PROCESS_RECORD.size : container_at],
        record[container_at:path_at],
        record[path_at:args_at],
        record[args_at:end],
    )


def _check_size(record: bytes) -> None:
    if len(record) < PROCESS_RECORD.size:
        raise DecodeError(f"a process record has {len(record)} bytes, but needs at least {PROCESS_RECORD.size}")


def _workloads(source: NameSource) -> Workloads:
    from netmon.decode.workloads import Workloads  # seldom needed

    return Workloads(source)

"""What the descriptions of a process have in common, kept once: the image that it runs, and its cgroup.

The kernel sends an image once per exec, and a cgroup until the process is moved. Further descriptions refer to them. So
a process that has itself described again and again adds little to the memory here, though it has long arguments.
"""

from __future__ import annotations

from netmon.decode.format import format_args
from netmon.decode.texts import ARGS_LIMIT, Part, cgroup_part, exec_part, executable_part, with_args
from netmon.errors import DecodeError
from netmon.layout import EXEC_RECORD, ExecFlag, ExecRecord, ProcessFlag, ProcessRecord, Secureexec

DELETED = " (deleted)"  # as /proc/PID/exe marks it
SOURCE_SIZE = 600  # bytes of an image or a cgroup beside its texts
PART_SIZE = 350  # bytes of a rendered part beside its text
MINOR_BITS = 20  # of the kernel's dev_t

# Plain ints: members of an enum are slow to look up.
UNLINKED = int(ProcessFlag.UNLINKED)
PATH_INCOMPLETE = int(ProcessFlag.PATH_INCOMPLETE)
ARGS_INCOMPLETE = int(ProcessFlag.ARGS_INCOMPLETE)
KERNEL_THREAD = int(ProcessFlag.KERNEL_THREAD)
CGROUP_INCOMPLETE = int(ProcessFlag.CGROUP_INCOMPLETE)


class SharedMemory:
    """Counts the bytes of what processes share: each source once, while anybody uses it."""

    def __init__(self) -> None:
        self.size = 0

    def use(self, sources: tuple[Source, ...]) -> None:
        """Count a further user of some sources."""
        for source in sources:
            if not source.users:
                self.size += source.size
            source.users += 1

    def release(self, sources: tuple[Source, ...]) -> None:
        """Count a user less."""
        for source in sources:
            source.users -= 1
            if not source.users:
                self.size -= source.size

    def hold(self, traits: Traits | None) -> None:
        """Count a further process that has these traits; as one user of their sources, however many there are."""
        if traits is not None:
            if not traits.users:
                self.use(traits.sources)
            traits.users += 1

    def let_go(self, traits: Traits | None) -> None:
        """Count a process less."""
        if traits is not None:
            traits.users -= 1
            if not traits.users:
                self.release(traits.sources)


def text_size(text: str) -> int:
    """Return how many bytes a text takes, at most.

    Not what this Python says: what a table evicts is decided by it, and a replay on another Python must do the same.
    """
    return len(text) if text.isascii() else 4 * len(text)


class Source:
    """Texts that several descriptions share, rendered once for each room that they have."""

    __slots__ = ("_parts", "size", "users")

    def __init__(self, *texts: bytes) -> None:
        self.users = 0
        self.size = SOURCE_SIZE + sum(map(len, texts))
        self._parts: dict[tuple[int, int], Part] = {}

    def part(self, memory: SharedMemory, room: int, own_room: int) -> Part:
        """Return the texts as members of the process's JSON.

        Args:
            memory: Where the source is counted.
            room: The bytes for all texts of the process.
            own_room: The bytes that these may take.
        """
        part = self._parts.get((room, own_room))
        if part is None:
            part = self._parts[room, own_room] = self._render(room, own_room)
            grown = PART_SIZE + text_size(part.json)
            self.size += grown
            if self.users:
                memory.size += grown
        return part

    def _render(self, room: int, own_room: int) -> Part:
        raise NotImplementedError


class Image(Source):
    """What a process runs: an executable and arguments, as they were when the image was described first."""

    __slots__ = ("args_complete", "argv", "exec", "flags", "has_args", "name", "path", "secureexec", "unknown")

    def __init__(
        self,
        path: bytes,
        name_length: int,
        secureexec: int = 0,
        flags: int = 0,
        argv: bytes = b"",
        args_complete: bool = True,
        *,
        name: bytes = b"",
        unknown: bool = False,
        executed: Exec | UnknownExec | None = None,
    ) -> None:
        """Make an image.

        Args:
            path: The executable's path.
            name_length: Of its own name, at the end of the path.
            secureexec: Of the record.
            flags: Of the record.
            argv: The arguments, as far as they are known.
            args_complete: Whether that is all of them.
            name: Its own name, if it has no path.
            unknown: Whether nothing is known of the image: the name is the thread's at best.
            executed: What the process exec'd, which tells for sure whether the file had a link then.
        """
        super().__init__(path, argv)
        self.path = path
        self.name = name or path[max(0, len(path) - name_length) :]
        if executed and executed.unlinked is not None:
            secureexec &= ~Secureexec.FILELESS_EXEC
            secureexec |= Secureexec.FILELESS_EXEC * executed.unlinked
        self.secureexec = secureexec
        self.flags = flags
        self.argv = argv
        self.args_complete = args_complete
        self.unknown = unknown
        self.exec = executed
        self.has_args = args_complete or bool(argv)

    @property
    def sources(self) -> tuple[Source, ...]:
        """What is to be counted with it: itself, and what was executed."""
        return (self, self.exec) if self.exec else (self,)

    def with_args(self, argv: bytes, *, complete: bool) -> Image:
        """Return this image with other arguments."""
        return Image(self.path, len(self.name), self.secureexec, self.flags, argv, complete, executed=self.exec)

    @property
    def key(self) -> tuple[object, ...]:
        """What images have in common that are the same."""
        executed = self.exec and self.exec.key
        return self.path, self.name, self.secureexec, self.flags & UNLINKED, self.argv, self.unknown, executed

    @property
    def exe(self) -> str:
        """The executable's path as /proc/PID/exe has it."""
        return self.path.decode(errors="backslashreplace") + DELETED * bool(self.flags & UNLINKED)

    def _render(self, room: int, own_room: int) -> Part:
        cut: tuple[str, ...] = ("binary_path",) if self.flags & PATH_INCOMPLETE else ()
        if self.unknown:
            cut = ("filename", "binary_path")
        name = self.name.decode(errors="backslashreplace")
        executable = executable_part(self.secureexec, name, self.exe, room, cut)
        # Each byte takes at least one in JSON. So what is beyond the limit and one whole character is cut in any case.
        args = format_args(self.argv, ARGS_LIMIT + 4)
        return with_args(executable, args, own_room, complete=self.args_complete and not self.unknown)


class Exec(Source):
    """What a process exec'd, as it was then."""

    __slots__ = ("argv", "flags", "key", "path", "rest", "unlinked")

    def __init__(self, record: ExecRecord, path: bytes, argv: bytes, time: str) -> None:
        """Make it of a record, its strings, and its time as text."""
        super().__init__(path, argv)
        self.path = path
        self.argv = argv
        self.flags = record.flags
        self.unlinked = bool(record.flags & ExecFlag.UNLINKED)
        device = f"{record.device >> MINOR_BITS}:{record.device & (1 << MINOR_BITS) - 1}"
        self.rest: dict[str, str | int] = {"time": time, "device": device, "inode": record.inode}
        self.key = (record.exec_id, path, argv)

    def _render(self, room: int, own_room: int) -> Part:
        path = self.path.decode(errors="backslashreplace") + DELETED * self.unlinked
        whole = not self.flags & (ExecFlag.PATH_INCOMPLETE | ExecFlag.ARGS_INCOMPLETE)
        return exec_part(path, format_args(self.argv, ARGS_LIMIT + 4), dict(self.rest), own_room, whole=whole)


class UnknownExec(Source):
    """What a process exec'd, if its record is not there. The key `exec` is missing then, and named as cut."""

    __slots__ = ()

    key = ()
    unlinked: bool | None = None

    def _render(self, room: int, own_room: int) -> Part:
        return Part("", ("exec",))


def split_exec_record(record: bytes) -> tuple[ExecRecord, bytes, bytes]:
    """Return an exec record's fixed part, its path and argv.

    Raises:
        DecodeError: The record is shorter than its lengths say.
    """
    if len(record) < EXEC_RECORD.size:
        raise DecodeError(f"an exec record has {len(record)} bytes, but needs at least {EXEC_RECORD.size}")
    fixed = ExecRecord._make(EXEC_RECORD.unpack_from(record))
    args_at = EXEC_RECORD.size + fixed.path_length
    end = args_at + fixed.args_length
    if len(record) < end:
        raise DecodeError(f"an exec record has {len(record)} bytes, but its lengths say {end}")
    return fixed, record[EXEC_RECORD.size : args_at], record[args_at:end]


def nameless_image(process: ProcessRecord, executed: Exec | UnknownExec | None) -> Image:
    """Return the image of a process that has none: of a kernel thread, or of one whose image nobody knows.

    All that is known is the name that the thread has given itself, and perhaps what it exec'd.
    """
    is_kernel_thread = process.flags & KERNEL_THREAD
    return Image(b"", 0, name=process.comm.rstrip(b"\0"), unknown=not is_kernel_thread, executed=executed)


class Cgroup(Source):
    """A process's cgroup, and the container that it belongs to."""

    __slots__ = ("container_id", "cut", "names", "with_path")

    def __init__(self, names: bytes, container_id: bytes, with_path: bool, cut: tuple[str, ...] = ()) -> None:
        """Make a cgroup.

        Args:
            names: As the record has them.
            container_id: Likewise; empty on the host.
            with_path: Whether events have the key `cgroup`.
            cut: The keys whose values are not whole.
        """
        super().__init__(names)
        self.names = names
        self.container_id = container_id
        self.with_path = with_path
        self.cut = cut

    @property
    def key(self) -> tuple[object, ...]:
        """What cgroups have in common that are the same."""
        return self.names, self.container_id, self.cut

    def _render(self, room: int, own_room: int) -> Part:
        path, container_id = cgroup_path(self.names), self.container_id.decode(errors="backslashreplace")
        return cgroup_part(path, container_id, room, with_path=self.with_path, cut=self.cut)


class Traits:
    """What a description has that others may have, too: all but who the process is, and when it started.

    Attributes:
        credentials: The members for the credentials.
        image: What the process runs.
        cgroup: Where it runs.
        parts: Both of them, rendered, and what the process exec'd.
        foreign: Of the record.
        cut: The keys whose values are not whole.
        length: Characters of their JSON.
        sources: The texts that they are made of.
        users: How many processes have them, as their own or their parent's.
    """

    __slots__ = ("cgroup", "credentials", "cut", "foreign", "image", "length", "parts", "sources", "users")

    def __init__(
        self, credentials: str, image: Image, cgroup: Cgroup, parts: tuple[Part, Part, Part], foreign: int
    ) -> None:
        self.credentials = credentials
        self.image = image
        self.cgroup = cgroup
        self.parts = parts
        self.foreign = foreign
        self.cut = tuple(key for part in parts for key in part.cut)
        self.length = len(credentials) + sum(len(part.json) for part in parts)
        self.sources: tuple[Source, ...] = (*image.sources, cgroup)
        self.users = 0

    @property
    def key(self) -> tuple[object, ...]:
        """What traits have in common that are the same."""
        return self.credentials, self.image.key, self.cgroup.key, self.foreign


def cgroup_path(names: bytes) -> str:
    """Return a cgroup's path from its names, which the kernel lists from the leaf up, each followed by '/'."""
    parts = names.decode(errors="backslashreplace").split("/")[:-1]
    return "/" + "/".join(reversed(parts))

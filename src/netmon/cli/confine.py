"""Gives up, once netmon is attached, the rights that only attaching takes.

netmon decodes what processes choose: arguments, paths, names. Root's rights would make an error there root's problem.
Only what was asked for and is refused ends a run: a right too many is better than no events.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import NamedTuple

from netmon.capabilities import capability_mask
from netmon.cli.console import describe, say
from netmon.errors import BpfError, NetmonError
from netmon.kernel import landlock, rights, seccomp
from netmon.kernel.rights import CapabilitySets

BPF, ADMIN = capability_mask("BPF"), capability_mask("SYS_ADMIN")  # the latter includes the former
MAX_ID = (1 << 32) - 2  # the kernel's: one more means no change
READ_ANY = capability_mask("DAC_READ_SEARCH")
# What netmon, Python and its libraries read while they run, beside modules.
SYSTEM = (
    *(
        "/proc",
        "/sys",
        "/usr",
        "/lib",
        "/lib64",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/passwd",
        "/etc/machine-id",
    ),
    os.devnull,
)


class User(NamedTuple):
    """A user to become.

    Attributes:
        name: As it was given.
        uid: The user id.
        gid: The id of the user's group.
    """

    name: str
    uid: int
    gid: int


def find_user(name: str) -> User:
    """Return a user by name or number; a number that no user has is the number of the group, too.

    Raises KeyError.
    """
    import pwd  # seldom needed

    if not name.isdecimal():
        entry = pwd.getpwnam(name)
    elif (number := int(name)) > MAX_ID:
        raise KeyError(name)
    else:
        try:
            entry = pwd.getpwuid(number)
        except KeyError:
            return User(name, number, number)
    return User(name, entry.pw_uid, entry.pw_gid)


def confine(
    look: Callable[[], object],
    *,
    makes_maps: bool,
    config_file: str | None,
    user: User | None = None,
    directories: Mapping[int, bool] = landlock.NO_DIRECTORIES,
    reads: Collection[str] = (),
) -> None:
    """Give up the rights that a run does not need any more. If capabilities cannot be given up, that is said.

    Call it before there are other threads: each one inherits the rights of the thread that starts it.

    Args:
        look: Asks the kernel about the loaded programs, as a run does later. Raises BpfError.
        makes_maps: Whether it will make maps: for a reload, or for the next aggregates.
        config_file: The file that a reload reads.
        user: The user to become.
        directories: Descriptors of directories in which files are made later, by reopening them. True: and removed and
            renamed, by rotation.
        reads: Directories whose files are read later, as far as they exist now.

    Raises:
        NetmonError: Becoming the user is not allowed.
    """
    with suppress(OSError):  # takes CAP_SETPCAP. Without it, what is executed gets no capabilities all the same
        rights.empty_bounding_set()
    files = [*_import_directories(), *([config_file] if config_file is not None else []), *reads]
    if user is not None:
        try:
            rights.change_user(user.uid, user.gid)
        except OSError as error:
            raise NetmonError(f"--user {user.name}: {error.strerror}: start netmon as root") from None
    kept = 0
    try:
        rights.forbid_new_rights()
        kept = _drop_capabilities(makes_maps, look, files)
        rights.hide_memory()
    except OSError as error:
        say(f"keeps rights that it does not need: {describe(error)}")
    # Not all kernels have these, and not all containers allow them.
    with suppress(OSError):
        landlock.forbid_changes(directories)
    if reads and kept & READ_ANY:  # for these directories: no others
        with suppress(OSError):
            landlock.forbid_reading_but(
                [*files, *([os.path.dirname(config_file) or "."] if config_file else []), *SYSTEM]
            )
    with suppress(OSError):
        seccomp.refuse_calls(makes_maps=makes_maps)


def confine_forwarder(
    *, user: User | None, ports: Collection[int], reads: Collection[str]
) -> Callable[[int | None], None]:
    """Give up the rights that a process does not need which only sends events to a collector.

    Call it before there are other threads, and once all is imported.

    Args:
        user: The user to become.
        ports: The TCP ports that it connects to.
        reads: Files that it reads later, beside the system's.

    Returns:
        A function that gives up the rest, once the directory is open that it may write to: its descriptor, or None.

    Raises:
        NetmonError: Becoming the user is not allowed.
    """
    with suppress(OSError):
        rights.empty_bounding_set()
    if user is not None:
        try:
            rights.change_user(user.uid, user.gid)
        except OSError as error:
            raise NetmonError(f"--user {user.name}: {error.strerror}: start netmon as root") from None
    try:
        rights.forbid_new_rights()
        rights.set_capabilities(CapabilitySets(0, 0))
        rights.hide_memory()
    except OSError as error:
        say(f"keeps rights that it does not need: {describe(error)}")

    def finish(directory: int | None) -> None:
        # Not all kernels have these, and not all containers allow them.
        with suppress(OSError):
            landlock.forbid_changes({} if directory is None else {directory: True}, ports)
        with suppress(OSError):
            system = [path for path in SYSTEM if path not in ("/proc", "/sys")]
            # Name servers, certificates and the names of hosts may be changed while it runs.
            own = [] if directory is None else [f"/proc/self/fd/{directory}"]
            landlock.forbid_reading_but([*_import_directories(), *system, "/etc", "/run/systemd/resolve", *own, *reads])
        with suppress(OSError):
            seccomp.refuse_calls_but_network()

    return finish


def isolate(*, keep: Collection[int], max_memory: int, max_file: int) -> None:
    """Give up everything but computing, and some descriptors: for a process that parses what anybody may have written.

    Nothing can be imported afterwards. What a kernel or container does not let it give up, it keeps.

    Args:
        keep: The descriptors that stay open. No memory that is shared with the kernel's maps stays, either.
        max_memory: How many bytes of memory it may take.
        max_file: How large a file may get.
    """
    import resource

    with suppress(OSError, ValueError):  # the service may not change limits
        resource.setrlimit(resource.RLIMIT_DATA, (max_memory, max_memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file, max_file))
    with suppress(OSError):
        rights.empty_bounding_set()
    with suppress(OSError):
        rights.forbid_new_rights()
        rights.set_capabilities(CapabilitySets(0, 0))
        rights.hide_memory()
    with suppress(OSError):
        landlock.forbid_changes()
    with suppress(FileNotFoundError):  # without a proc file system nobody can say what there is to give up
        rights.unmap_shared()
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in keep:
                with suppress(OSError):  # that of the list itself
                    os.close(int(name))
    with suppress(OSError):
        seccomp.allow_computing()


def _drop_capabilities(makes_maps: bool, look: Callable[[], object], files: list[str]) -> int:
    """Drop all capabilities but those without which something would fail later; return these. Raises OSError."""
    held = rights.read_capabilities().permitted
    bpf = held & BPF or held & ADMIN
    kept = bpf if makes_maps else 0
    rights.set_capabilities(CapabilitySets(kept, held))
    if not kept and not _is_answered(look):
        kept |= bpf
    if held & READ_ANY:
        unreadable = [path for path in files if not _is_readable(path)]
        rights.set_capabilities(CapabilitySets(kept | READ_ANY, held))
        if any(map(_is_readable, unreadable)):
            kept |= READ_ANY
    rights.set_capabilities(CapabilitySets(kept, kept))
    return kept


def _is_answered(look: Callable[[], object]) -> bool:
    """Return whether the kernel answers: since 5.19 to whoever has the programs open, before that to the privileged."""
    try:
        look()
    except BpfError:
        return False
    return True


def _import_directories() -> set[str]:
    """Return the directories from which modules have been imported, or may be imported later."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return {os.path.dirname(file) or "." for file in files if file} | {entry or "." for entry in sys.path}


def _is_readable(path: str) -> bool:
    """Return whether a file or directory may be read, as far as capabilities decide about that."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:  # it does not exist, say
        return True
    return True

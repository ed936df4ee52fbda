"""The texts of a process as members of its JSON: each cut to a share of the room that the line has for them."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from functools import lru_cache
from typing import NamedTuple

from netmon.decode.format import byte_size, fit_json, format_capabilities, format_secureexec, json_members, text_json
from netmon.layout import ProcessRecord

# How the texts of a process share the bytes that its line leaves them. The arguments get the rest, up to a limit of
# their own: each event repeats them.
FILENAME_SHARE, PATH_SHARE, CGROUP_SHARE = 2 / 16, 5 / 16, 3 / 16
ARGS_LIMIT = 8 << 10
ROOM_STEP = 256  # the room is rounded to it, so that processes with other credentials share texts, too

FRAGMENTS_KEPT = 64  # of JSON: many processes share them

# The fields of struct credentials in a record. Events have them as keys, with the same names in the same order.
CREDENTIALS = slice(ProcessRecord._fields.index("uid"), ProcessRecord._fields.index("pid"))


class Part(NamedTuple):
    """A part of a process's JSON: some members, each preceded by a comma."""

    json: str
    cut: tuple[str, ...] = ()  # the keys whose values are not whole
    size: int = 0  # bytes of the JSON


def make_part(json: str, cut: tuple[str, ...] = ()) -> Part:
    """Return a part with its size."""
    return Part(json, cut, byte_size(json))


def round_room(size: int) -> int:
    """Return the room that so many bytes give."""
    return size // ROOM_STEP * ROOM_STEP


@lru_cache(maxsize=FRAGMENTS_KEPT)
def credentials_part(values: tuple[int, ...], last_cap: int) -> Part:
    """Return the members for the CREDENTIALS of a record."""
    fields = zip(ProcessRecord._fields[CREDENTIALS], values, strict=True)
    return make_part(
        json_members(
            {key: format_capabilities(value, last_cap) if key.startswith("cap_") else value for key, value in fields}
        )
    )


def executable_part(secureexec: int, name: str, path: str, room: int, cut: tuple[str, ...] = ()) -> Part:
    """Return the executable's keys.

    Args:
        secureexec: Of the record.
        name: The executable's own name.
        path: Its path.
        room: The bytes for all texts of the process.
        cut: The keys whose values were not whole before.
    """
    filename, name_cut = fit_json(name, int(room * FILENAME_SHARE))
    # What matters most of a path is its end.
    binary_path, path_cut = fit_json(path, int(room * PATH_SHARE), keep_end=True)
    was_cut = {"filename": name_cut or "filename" in cut, "binary_path": path_cut or "binary_path" in cut}
    json = f',"secureexec":"{format_secureexec(secureexec)}","filename":{filename},"binary_path":{binary_path}'
    return make_part(json, tuple(key for key, value in was_cut.items() if value))


def with_args(executable: Part, args: str, room: int, *, complete: bool) -> Part:
    """Return the keys that an exec changes. room: the bytes that they may take; complete: whether args are whole."""
    json, cut = fit_json(args, min(room - executable.size, ARGS_LIMIT))
    not_whole = executable.cut if complete and not cut else (*executable.cut, "args")
    return make_part(f'{executable.json},"args":{json}', not_whole)


def argv_json(argv: bytes, room: int) -> tuple[str, bool]:
    """Return arguments, the first one too, as a list of JSON.

    Args:
        argv: A NUL ends each of them.
        room: The bytes that the list may take, at most ARGS_LIMIT of which it uses.

    Returns:
        The JSON, and whether some of them are cut or left out.
    """
    left = min(room, ARGS_LIMIT) - 2
    items: list[str] = []
    for item in argv.rstrip(b"\0").split(b"\0") if argv else ():
        if left < 4:  # quotation marks, a comma, and a character
            return f"[{','.join(items)}]", True
        json, cut = fit_json(item[: left + 4].decode(errors="backslashreplace"), left - 1)
        items.append(json)
        left -= byte_size(json) + 1
        if cut:
            return f"[{','.join(items)}]", True
    return f"[{','.join(items)}]", False


def cgroup_part(path: str, container_id: str, room: int, *, with_path: bool, cut: tuple[str, ...]) -> Part:
    """Return the keys of the process's cgroup.

    Args:
        path: Its path, from the root.
        container_id: "" on the host.
        room: The bytes for all texts of the process.
        with_path: Whether there is a key for the path.
        cut: The keys whose values are not whole.
    """
    members = f',"container_id":{text_json(container_id)}' if container_id else ""
    if not with_path:
        return make_part(members, tuple(key for key in cut if key != "cgroup"))
    json, path_cut = fit_json(path, int(room * CGROUP_SHARE), keep_end=True)
    return make_part(f'{members},"cgroup":{json}', (*cut, "cgroup") if path_cut and "cgroup" not in cut else cut)


def exec_part(path: str, args: str, rest: dict[str, str | int], room: int, *, whole: bool) -> Part:
    """Return the key for what a process exec'd.

    Args:
        path: The executable's path.
        args: The arguments.
        rest: The members `time`, `device` and `inode`.
        room: The bytes for both texts.
        whole: Whether both are whole.
    """
    path_json, path_cut = fit_json(path, int(room * PATH_SHARE), keep_end=True)
    args_json, args_cut = fit_json(args, min(room - byte_size(path_json), ARGS_LIMIT))
    time, others = rest.pop("time"), json_members(rest)
    json = f',"exec":{{"time":"{time}","path":{path_json},"args":{args_json}{others}}}'
    return make_part(json, () if whole and not path_cut and not args_cut else ("exec",))


NO_PART = Part("")


def truncated_json(cut: tuple[str, ...]) -> str:
    """Return the member that names the keys whose values are not whole; "" if all are."""
    return f',"truncated":"{" | ".join(cut)}"' if cut else ""

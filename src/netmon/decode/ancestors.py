"""Who a process descends from: the ancestors that the kernel half lists, named by what was described of them."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Callable, Iterable
from typing import NamedTuple

from netmon.decode.format import fit_json, format_args
from netmon.decode.texts import Part, make_part
from netmon.errors import DecodeError
from netmon.layout import ANCESTOR, ANCESTORS_HEAD, Ancestor, AncestorsHead
from netmon.limits import DEFAULT_LINE_LIMIT

SHARE = 3 / 16  # of a line, for all ancestors of its process together
FILENAME_SHARE = 1 / 3  # of what an ancestor has for its two texts

# The texts of an ancestor that was described: its file name and its argv, and whether these are whole.
Texts = tuple[bytes, bytes, bool]


class Lineage(NamedTuple):
    """The ancestors of a process.

    Attributes:
        process_number: The process's id without its low bits.
        ancestors: Its ancestors, the parent first.
    """

    process_number: int
    ancestors: tuple[Ancestor, ...]


def split_ancestors(record: bytes) -> Lineage:
    """Return what a record says. Raises DecodeError: it is shorter than its count says."""
    if len(record) < ANCESTORS_HEAD.size:
        raise DecodeError(f"an ancestors record has {len(record)} bytes, but needs at least {ANCESTORS_HEAD.size}")
    head = AncestorsHead._make(ANCESTORS_HEAD.unpack_from(record))
    end = ANCESTORS_HEAD.size + head.ancestor_count * ANCESTOR.size
    if len(record) < end:
        raise DecodeError(f"an ancestors record has {len(record)} bytes, but its count says {end}")
    ancestors = ANCESTOR.iter_unpack(record[ANCESTORS_HEAD.size : end])
    return Lineage(head.process_number, tuple(map(Ancestor._make, ancestors)))


def ancestors_size(line_limit: int) -> int:
    """Return how many bytes of a line the ancestors of a process may take."""
    return int(max(line_limit, DEFAULT_LINE_LIMIT) * SHARE)


def ancestors_part(
    ancestors: Iterable[Ancestor],
    head_of: Callable[[Ancestor], str],
    texts_of: Callable[[Ancestor], Texts | None],
    size: int,
) -> Part:
    """Return the member for the ancestors of a process.

    Args:
        ancestors: The ancestors, the parent first.
        head_of: Returns the members of one that come before its texts.
        texts_of: Returns its texts; None if they are not known.
        size: The bytes that all of them may take.
    """
    listed = tuple(ancestors)
    rendered, whole = [], True
    room = (size - len(',"ancestors":[]')) // len(listed) if listed else 0
    for ancestor in listed:
        head = head_of(ancestor)
        texts = texts_of(ancestor)
        if texts is None:
            rendered.append(f"{{{head}}}")
            whole = False
            continue
        name, argv, complete = texts
        left = room - len(head) - len('{,"filename":,"args":},')
        filename, name_cut = fit_json(name.decode(errors="backslashreplace"), max(2, int(left * FILENAME_SHARE)))
        args, args_cut = fit_json(format_args(argv, size), max(2, left - len(filename.encode())))
        rendered.append(f'{{{head},"filename":{filename},"args":{args}}}')
        whole = whole and complete and not name_cut and not args_cut
    return make_part(f',"ancestors":[{",".join(rendered)}]', () if whole else ("ancestors",))

"""Joins what scatters: of a place with too many places in it, only the place itself is kept.

Whether a place is joined follows from how many different places were in it, so the order in which they come is no
matter, as long as there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

Path = Sequence[str]  # a place by those that it is in, the widest first
# How many places a place keeps apart, by its depth and by how many are below it in a path; None: any number.
Limit = Callable[[int, int], "int | None"]


class Room:
    """What all trees together may still keep."""

    def __init__(self, left: int) -> None:
        """Make it. left: how many places."""
        self.left = left


class Place(NamedTuple):
    """A place that was found.

    Attributes:
        path: As it was added.
        joined: Whether it stands for all places in it, too.
        itself: Whether it was added itself.
    """

    path: tuple[str, ...]
    joined: bool
    itself: bool


class _Node:
    __slots__ = ("inner", "itself", "joined")

    def __init__(self) -> None:
        self.inner: dict[str, _Node] = {}
        self.joined = False
        self.itself = False


class JoiningTree:
    """A set of places, in which those with many inner places are joined."""

    def __init__(self, limit: Limit, room: Room) -> None:
        """Make it.

        Args:
            limit: How many places a place keeps apart.
            room: What is left for it; other trees may take of the same.
        """
        self._limit = limit
        self._room = room
        self._root = _Node()

    def add(self, path: Path, *, joined: bool = False) -> bool:
        """Add a place; return whether there was room for it. joined: it stands for all places in it."""
        node = self._root
        for depth, step in enumerate(path):
            if node.joined:
                return True
            if step not in node.inner:
                limit = self._limit(depth, len(path) - depth)
                if limit is not None and len(node.inner) >= limit:
                    self._join(node)
                    return True
                if self._room.left <= 0:
                    return False
                self._room.left -= 1
                node.inner[step] = _Node()
            node = node.inner[step]
        if joined and not node.joined:
            self._join(node)
        node.itself |= not joined
        return True

    def _join(self, node: _Node) -> None:
        self._room.left += _size(node) - 1
        node.inner.clear()
        node.joined = True

    def take(self) -> list[Place]:
        """Return all places, and leave none."""
        found = [*self.places()]
        self._room.left += _size(self._root) - 1
        self._root = _Node()
        return found

    def update(self, places: Sequence[Place]) -> None:
        """Add places of another tree."""
        for place in places:
            if place.itself:
                self.add(place.path)
            if place.joined:
                self.add(place.path, joined=True)

    def places(self) -> Iterator[Place]:
        """Yield the places, in the order of their paths. The path of all places is empty."""
        waiting: list[tuple[tuple[str, ...], _Node]] = [((), self._root)]
        while waiting:
            path, node = waiting.pop()
            if node.joined or node.itself:
                yield Place(path, node.joined, node.itself)
            waiting += [((*path, step), node.inner[step]) for step in sorted(node.inner, reverse=True)]


def _size(node: _Node) -> int:
    size, waiting = 0, [node]
    while waiting:
        size += 1
        waiting += waiting.pop().inner.values()
    return size

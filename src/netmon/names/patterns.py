"""Patterns of names: which names a filter lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from netmon.names.answer import HOST_NAME, LABEL, MAX_LABEL, MAX_NAME
from netmon.peer_names import CERTAIN

if TYPE_CHECKING:
    from netmon.filters.compiled import NameRules

ONE, SOME = "*", "**"  # in place of a label: any one, any number of them but none


def check_pattern(text: str) -> str:
    """Return a pattern of names, in small letters.

    Args:
        text: As the user has written it.

    Raises:
        ValueError: It is none; the message says what to write.
    """
    pattern = text.lower()
    labels = pattern.split(".")
    if "/" in text or ":" in text:
        raise ValueError("is a URL or an address; give the name of the host alone")
    if text.endswith(".") or text.startswith("."):
        raise ValueError("begins or ends with a dot; leave it out, or put * or ** before or behind it")
    if any(ONE in label and label not in (ONE, SOME) for label in labels):
        raise ValueError("has a * within a label; * stands for one whole label, ** for one or more")
    if not all(label in (ONE, SOME) or (LABEL.fullmatch(label) and len(label) <= MAX_LABEL) for label in labels):
        raise ValueError("is no name of a host, which has letters, digits, hyphens and dots; write xn-- for others")
    if len(pattern) > MAX_NAME or not HOST_NAME.match(pattern.replace(ONE, "x")):
        raise ValueError("can match nothing: no host has such a name; a filter of addresses has addresses")
    return pattern


class _Node:
    """What may follow a part of a pattern, read from its end.

    Attributes:
        next: The nodes behind one more label, by the label.
        ends: Whether a pattern is complete here.
        repeats: Whether any further labels lead here, too: behind SOME.
    """

    __slots__ = ("ends", "next", "repeats")

    def __init__(self, *, repeats: bool = False) -> None:
        self.next: dict[str, _Node] = {}
        self.ends = False
        self.repeats = repeats


class Patterns:
    """A set of patterns. A name is compared with all of them at once, label by label, from its end."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Make it. patterns: as check_pattern() returns them."""
        self._root = _Node()
        for pattern in patterns:
            node = self._root
            for label in reversed(pattern.split(".")):
                node = node.next.setdefault(label, _Node(repeats=label == SOME))
            node.ends = True

    def match(self, name: str) -> bool:
        """Return whether any pattern matches a name, which is in small letters."""
        nodes = [self._root]
        for label in reversed(name.split(".")):
            reached = [node.next[key] for node in nodes for key in (label, ONE, SOME) if key in node.next]
            nodes = list(dict.fromkeys([*reached, *(node for node in nodes if node.repeats)]))
        return any(node.ends for node in nodes)


class NameFilter:
    """Judges connections by their names."""

    def __init__(self, rules: NameRules) -> None:
        """Make it. rules: what the configuration says."""
        self._deny = rules.deny
        self._patterns = Patterns(rules.patterns)

    def passes(self, names: Iterable[Mapping[str, Any]]) -> bool:
        """Return whether a connection passes.

        A name that another process was told may be wrong, so it lets a connection pass, but keeps none from passing.

        Args:
            names: The connection's names, as its events have them; none if none is known.
        """
        matching = [name for name in names if self._patterns.match(name["name"])]
        if self._deny:
            return not any(name["scope"] in CERTAIN for name in matching)
        return bool(matching)

"""Splits the text of a condition into tokens, each with its place."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import re
from typing import NamedTuple

from netmon.errors import shown

MAX_TEXT = 64 << 10  # characters of a condition
MAX_TOKENS = 10_000


class RuleSyntaxError(ValueError):
    """A condition that cannot be read.

    Attributes:
        at: Where in its text, in characters.
    """

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


class Token(NamedTuple):
    """A token. kind: `name`, `text`, `number`, `end`, or the operator itself."""

    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>"[^"]*")
    |(?P<name>[A-Za-z][A-Za-z0-9_]*)
    |(?P<number>[0-9][\w.:/-]*)
    |(?P<operator>==|!=|<=|>=|<|>|[()\[\],])""",
    re.VERBOSE,
)
# What people write who know another language.
_MEANT = {"=": "==", "&": "AND", "|": "OR", "!": "NOT", "{": "(", "}": ")", "~": "like", ";": "AND"}


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of a condition; the last one is its end. Raises RuleSyntaxError."""
    if len(text) > MAX_TEXT:
        raise RuleSyntaxError(f"has {len(text):,} characters; the most are {MAX_TEXT:,}: move values to a list", 0)
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unexpected(text, at)
        kind, part = str(match.lastgroup), match[0]
        if kind == "text":
            tokens.append(Token(kind, part[1:-1], at))
        elif kind != "space":
            tokens.append(Token(part if kind == "operator" else kind, part, at))
        if len(tokens) > MAX_TOKENS:
            raise RuleSyntaxError(f"has more than {MAX_TOKENS:,} words; move values to a list", at)
        at = match.end()
    return [*tokens, Token("end", "", len(text))]


def _unexpected(text: str, at: int) -> RuleSyntaxError:
    char = text[at]
    if char == '"':
        return RuleSyntaxError('has a quote (") that is not closed', at)
    if char == "'":
        return RuleSyntaxError(
            "has single quotes; write text in double quotes, the whole condition may be in '...'", at
        )
    if char in _MEANT:
        return RuleSyntaxError(f"has {shown(char)}, which is no operator; did you mean {_MEANT[char]}?", at)
    if char == "-":
        return RuleSyntaxError("has a negative number, which no value can be", at)
    if char in "/.:*":
        return RuleSyntaxError(f"has {shown(char)} without quotes; put text and addresses in double quotes", at)
    return RuleSyntaxError(f"has {shown(char)}, which means nothing here", at)

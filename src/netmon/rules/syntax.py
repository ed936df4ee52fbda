"""Parses conditions into trees.

    or      := and { OR and }
    and     := not { AND not }
    not     := NOT not | primary
    primary := ( or ) | NAME | NAME operator
    operator := (== | != | < | <= | > | >= | like | not like) value | (in | not in) values
    values  := [ item { , item } ] | NAME
    item    := value | NAME
    value   := "text" | number

A NAME alone is a macro, as a value it is a list. AND, OR and NOT are upper case.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Callable
from typing import NamedTuple

from netmon.errors import shown
from netmon.rules.tokens import RuleSyntaxError, Token, tokens_of

MAX_DEPTH = 50  # of parentheses and NOTs in each other

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
KEYWORDS = ("AND", "OR", "NOT", "in", "not", "like")


class Literal(NamedTuple):
    """A value as it is written. kind: `text`, `number`, or `name` for that of a list."""

    kind: str
    text: str
    at: int


class Comparison(NamedTuple):
    """An attribute, and what it is compared with. negated: of `!=`, `not in` and `not like`."""

    attribute: str
    operator: str  # of COMPARISONS but `!=`, or `in`, or `like`
    values: tuple[Literal, ...]
    negated: bool
    at: int


class Reference(NamedTuple):
    """The name of a macro."""

    name: str
    at: int


class Not(NamedTuple):
    """A condition that must be false."""

    inner: "Node"
    at: int


class Group(NamedTuple):
    """Conditions of which all must be true, or one. operator: `AND` or `OR`."""

    operator: str
    parts: "tuple[Node, ...]"
    at: int


Node = Comparison | Reference | Not | Group


def parse(text: str) -> Node:
    """Return the tree of a condition. Raises RuleSyntaxError."""
    return _Parser(tokens_of(text)).whole()


class _Parser:
    """Takes the tokens of one condition from left to right."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._token
        self._next += token.kind != "end"
        return token

    def _takes(self, text: str) -> bool:
        """Take a keyword or an operator, if it is the next token."""
        token = self._token
        found = token.text == text and token.kind in ("name", text)
        self._next += found
        return found

    def whole(self) -> Node:
        """Return the tree of all tokens."""
        if self._token.kind == "end":
            raise RuleSyntaxError("is empty; leave it out, or write a condition", 0)
        node = self._or()
        token = self._token
        if token.kind != "end":
            raise self._unexpected(token, "AND or OR")
        return node

    def _or(self) -> Node:
        return self._group("OR", self._and)

    def _and(self) -> Node:
        return self._group("AND", self._not)

    def _group(self, operator: str, part: "Callable[[], Node]") -> Node:
        at = self._token.at
        parts = [part()]
        while self._takes(operator):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Group(operator, tuple(parts), at)

    def _not(self) -> Node:
        at = self._token.at
        if not self._takes("NOT"):
            return self._primary()
        self._enter(at)
        inner = self._not()
        self._depth -= 1
        return Not(inner, at)

    def _enter(self, at: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RuleSyntaxError(f"is nested more than {MAX_DEPTH} deep; move a part of it to a macro", at)

    def _primary(self) -> Node:
        token = self._take()
        if token.kind == "(":
            self._enter(token.at)
            node = self._or()
            self._depth -= 1
            if not self._takes(")"):
                raise self._unexpected(self._token, "')'")
            return node
        if token.kind != "name" or token.text in KEYWORDS:
            raise self._unexpected(token, "an attribute, a macro, NOT or '('")
        return self._comparison(token)

    def _comparison(self, name: Token) -> Node:
        """Return the comparison, or the macro, that begins with a name."""
        token = self._token
        if token.kind in COMPARISONS:
            self._take()
            operator = "==" if token.kind == "!=" else token.kind
            return Comparison(name.text, operator, (self._value(),), token.kind == "!=", name.at)
        negated = self._takes("not")
        if self._takes("in"):
            return Comparison(name.text, "in", self._values(), negated, name.at)
        if self._takes("like"):
            return Comparison(name.text, "like", self._like_values(), negated, name.at)
        if negated:
            raise self._unexpected(self._token, "`in` or `like` after `not`")
        if name.text.upper() in ("NOT", "AND", "OR"):
            raise RuleSyntaxError(f"has {name.text}; write {name.text.upper()} in upper case", name.at)
        if token.kind == "name" and token.text.lower() in ("in", "like", "not"):
            raise RuleSyntaxError(f"has {token.text}; write {token.text.lower()} in lower case", token.at)
        return Reference(name.text, name.at)

    def _like_values(self) -> tuple[Literal, ...]:
        return self._values() if self._token.kind in ("[", "name") else (self._value(),)

    def _values(self) -> tuple[Literal, ...]:
        token = self._take()
        if token.kind == "name" and token.text not in KEYWORDS:
            return (Literal(*token),)
        if token.kind != "[":
            raise self._unexpected(token, "'[' or the name of a list")
        values: list[Literal] = []
        while not self._takes("]"):
            if values and not self._takes(","):
                raise self._unexpected(self._token, "',' or ']'")
            if values and self._takes("]"):  # a comma before it, as the reference has it
                break
            values.append(self._item())
        if not values:
            raise RuleSyntaxError("has an empty list, which nothing can match; add a value", token.at)
        return tuple(values)

    def _item(self) -> Literal:
        token = self._token
        if token.kind == "name" and token.text not in KEYWORDS:
            return Literal(*self._take())
        return self._value()

    def _value(self) -> Literal:
        token = self._take()
        if token.kind == "name" and token.text not in KEYWORDS:
            raise RuleSyntaxError(f'has {shown(token.text)} without quotes; write "{shown(token.text)}"', token.at)
        if token.kind not in ("text", "number"):
            raise self._unexpected(token, "a value: text in double quotes, or a number")
        return Literal(*token)

    def _unexpected(self, token: Token, expected: str) -> RuleSyntaxError:
        if token.kind == "end":
            return RuleSyntaxError(f"ends too early: {expected} is missing", token.at)
        if token.kind == "name" and token.text in ("and", "or", "not", "And", "Or", "Not"):
            return RuleSyntaxError(f"has {token.text}; write {token.text.upper()} in upper case", token.at)
        if token.kind == "name" and token.text.lower() in ("in", "not", "like") and token.text not in KEYWORDS:
            return RuleSyntaxError(f"has {token.text}; write {token.text.lower()} in lower case", token.at)
        found = f'"{token.text}"' if token.kind == "text" else token.text
        return RuleSyntaxError(f"has {shown(found)} where {expected} is expected", token.at)

"""Makes rules of Sigma rules about network connections: the part of Sigma that conditions can say, and nothing else.

What cannot be said is refused with its place. Sigma compares text whatever its capitals; conditions do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from netmon.errors import NetmonError, shown

SEVERITIES = {"informational": "info", "low": "low", "medium": "medium", "high": "high", "critical": "critical"}
MAX_CONDITION = 10_000  # characters of Sigma's
MAX_DEPTH = 30
NOTE = (
    "Of a Sigma rule. Unlike Sigma's, conditions distinguish capitals from small letters; and NOT of a value that an",
    "event lacks, such as the name of a peer that DNS did not give, is unknown: then the rule does not match.",
)
TEXT, NUMBER, ADDRESS, NAME = "text", "number", "address", "name"
# Sigma's fields of the category network_connection, by attribute; and how values are compared.
FIELDS = {
    "Image": ("binary_path", TEXT),
    "ParentImage": ("parent_binary_path", TEXT),
    "CommandLine": ("args", TEXT),
    "User": ("user", TEXT),
    "ProcessId": ("pid", NUMBER),
    "SourceIp": ("ip_src", ADDRESS),
    "src_ip": ("ip_src", ADDRESS),
    "SourcePort": ("port_src", NUMBER),
    "src_port": ("port_src", NUMBER),
    "DestinationIp": ("ip_dst", ADDRESS),
    "dst_ip": ("ip_dst", ADDRESS),
    "DestinationPort": ("port_dst", NUMBER),
    "dst_port": ("port_dst", NUMBER),
    "DestinationHostname": ("domain", NAME),
}
# Options of the section `report` that attributes need.
NEEDS = {"parent_binary_path": "parent", "user": "workload", "domain": "names"}
# Where the fixed part of a value is, by the modifier: in Sigma's wildcards.
_WILDCARDS = {"": "{}", "contains": "*{}*", "startswith": "{}*", "endswith": "*{}"}

_TOKEN = re.compile(r"\s*(?:(?P<paren>[()])|(?P<word>[A-Za-z0-9_*]+))")


class _RefusedError(ValueError):
    """A part that cannot be said."""


def convert_sigma(plain: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return a configuration, as plain data, with the rule that a Sigma rule is.

    Args:
        plain: The Sigma rule, as YAML has it.
        place: What it is called in messages.

    Raises:
        NetmonError: A part of it cannot be said; the message names it.
    """
    sigma = _SigmaRule(plain, place)
    rule = sigma.convert()
    report = {"report": dict.fromkeys(sorted(sigma.needs), True)} if sigma.needs else {}
    return {"ingress": {"enabled": True}, "egress": {"enabled": True}, **report, "rules": [rule]}


class _SigmaRule:
    """One Sigma rule."""

    def __init__(self, plain: Mapping[str, Any], place: str) -> None:
        """Check it.

        Args:
            plain: The rule, as YAML has it.
            place: What it is called in messages.

        Raises:
            NetmonError: It is no Sigma rule about network connections.
        """
        self._plain = plain
        self._place = place
        self.needs: set[str] = set()
        source, detection = plain.get("logsource"), plain.get("detection")
        if not isinstance(source, Mapping) or not isinstance(detection, Mapping):
            raise NetmonError(f"{place}: is no Sigma rule: it needs logsource and detection")
        category, product = source.get("category"), source.get("product", "linux")
        if category != "network_connection" or product != "linux":
            raise NetmonError(
                f"{place}: logsource: is about {shown(str(product))}'s {shown(str(category))}; "
                "netmon sees linux's network_connection"
            )
        self._detection = detection

    def convert(self) -> dict[str, Any]:
        """Return the rule as netmon's, as plain data. Raises NetmonError with the place of what cannot be said."""
        condition = self._detection.get("condition")
        if not isinstance(condition, str):
            raise NetmonError(f"{self._place}: detection.condition: must be text; write one rule for each condition")
        try:
            when = _Parser(condition, self).whole()
        except _RefusedError as error:
            raise NetmonError(f"{self._place}: {error}") from None
        severity = SEVERITIES.get(str(self._plain.get("level", "medium")), "medium")
        tags = [str(tag)[:64] for tag in self._plain.get("tags") or () if str(tag).isprintable() and str(tag).strip()]
        title = "".join(char for char in str(self._plain.get("title", "sigma")) if char.isprintable()).strip()
        rule: dict[str, Any] = {"rule": title[:64].strip() or "sigma", "severity": severity}
        return {**rule, **({"tags": tags[:16]} if tags else {}), "when": when}

    def names_like(self, pattern: str) -> list[str]:
        """Return the searches whose names are like a pattern."""
        if pattern == "them":
            return [name for name in self._detection if name not in ("condition", "timeframe") and name[:1] != "_"]
        expression = re.escape(pattern).replace(r"\*", ".*")
        return [name for name in self._detection if name != "condition" and re.fullmatch(expression, name)]

    def search(self, name: str) -> str:
        """Return the condition of a search. Raises _RefusedError."""
        if name not in self._detection or name == "condition":
            raise _RefusedError(f"detection.condition: names {shown(name)}, which is no search of it")
        return self._search(self._detection[name], f"detection.{name}")

    def _search(self, value: Any, place: str) -> str:
        if isinstance(value, list):
            if not value or not all(isinstance(item, Mapping) for item in value):
                raise _RefusedError(f"{place}: looks for words in whole events, which have none; name a field")
            return _joined([self._search(item, f"{place}[{i}]") for i, item in enumerate(value)], "OR")
        if not isinstance(value, Mapping) or not value:
            raise _RefusedError(f"{place}: must be a mapping of fields to values")
        return _joined([self._field(str(key), wanted, f"{place}.{key}") for key, wanted in value.items()], "AND")

    def _field(self, key: str, value: Any, place: str) -> str:
        field, *modifiers = key.split("|")
        values = value if isinstance(value, list) else [value]
        if not values:
            raise _RefusedError(f"{place}: has no value")
        if field == "Initiated":
            return _joined([_initiated(one, place) for one in values], "OR")
        if field == "Protocol":
            if modifiers or any(str(one).lower() != "tcp" for one in values):
                raise _RefusedError(f"{place}: netmon sees TCP alone")
            return 'direction in ["egress", "ingress"]'
        if field not in FIELDS:
            raise _RefusedError(f"{place}: {shown(field)} is no field that netmon has; these are {', '.join(FIELDS)}")
        attribute, kind = FIELDS[field]
        if attribute in NEEDS:
            self.needs.add(NEEDS[attribute])
        every = "all" in modifiers
        modifiers = [one for one in modifiers if one != "all"]
        if len(modifiers) > 1 or not {*modifiers} <= {*_WILDCARDS, "cidr"}:
            raise _RefusedError(f"{place}: has the modifier {shown('|'.join(modifiers))}, which conditions cannot say")
        modifier = (*modifiers, "")[0]
        if (modifier == "cidr") > (kind == ADDRESS) or (kind in (NUMBER, ADDRESS) and modifier not in ("", "cidr")):
            raise _RefusedError(f"{place}: has the modifier {modifier}, which is for other fields")
        parts = [_comparison(attribute, kind, modifier, one, place) for one in values]
        equal = f"{attribute} == "
        if len(parts) > 1 and not every and all(part.startswith(equal) for part in parts):
            return f"{attribute} in [{', '.join(part.removeprefix(equal) for part in parts)}]"
        return _joined(parts, "AND" if every else "OR")


def _initiated(value: Any, place: str) -> str:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise _RefusedError(f"{place}: must be true or false")
    return f'direction == "{"egress" if text == "true" else "ingress"}"'


def _comparison(attribute: str, kind: str, modifier: str, value: Any, place: str) -> str:
    text = str(value)
    if value is None or isinstance(value, Mapping | list) or not text:
        raise _RefusedError(
            f"{place}: looks for what an event lacks, or has no value; conditions compare what is there"
        )
    if kind == NUMBER:
        if not text.isascii() or not text.isdigit():
            raise _RefusedError(f"{place}: {shown(text)} is no number")
        return f"{attribute} == {int(text[:10])}"
    if '"' in text or not text.isprintable():
        raise _RefusedError(
            f"{place}: {shown(text)} has a quote, or what cannot be printed, which no condition can have"
        )
    if kind == ADDRESS:
        if "*" in text or "?" in text:
            raise _RefusedError(f"{place}: {shown(text)} has a wildcard; give a CIDR, with the modifier cidr")
        return f'{attribute} == "{text}"'
    if "?" in text or "\\" in text:
        raise _RefusedError(f"{place}: {shown(text)} has ? or a backslash, which conditions cannot say")
    pattern = _WILDCARDS[modifier].format(text)
    if kind == NAME:
        return _name(attribute, pattern.lower(), place)
    if "*" not in pattern:
        return f'{attribute} == "{pattern}"'
    return f'{attribute} like "{re.sub(r"[*]+", "**", pattern)}"'


def _name(attribute: str, pattern: str, place: str) -> str:
    """Return the comparison of a host's name: a wildcard of Sigma's stands for any characters, also none."""
    if "*" not in pattern:
        return f'{attribute} == "{pattern}"'
    return f'{attribute} like "{re.sub(r"[*]+", "**", pattern)}"'


def _joined(parts: list[str], operator: str) -> str:
    return parts[0] if len(parts) == 1 else f"({f' {operator} '.join(parts)})"


class _Parser:
    """Reads Sigma's condition: and, or, not, parentheses, `1 of NAME*`, `all of them`."""

    def __init__(self, text: str, rule: _SigmaRule) -> None:
        if len(text) > MAX_CONDITION:
            raise _RefusedError(f"detection.condition: is longer than {MAX_CONDITION:,} characters")
        self._words = [*_words(text)]
        self._rule = rule
        self._depth = 0

    def whole(self) -> str:
        condition = self._or(outermost=True)
        if self._words:
            raise _RefusedError(f"detection.condition: has {shown(self._words[0])} where it should end")
        return condition

    def _takes(self, word: str) -> bool:
        found = bool(self._words) and self._words[0].lower() == word
        if found:
            del self._words[0]
        return found

    def _or(self, *, outermost: bool = False) -> str:
        parts = [self._and(outermost=outermost)]
        while self._takes("or"):
            parts.append(self._and(outermost=outermost))
        return " OR ".join(parts) if outermost else _joined(parts, "OR")

    def _and(self, *, outermost: bool) -> str:
        parts = [self._not()]
        while self._takes("and"):
            parts.append(self._not())
        return " AND ".join(parts) if outermost else _joined(parts, "AND")

    def _not(self) -> str:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _RefusedError("detection.condition: is too deep")
        found = f"NOT {self._not()}" if self._takes("not") else self._primary()
        self._depth -= 1
        return found

    def _primary(self) -> str:
        if self._takes("("):
            condition = self._or()
            if not self._takes(")"):
                raise _RefusedError("detection.condition: has a parenthesis that is not closed")
            return condition
        if not self._words:
            raise _RefusedError("detection.condition: ends where a search should be")
        word = self._words.pop(0)
        if word.lower() in ("1", "all", "any") and self._takes("of"):
            pattern = self._words.pop(0) if self._words else ""
            names = self._rule.names_like(pattern)
            if not names:
                raise _RefusedError(f"detection.condition: no search is like {shown(pattern)}")
            return _joined([self._rule.search(name) for name in names], "AND" if word.lower() == "all" else "OR")
        return self._rule.search(word)


def _words(text: str) -> Iterator[str]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _RefusedError(
                f"detection.condition: has {shown(text[at : at + 20].strip())}, which conditions cannot say"
            )
        yield match[match.lastgroup or 0]
        at = match.end()

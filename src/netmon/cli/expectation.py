"""`--expect FILE`: a configuration that says what is expected. What it reports is unexpected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netmon.cli import EXIT_UNEXPECTED
from netmon.cli.console import say
from netmon.cli.flag_names import flag_error
from netmon.errors import shown

if TYPE_CHECKING:
    import argparse

    from netmon.filters.compiled import CompiledFilters
    from netmon.learn.drift import Drift
    from netmon.losses import Losses
    from netmon.rules.load import RuleSet
    from netmon.rules.plain import StoredRules


class Expectation:
    """What a run expects, and what it has found outside.

    Attributes:
        file: Where it is, for messages.
        drift: What was found.
    """

    def __init__(self, file: str) -> None:
        """Make it. file: the configuration."""
        from netmon.learn.drift import Drift  # only those who expect something need it

        self.file = file
        self.drift: Drift = Drift()

    def check(self, filters: CompiledFilters) -> CompiledFilters:
        """Return filters as they are. Raises ConfigError: nothing that happens could be unexpected."""
        if filters.rules:
            from netmon.rules.plain import unpack_rules

            self.check_rules(unpack_rules(filters.rules))
        return filters

    def check_rules(self, rules: RuleSet | StoredRules) -> None:
        """Raise ConfigError if nothing that happens could be unexpected."""
        if not rules.reports_unmatched and all(rule.action != "report" for rule in rules.rules):
            raise flag_error(
                "expect", f"{shown(self.file)} reports nothing, so all would be expected; add unmatched: report"
            )

    def report(self, losses: Losses, *, with_rules: bool = True) -> None:
        """Say what was not expected. with_rules: and which rules would allow it."""
        say(f"{shown(self.file)}: {self.drift.summary}")
        rules = self.drift.suggestion() if with_rules and self.drift.count else []
        if rules:
            say("\n".join(["to allow it, add these rules to the file:", *rules]))
        if losses.total or losses.blind_ms:
            say("events were lost: whether they were expected is not known")

    def code(self, losses: Losses) -> int:
        """Return EXIT_UNEXPECTED if something was unexpected, or may have been, since events were lost; else 0."""
        return EXIT_UNEXPECTED if self.drift.count or losses.total or losses.blind_ms else 0


def expectation_of(options: argparse.Namespace) -> Expectation | None:
    """Return what flags expect, if they do; its file is then the configuration. Raises ConfigError."""
    if options.expect is None:
        return None
    if options.config is not None:
        raise flag_error("expect", "cannot be combined with --config: an expectation is a configuration itself")
    options.config = options.expect
    return Expectation(options.expect)

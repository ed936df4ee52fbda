"""`netmon rules`: whether rules can be used, what they match in recorded events, and why."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_FAILED, EXIT_OK, STANDARD_INPUT
from netmon.cli.console import say, show
from netmon.cli.flag_names import flag_error
from netmon.errors import ConfigError, NetmonError, shown

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.rules.load import LoadedRule


RULES = "rules"
FORMS = (RULES, "systemd", "networkpolicy")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "rules",
        help="check rules, try them on recorded events, and explain why one matches",
        description="Work with the rules of a configuration (docs/rules.md). It needs no rights, and no kernel of "
        "netmon's. The examples among the rules (tests:) are tried by `check` and `test`; if one fails, the exit code "
        "is 1.",
    )
    tools = parser.add_subparsers(required=True, metavar="TOOL")
    check = tools.add_parser("check", help="say what is wrong with rules, and try their examples")
    check.add_argument("files", nargs="+", metavar="FILE")
    check.set_defaults(command=_check)
    test = tools.add_parser("test", help="say how often each rule matches recorded events")
    test.add_argument("file", metavar="FILE")
    _add_events(test)
    test.set_defaults(command=_test)
    explain = tools.add_parser("explain", help="say why rules match an event or not, comparison by comparison")
    explain.add_argument("file", metavar="FILE")
    _add_events(explain)
    explain.add_argument("--rule", metavar="NAME", help="this rule alone")
    explain.add_argument("--number", metavar="N", type=_count, default=1, help="the Nth event (default: the first)")
    explain.set_defaults(command=_explain)
    convert = tools.add_parser(
        "convert",
        help="make rules of filters or of a Sigma rule, or drafts for systemd and Kubernetes of rules",
        description="Write the filters of a configuration as rules, or a Sigma rule about network connections. With "
        "--to, write a draft of what rules expect (netmon learn): address lists for systemd's units, or Kubernetes' "
        "NetworkPolicies. What the other side cannot say is refused, or a comment in the draft.",
    )
    convert.add_argument("file", metavar="FILE", help="a configuration or a Sigma rule; -: standard input")
    convert.add_argument("--to", metavar="FORM", default=RULES, help=f"{', '.join(FORMS)} (default: {RULES})")
    convert.set_defaults(command=_convert)
    library = tools.add_parser("library", help="list the rules that come with netmon, or print some of them")
    library.add_argument("name", nargs="?", metavar="NAME", help="print this file, a configuration to start from")
    library.set_defaults(command=_library)


def _add_events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "events", metavar="EVENTS", help="a recording (netmon run --record), or lines of JSON; -: standard input"
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:10]) > 0):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no number from 1 on")
    return int(text[:10])


def _check(options: argparse.Namespace) -> int:
    """Check files, and try their examples. Raises ConfigError."""
    from netmon.rules.load import compile_rules
    from netmon.rules.wanted import in_kernel

    failed = False
    for file in options.files:
        config, loaded = _load(file)
        failed |= _try_examples(file, loaded)
        examples = sum(len(rule.examples) for rule in loaded)
        say(f"{shown(file)}: {len(loaded)} rules, {examples} examples")
        say(f"{shown(file)}: in the kernel, {in_kernel(compile_rules(config))}")
    return EXIT_FAILED if failed else EXIT_OK


def _test(options: argparse.Namespace) -> int:
    """Judge recorded events. Raises ConfigError, DecodeError, NetmonError."""
    from netmon.cli.recorded import read_recorded
    from netmon.rules.events import JsonRules, is_judged

    config, loaded = _load(options.file)
    failed = _try_examples(options.file, loaded)
    rules, counts = JsonRules(config), Counter[str]()
    for event in read_recorded(options.events).events:
        if is_judged(event):
            outcome = rules.outcome(event)
            counts["events"] += 1
            counts["reported"] += outcome.reported
            counts["of no rule"] += not outcome.names
    width = max((len(name) for name in rules.judge.counts), default=0)
    for rule in loaded:
        matched = rules.judge.counts[rule.rule.name]
        show(f"{rule.rule.name:{width}}  {matched:>9} connections  {rule.rule.action}")
    say(", ".join(f"{counts[name]} {name}" for name in ("events", "reported", "of no rule")))
    return EXIT_FAILED if failed else EXIT_OK


def _explain(options: argparse.Namespace) -> int:
    """Explain one event. Raises ConfigError, DecodeError, NetmonError."""
    from netmon.cli.recorded import read_recorded
    from netmon.report import DIRECTION_OF
    from netmon.rules.events import facts_of, is_judged
    from netmon.rules.explain import explain, values_of

    config, loaded = _load(options.file)
    if options.rule is not None:
        loaded = [rule for rule in loaded if rule.rule.name == options.rule]
        if not loaded:
            raise NetmonError(f"{shown(options.file)} has no rule {shown(options.rule)}")
    events = (event for event in read_recorded(options.events).events if is_judged(event))
    event = next((event for i, event in enumerate(events, 1) if i == options.number), None)
    if event is None:
        raise NetmonError(f"{shown(options.events)} has no event number {options.number}")
    facts = facts_of(event)
    enabled = [name for name in ("ingress", "egress") if getattr(config, name).enabled]
    direction = facts.direction or DIRECTION_OF.get(facts.kind) or (enabled[0] if len(enabled) == 1 else None)
    values = values_of(event["process"], event.get("parent"), facts._replace(direction=direction))
    for rule in loaded:
        for line in explain(rule, values):
            show(_harmless(line))
    return EXIT_OK


def _convert(options: argparse.Namespace) -> int:
    """Convert a file. Raises ConfigError, NetmonError, OSError."""
    if options.to not in FORMS:
        from netmon.nearest import remedy

        otherwise = f"give {', '.join(FORMS)}"
        raise flag_error("to", f"{shown(options.to)} is no form; {remedy(options.to, FORMS, otherwise)}")
    if options.to != RULES:
        from netmon.learn.drafts import draft_of

        show(draft_of(options.to, _load(options.file)[1]).rstrip("\n"))
        return EXIT_OK
    from netmon.config.yaml_writer import write_yaml

    note, plain = _converted(options.file)
    show("\n".join([*(f"# {line}" for line in note), *write_yaml(plain)]))
    return EXIT_OK


def _converted(file: str) -> tuple[Sequence[str], dict[str, Any]]:
    """Return a configuration with rules as plain data, and what is to be known of it."""
    from netmon.config.checked import check_document
    from netmon.config.document import document_of
    from netmon.config.yaml_reader import load_yaml

    document = load_yaml("/dev/stdin" if file == STANDARD_INPUT else file)
    if isinstance(document.data, dict) and "detection" in document.data:
        from netmon.rules.from_sigma import NOTE, convert_sigma

        if document.found:
            raise ConfigError(document.problems)
        made = convert_sigma(document.data, shown(file))
        check_document(document_of(made, f"{shown(file)}, converted"))
        return NOTE, made
    from netmon.rules.from_filters import NOTE as FILTERS_NOTE
    from netmon.rules.from_filters import convert_filters

    config = check_document(document)
    return FILTERS_NOTE, convert_filters(config, document.data)


def _library(options: argparse.Namespace) -> int:
    """List the files of the library, or print one. Raises NetmonError."""
    from netmon.rules.library import LIBRARY, read_library

    if options.name is None:
        for name in LIBRARY:
            show(f"{name:14} {read_library(name).partition(chr(10))[0].removeprefix('# ')}")
        return EXIT_OK
    if options.name not in LIBRARY:
        raise NetmonError(f"the library has no {shown(options.name)}; it has {', '.join(LIBRARY)}")
    show(read_library(options.name).rstrip("\n"))
    return EXIT_OK


def _harmless(text: str) -> str:
    from netmon.text import escape_for_terminal

    return escape_for_terminal(text)


def _load(file: str) -> tuple[Config, Sequence[LoadedRule]]:
    """Return a configuration, and its rules. Raises ConfigError, or NetmonError if it has none."""
    from netmon.config import Config  # slow to import
    from netmon.rules.load import load_rules

    config = Config.from_yaml("/dev/stdin" if file == STANDARD_INPUT else file)
    loaded = load_rules(config)
    if not loaded and config.unmatched == "drop":  # else nothing is expected, as netmon learn may have found
        raise NetmonError(f"{shown(file)} has no rules")
    return config, loaded


def _try_examples(file: str, loaded: Iterable[LoadedRule]) -> bool:
    """Try the examples of rules; say which fail, and return whether any does."""
    from netmon.rules.explain import explain, matches, values_of_example

    failed = False
    for rule in loaded:
        for i, example in enumerate(rule.examples, 1):
            values = values_of_example(example.values)
            if rule.rule.direction:
                values.setdefault("direction", rule.rule.direction)
            if (matches(rule, values) is True) != example.matches:
                failed = True
                wanted = "match" if example.matches else "not match"
                say(f"{shown(file)}: example {i} of {shown(rule.rule.name)} should {wanted}:")
                say("\n".join(explain(rule, values)))
    return failed

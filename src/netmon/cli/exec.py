"""`netmon exec`: runs a command, and reports the connections of it and of all processes that descend from it."""

from __future__ import annotations

import argparse
import os
import signal
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_OK
from netmon.cli.console import describe, say
from netmon.cli.flags import FlagError, add_exec_flags, flag_error
from netmon.command import EXIT_NOT_STARTED
from netmon.errors import NetmonError, Problem, shown

if TYPE_CHECKING:
    from netmon.cli.expectation import Expectation
    from netmon.cli.run import MakeView
    from netmon.command.held import HeldCommand
    from netmon.outputs.base import Output

REPORTS = ("table", "json", "markdown", "rules")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "exec",
        help="run a command, and watch its connections and those of all processes that it starts",
        usage="netmon exec [options] -- COMMAND [ARGUMENT ...]",
        description="Run a command, and report each connection of it and of all processes that descend from it, from "
        "the first instruction on. The command has its own input, output, terminal and signals; events go to standard "
        "error. The exit code is the command's (128 and the number of the signal that killed it; 127: not found, 126: "
        "not executable; 125: netmon itself has failed, and the command was not started). Under sudo the command runs "
        "as the user who called sudo.",
    )
    parser.set_defaults(command=execute)
    parser.usage_code = EXIT_NOT_STARTED
    add_exec_flags(parser)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND", help=argparse.SUPPRESS)


def execute(options: argparse.Namespace) -> int:
    """Run the command; return its exit code. In the process that watches, raise NetmonError if that fails."""
    from netmon.cli.account import find_asker
    from netmon.cli.command import hold_command
    from netmon.cli.new_files import refuse_impossible_files
    from netmon.cli.supervisor import BLOCKED, Supervisor

    try:
        arguments = _arguments_of(options)
        _check_report(options)
        expectation = _expectation_of(options)
        refuse_impossible_files(options)
        account = None if options.root else find_asker(os.environ, os.geteuid())
        output = _open_output(options)
    except (NetmonError, OSError) as error:
        say(describe(error) if isinstance(error, OSError) else error)
        return EXIT_NOT_STARTED
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    command = hold_command(arguments, account, before)  # before there are threads
    from_supervisor, to_watcher = os.pipe()
    watcher = os.fork()
    if watcher == 0:
        os.close(to_watcher)
        return _watch(options, command, output, from_supervisor, expectation)
    command.forget()
    os.close(from_supervisor)
    return Supervisor(command, watcher, to_watcher, expects=expectation is not None).wait()


def _expectation_of(options: argparse.Namespace) -> Expectation | None:
    """Return what the command is expected to do, if flags say so. Raises ConfigError."""
    if options.expect is None:
        return None
    from netmon.cli.expectation import expectation_of

    if options.report == "rules":
        raise flag_error("report", "cannot be rules with --expect, which suggests rules itself; leave one out")
    with open(options.expect, "rb"):  # it is read later, once the command's process waits
        return expectation_of(options)


def _arguments_of(options: argparse.Namespace) -> list[str]:
    """Return the command and its arguments. Raises ConfigError."""
    given: list[str] = options.arguments
    arguments = given[1:] if given[:1] == ["--"] else given
    if not arguments:
        message = "give a command to run: netmon exec -- curl https://example.com/"
        raise FlagError([Problem("command line", None, (), None, message)])
    return arguments


def _check_report(options: argparse.Namespace) -> None:
    """Refuse what does not go with a report. Raises ConfigError."""
    if options.report is None:
        return
    if options.report not in REPORTS:
        raise flag_error("report", f"{shown(options.report)} is no form of a report; give {', '.join(REPORTS)}")
    for name in ("format", "fields", "template", "each", "events", "failures"):
        if getattr(options, name):
            raise flag_error(
                name, "cannot be combined with --report, which shows all events; leave one or the other out"
            )


def _open_output(options: argparse.Namespace) -> int:
    """Return the descriptor that events are written to. Raises OSError."""
    if options.output is None:
        from netmon.outputs.standard_output import STDERR_FILENO

        return STDERR_FILENO
    return os.open(options.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOCTTY, 0o666)


def _watch(
    options: argparse.Namespace, command: HeldCommand, fd: int, supervisor: int, expectation: Expectation | None
) -> int:
    """Watch the command until it has ended; return an exit code for the supervisor. Raises NetmonError."""
    from netmon.cli.command_end import CommandEnd
    from netmon.cli.run import run_with

    options.tree = [command.pid]
    end = CommandEnd(supervisor, wait_all=options.wait_all)

    def start() -> None:
        end.begin()
        command.start()

    losses = run_with(
        [_output_to(fd, options.output)],
        options,
        end,
        make_view=_view_maker(options, fd, expectation),
        ready=start,
        expectation=expectation,
    )
    if expectation is None:
        return EXIT_OK
    expectation.report(losses, with_rules=options.report not in ("table", "markdown"))
    return expectation.code(losses)


def _output_to(fd: int, name: str | None) -> Output:
    if name is None:
        from netmon.outputs.standard_output import StandardError

        return StandardError()
    from netmon.outputs.base import Output

    return Output(name, fd)


def _view_maker(options: argparse.Namespace, fd: int, expectation: Expectation | None) -> MakeView:
    """Return what makes the view: a report, or what `netmon run` would show there. Raises ConfigError."""
    from netmon.cli.views import add_reports, is_ascii_only, prepare_view

    if options.report is None:
        return prepare_view(options, on_terminal=os.isatty(fd), fd=fd)
    if options.report == "rules":
        from netmon.cli.learn import learn_view

        options.names = (options.egress or not options.ingress) if options.names is None else options.names
        return learn_view
    from netmon.terminal.report_view import ReportView

    add_reports(options)
    allowing = expectation.drift.suggestion if expectation is not None else None
    return lambda _watched: ReportView(options.report, ascii_only=is_ascii_only(), allowing=allowing)

"""The flags of `netmon run`, and the configuration that they describe."""

from __future__ import annotations

import argparse
import pwd
from pathlib import Path

import pytest

from netmon.cli.flag_config import FlagConfig
from netmon.cli.flags import config_of
from netmon.cli.main import main, make_parser
from netmon.config.checked import CheckedConfig, CheckedDirection, check_document
from netmon.config.document import document_of
from netmon.errors import ConfigError
from netmon.report import OPTIONS, Report


def options_of(*arguments: str) -> argparse.Namespace:
    return make_parser().parse_args(["run", *arguments])


def test_each_report_option_has_a_flag() -> None:
    config = config_of(options_of(*(f"--{name}" for name in OPTIONS)))
    assert config is not None
    others = dict.fromkeys(("ancestors", "progress", "events"))
    assert config.report._asdict() == {**dict.fromkeys(OPTIONS, True), **others}
    assert config.ingress.enabled and config.egress.enabled


@pytest.mark.parametrize("name", OPTIONS)
def test_a_flag_sets_its_report_option_alone(name: str) -> None:
    config = config_of(options_of("--egress", f"--{name}"))
    assert config is not None
    assert config.report._asdict() == {**Report()._asdict(), name: True}


def test_flags_of_processes_that_run() -> None:
    config = config_of(options_of("--pid", "1", "--tree", "2", "--tree", "3", "--deny-process"))
    assert config is not None
    assert config.process_filter is not None
    assert (config.process_filter.pid, config.process_filter.descendants) == ((1,), (2, 3))
    assert config.process_filter.deny_list


def test_a_refused_pid_is_named_by_its_flag() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of("--tree", "0"))
    assert str(caught.value) == "--tree: 0 is out of range; process ids go from 1 to 4194304"


def test_events_are_separated_by_commas_or_repeated() -> None:
    config = config_of(options_of("--outcome", "--events", "close, fail", "--events", "accept"))
    assert config is not None
    assert config.report == Report(outcome=True, events=("close", "fail", "accept"))


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--events", "close,fial", "--outcome"], "'fial' is no event; did you mean fail?"),
        (["--events", "fail"], "fail needs --outcome; add it, or leave fail out"),
        (["--events", "accept", "--egress"], "accept needs --ingress; add it, or leave accept out"),
    ],
)
def test_refused_events(flags: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of(*flags))
    assert str(caught.value) == f"--events: {problem}"


@pytest.mark.parametrize(
    ("flag", "text", "remedy"),
    [
        ("--peer", "10.0.0.1:443", "write --peer 10.0.0.1 --peer-port 443"),
        ("--dst-ip", "[::1]:443", "write --peer ::1 --peer-port 443"),
        ("--local", "10.0.0.0/8:22", "write --local 10.0.0.0/8 --local-port 22"),
    ],
)
def test_an_address_with_a_port(flag: str, text: str, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", flag, text]) == 2
    assert capsys.readouterr().err == f"netmon: {flag}: {text!r} has a port; {remedy}\n"
    assert options_of("--peer", "::1,fe80::1:443").dst_ip == ["::1", "fe80::1:443"]


def test_events_over_a_file_name_the_files_key_too() -> None:
    base = CheckedConfig(egress=CheckedDirection(enabled=True))
    for events, problem in (
        ("fail", "fail needs --outcome, or report.outcome in the file; add it, or leave fail out"),
        ("accept", "accept needs --ingress, or ingress.enabled in the file; add it, or leave accept out"),
    ):
        with pytest.raises(ConfigError, match=problem):
            FlagConfig(vars(options_of("--events", events))).over(base)


def test_the_interval_of_progress() -> None:
    config = config_of(options_of("--progress", "1.5s", "--events", "progress"))
    assert config is not None
    assert config.report == Report(progress=1.5, events=("progress",))


def test_the_number_of_ancestors() -> None:
    config = config_of(options_of("--ancestors", "4"))
    assert config is not None
    assert config.report == Report(ancestors=4)


@pytest.mark.parametrize(
    ("number", "problem"),
    [("0", "'0' is out of range; give a number of ancestors from 1 to 16"), ("all", "'all' is not a whole number")],
)
def test_a_wrong_number_of_ancestors(number: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options_of("--ancestors", number)
    assert problem in capsys.readouterr().err


def test_progress_among_the_events_needs_an_interval() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of("--events", "progress"))
    assert str(caught.value) == "--events: progress needs --progress; add it, or leave progress out"


def test_outcome_without_egress_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of("--ingress", "--outcome", "--parent"))
    assert str(caught.value) == "--outcome: needs --egress; add it, or leave --ingress out"


def test_flags_of_ports_namespaces_cgroups_and_containers() -> None:
    container_id = "0" * 12
    config = config_of(
        options_of(
            *("--src-port", "22", "--src-port", "8000-8999", "--dst-port", "443", "--deny-port"),
            *("--netns", "/proc/self/ns/net", "--netns", "7", "--deny-netns"),
            *("--cgroup", "/system.slice", "--container-id", container_id),
        )
    )
    assert config is not None
    ports = {"src_port": [22, "8000-8999"], "dst_port": [443], "match": "all", "deny_list": True}
    data = {
        "ingress": {"enabled": True, "port_filter": ports},
        "egress": {"enabled": True, "port_filter": ports},
        "netns_filter": {"netns": [Path("/proc/self/ns/net").stat().st_ino, 7], "deny_list": True},
        "process_filter": {"cgroup": ["/system.slice"], "container_id": [container_id]},
    }
    assert config == check_document(document_of(data, "test"))


def test_a_filter_of_names_turns_names_on() -> None:
    config = config_of(options_of("--domain", "API.example,**.b.example", "--deny-domain", "--egress"))
    names = {"domain": ["api.example", "**.b.example"], "deny_list": True}
    data = {"egress": {"enabled": True}, "report": {"names": True}, "name_filter": names}
    assert config == check_document(document_of(data, "test"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--src-port", "ssh"], "--src-port: 'ssh' is a service, not a port; did you mean 22?"),
        (["--port", "ssh"], "--port: 'ssh' is a service, not a port; did you mean 22?"),
        (["--local", "10.0.0.1/8"], "--local: '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?"),
        (["--peer", "a.example"], "--peer: 'a.example' is a name, and names are not looked up; give its addresses"),
        (["--dst-ip", "10.0.0.1/8"], "--dst-ip: '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?"),
        (["--uid=-1"], "--uid: -1 is out of range"),
        (["--path", "x", "--name", "y"], "--path: 'x' does not begin with '/'"),
        (["--deny-ip"], "--deny-ip: inverts --local or --peer; add one, or leave it out"),
        (
            ["--peer", "::ffff:10.0.0.0/104"],
            "--peer: '::ffff:10.0.0.0/104' is IPv4-mapped, so the IPv4 filter applies; write 10.0.0.0/8",
        ),
        (["-4", "--peer", "::1"], "--peer: '::1' is IPv6, which -4 leaves out"),
        (["-6", "--src-ip", "127.0.0.1"], "--src-ip: '127.0.0.1' is IPv4, which -6 leaves out"),
        (["--local", "::1", "--dst-ip", "127.0.0.1"], "--local: no connection matches --local and --dst-ip: one is"),
        (["--port", "80", "--peer-port", "1"], "--port: is of either end, so it cannot be combined with --peer-port"),
        (["--failures", "--ingress"], "--failures: needs --egress; add it, or leave --ingress out"),
        (["--failures", "--events", "close"], "--failures: cannot be combined with --events"),
        (["--failures", "--aggregate", "10s"], "--failures: cannot be combined with --aggregate"),
        (["--name", "a/b"], "--name: 'a/b' is a path, not a file name; put it in path or prefix"),
        (["--comm", ".."], "--comm: '..' is not the name of a file"),
        (["--deny-process"], "--deny-process: inverts --uid, "),
        (["--dst-port", "65536"], "--dst-port: 65536 is out of range"),
        (["--netns", "blue"], "--netns: 'blue' is not a path; did you mean /run/netns/blue?"),
        (["--netns", "7", "--netns", "/absent"], "--netns: '/absent' cannot be used: No such file or directory; give"),
        (["--container-id", "web"], "--container-id: 'web' is not a container id"),
        (["--cgroup", "x"], "--cgroup: 'x' does not begin with '/'"),
        (["--deny-port"], "--deny-port: inverts --port, --local-port or --peer-port; add one, or leave it out"),
        (["--deny-netns"], "--deny-netns: inverts --netns; add one, or leave it out"),
        (["--names", "--events", "close"], "--events: names needs establish; add it, or leave names out"),
        (["--deny-domain"], "--deny-domain: inverts --domain; add one, or leave it out"),
        (["--domain", "https://a/"], "--domain: 'https://a/' is a URL or an address; give the name of the host alone"),
        (["--domain", "a.example", "--ingress"], "--names: needs --egress; add it, or leave --ingress out"),
        (["--domain", "a.example", "--no-names"], "--no-names: leaves out what --domain needs; leave one or the other"),
    ],
)
def test_refused_values_are_named_by_their_flags(arguments: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of(*arguments))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(problem)


def test_an_argument_of_the_monitor_is_named_by_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--aggregate", "10s", "--statistics"]) == 2
    assert capsys.readouterr().err == (
        "netmon: --aggregate: cannot be combined with statistics; leave one or the other out\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--ring-size", "5M"], "--ring-size: '5M' is not a power of two; did you mean 4M or 8M?"),
        (["--ring-size", "5"], "--ring-size: '5' is out of range; give a size from 4K to 1G"),
        (["--ring-size", "4MiB"], "--ring-size: '4MiB' is not a size; write it like 65536, 64K or 4M"),
        (["--line-limit", "49K"], "--line-limit: '49K' is out of range; a line may have from 16K to 48K"),
        (["--aggregate", "99h"], "--aggregate: '99h' is out of range; a period is from 1s to 24h"),
        (["--aggregate", "10"], "--aggregate: '10' is not a duration; write it like 10s, 500ms, 5m or 1h"),
        (["--batch-delay", "11s"], "--batch-delay: '11s' is out of range; a batch waits from 0s to 10s"),
        (["--uid", "no-such-user"], "--uid: 'no-such-user' is no user of this host; give a user's name or id"),
        (["--gid", "1,no-such"], "--gid: 'no-such' is no group of this host; give a group's name or id"),
        (
            ["--pid", "curl"],
            "--pid: 'curl' is not a process id, which is a number; pgrep -x NAME prints those of a name",
        ),
        (
            ["--peer", "10.0.0.1,"],
            "--peer: '10.0.0.1,' has an empty value; write one, or several with commas between them",
        ),
        (["--peer"], "--peer/--dst-ip: needs a value"),
        (["--nmae", "curl"], "--nmae: no such flag of netmon run; did you mean --name?"),
        (["--zzzzzz=1"], "--zzzzzz: no such flag of netmon run; netmon run --help lists the flags"),
        (["curl"], "curl: not a flag; --name curl reports a program's connections, netmon exec -- curl runs it"),
        (["\x1b[2J"], "'\\x1b[2J': not a flag; --name '\\x1b[2J' reports a program's connections, netmon exec"),
    ],
)
def test_a_wrong_flag_is_one_line(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *arguments]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert line.startswith(f"netmon: {problem}")


def test_users_and_groups_have_names() -> None:
    config = config_of(options_of("--uid", "root,7", "--gid", "root", "--euid", "8", "--euid", "daemon"))
    assert config is not None
    assert config.process_filter is not None
    assert config.process_filter.uid == (0, 7)
    assert config.process_filter.gid == (0,)
    assert config.process_filter.euid == (8, pwd.getpwnam("daemon").pw_uid)

"""The metrics, as Prometheus reads them; and what counts for them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from netmon.cli.metrics import read_metrics
from netmon.control.event_counts import EventCounts, Histogram, TopCounts
from netmon.control.http import MetricsServer
from netmon.control.metrics import MAX_LABEL, escaped, expose
from netmon.errors import NetmonError
from pack.paths import PROMETHEUS, ROOT
from tests.support.controlled_run import run_controlled
from tests.support.ring_filler import Filler
from tests.support.waiting import DEADLINE, wait_until
from tests.unit.control.prometheus import program

RULES = PROMETHEUS / "netmon.rules.yaml"
DASHBOARD = PROMETHEUS / "netmon-dashboard.json"
FLAGS = ("--metrics", "--outcome", "--statistics")


def serving(server: MetricsServer) -> threading.Thread:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    return thread


def get(url: str) -> tuple[int, str, str]:
    """Return the code, the type of the content, and the content."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def names_in(expression: str) -> set[str]:
    """Return the metrics that an expression of Prometheus names, without the parts of histograms."""
    return {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\bnetmon_\w+", expression)}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The metrics of a run with events."""
    found: list[str] = []

    def act(filler: Filler, path: str) -> None:
        filler.send(1 + 1000)
        wait_until(lambda: "netmon_events_total 1000\n" in read_metrics(path))
        found.append(read_metrics(path))

    run_controlled(tmp_path_factory.mktemp("run"), act, *FLAGS)
    return found[0]


def promtool(*arguments: str, given: str = "") -> str:
    """Return what Prometheus's own linter says, which must be nothing bad."""
    done = subprocess.run(
        [program("promtool"), *arguments], input=given, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_them(text: str) -> None:
    assert promtool("check", "metrics", given=text) == ""


def test_prometheus_accepts_the_alerts() -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    assert f"SUCCESS: {len(groups[0]['rules'])} rules found" in promtool("check", "rules", str(RULES))


def test_the_dashboard_and_the_alerts_ask_for_metrics_that_there_are(text: str) -> None:
    there = {*re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)}
    needs_more = {
        "netmon_program_run_seconds",  # needs kernel.bpf_stats_enabled
        "netmon_connection_failures_total",  # none of these records fails
        "netmon_rule_matches_total",  # there is no rule
        "netmon_program_run_seconds_total",
    }
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    panels = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]
    assert len(panels) > 10
    for expression in rules + panels:
        assert names_in(expression) <= there | needs_more, expression


def test_the_page_describes_each_metric(text: str) -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    described = {*re.findall(r"`(netmon_\w+)", page)}
    assert {*re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)} - described == set()


def test_a_real_prometheus_scrapes_them(tmp_path: Path) -> None:
    """By HTTP, with the alerts loaded; one of these fires, as nothing is attached in this test."""
    port = free_port()

    def act(filler: Filler, path: str) -> None:
        filler.send(1 + 1000)
        server = MetricsServer(("127.0.0.1", 0), path, read_metrics)
        serving(server)
        (tmp_path / "rules.yaml").write_text(RULES.read_text())
        (tmp_path / "prometheus.yaml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yaml]\n"
            "scrape_configs:\n- job_name: netmon\n  static_configs:\n"
            f"  - targets: ['127.0.0.1:{server.server_address[1]}']\n"
        )
        command = [
            *(str(program("prometheus")), "--config.file", str(tmp_path / "prometheus.yaml"), "--log.level", "warn"),
            *("--storage.tsdb.path", str(tmp_path / "data"), "--web.listen-address", f"127.0.0.1:{port}"),
        ]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as prometheus:
            try:
                wait_until(lambda: value(port, "netmon_events_total") == "1000" or prometheus.poll() is not None)
                assert value(port, 'netmon_connections_total{result="established"}') == "500"
                alerts = json.loads(get(f"http://127.0.0.1:{port}/api/v1/rules")[2])["data"]["groups"][0]["rules"]
                assert {"NetmonLosesEvents", "NetmonDown"} <= {alert["name"] for alert in alerts}
                assert {alert["lastError"] for alert in alerts if "lastError" in alert} <= {""}
            finally:
                prometheus.terminate()
                problems = prometheus.stderr.read() if prometheus.stderr else ""
                assert "level=error" not in problems, problems
        server.shutdown()
        server.server_close()

    run_controlled(tmp_path, act, *FLAGS)


def value(port: int, query: str) -> str:
    """Return the value of a query that has one; "" as long as there is none."""
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        result = json.loads(get(url)[2])["data"]["result"]
    except (OSError, ValueError, KeyError):
        return ""
    return str(result[0]["value"][1]) if result else ""


def test_http_has_the_metrics_and_probes(tmp_path: Path) -> None:
    def act(_filler: Filler, path: str) -> None:
        server = MetricsServer(("127.0.0.1", 0), path, read_metrics)
        serving(server)
        base = server.url.removesuffix("/metrics")
        code, kind, content = get(server.url)
        assert (code, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert 'netmon_build_info{version="' in content
        assert get(f"{base}/live")[::2] == (200, "live\n")
        assert get(f"{base}/ready")[::2] == (200, "ready\n")
        assert get(f"{base}/nothing")[0] == 404
        server.shutdown()
        server.server_close()

    run_controlled(tmp_path, act)


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[MetricsServer]:
    """A server of metrics whose netmon does not run."""
    server = MetricsServer(("127.0.0.1", 0), str(tmp_path / "control"), read_metrics)
    serving(server)
    yield server
    server.shutdown()
    server.server_close()


def test_without_a_netmon_http_says_so(orphan: MetricsServer) -> None:
    code, _, content = get(orphan.url)
    assert code == 503
    assert "is not there: start netmon run with --control" in content


def test_a_client_that_is_silent_holds_nobody_up(orphan: MetricsServer) -> None:
    with socket.create_connection(orphan.server_address[:2]):  # type: ignore[arg-type]
        assert get(orphan.url)[0] == 503


def test_labels_are_harmless() -> None:
    assert escaped('a"b\\c\nd') == 'a\\"b\\\\c\\nd'
    assert len(escaped("x" * 10_000)) == MAX_LABEL


NAMES = st.sampled_from("abcdefghij")


@given(st.lists(st.lists(st.tuples(NAMES, st.integers(1, 50)))))
def test_a_top_list_is_bounded_and_no_count_falls(rounds: list[list[tuple[str, int]]]) -> None:
    counts = TopCounts(top=3, candidates=4)
    before: dict[str, int] = {}
    others_before = total = 0
    for names in rounds:
        for name, count in names:
            counts.add(name, count)
            total += count
        ranked, others = counts.rank()
        assert len(ranked) <= 3
        assert others >= others_before
        assert all(count >= before[name] for name, count in ranked.items() if name in before)
        assert sum(ranked.values()) + others <= total
        before, others_before = ranked, others


def test_a_name_that_is_seen_more_gets_a_place() -> None:
    """Whoever fills the list with names of one connection each loses it to those that connect."""
    counts = TopCounts(top=3, candidates=10)
    for name in "abc":
        counts.add(name)
    assert counts.rank() == ({"a": 1, "b": 1, "c": 1}, 0)
    counts.add("busy", 100)
    counts.add("a")
    ranked, others = counts.rank()
    assert ranked["busy"] == 100
    assert ranked["a"] == 2
    assert (len(ranked), others) == (3, 0)


def test_a_histogram_has_each_time_once() -> None:
    histogram = Histogram((0.001, 0.1))
    for microseconds in (0, 1000, 1001, 100_000, 5_000_000):
        histogram.add_us(microseconds)
    assert histogram.document() == {"bounds": [0.001, 0.1], "counts": [2, 2, 1], "sum": 5.102001}


def connection(name: str, binary: str = "/usr/bin/curl", args: str = "", **keys: Any) -> str:
    """Return a line of an event, as the decoder writes it."""
    event = {
        "type": "NetworkEvent",
        "process": {"pid": 1, "filename": "f", "binary_path": binary, "args": args},
        "network_event": {"type": f"TcpConnection{name}", "saddr": "10.0.0.1", **keys},
        "timestamp": "2026-11-30T19:47:54.025Z",
    }
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).replace('"filename":"f",', "") + "\n"


def test_events_are_counted_by_what_they_say() -> None:
    counts = EventCounts(outcome=True, statistics=True)
    hostile = '"network_event":{"type":"TcpConnectionFail","reason":"refused"}'
    counts.add(
        [
            connection("Establish", handshake_us=700, args=hostile),
            connection("Accept", binary="/usr/sbin/nginx", names=[{"name": "}"}]),
            connection("Fail", reason="timeout"),
            connection("Close", duration_us=2_000_000, bytes_sent=10, bytes_received=20, closed_by="peer"),
            '{"type":"LostEvents","lost_events":{"count":1}}\n',
        ]
    )
    document = counts.document()
    assert {(one["direction"], one["result"]): one["count"] for one in document["connections"]} == {
        ("egress", "established"): 1,
        ("egress", "failed"): 1,
        ("ingress", "accepted"): 1,
    }
    assert (document["failures"], document["endings"]) == ({"timeout": 1}, {"peer": 1})
    assert (document["closed"], document["bytes_sent"], document["bytes_received"]) == (1, 10, 20)
    assert (document["handshakes"]["sum"], document["durations"]["sum"]) == (0.0007, 2.0)
    assert document["binaries"] == {"/usr/bin/curl": 2, "/usr/sbin/nginx": 1}


def test_aggregates_are_counted_by_their_numbers() -> None:
    counts = EventCounts(outcome=False, statistics=False)
    flow = {"direction": "egress", "opened": 5, "failed": 2, "bytes_sent": 10, "bytes_received": 20}
    summary = {"type": "NetworkSummary", "process": {"binary_path": "/usr/bin/curl", "args": ""}, "flow": flow}
    counts.add([json.dumps(summary, separators=(",", ":")) + "\n"] * 2)
    document = counts.document()
    assert {(one["direction"], one["result"]): one["count"] for one in document["connections"]} == {
        ("egress", "requested"): 10,
        ("egress", "failed"): 4,
        ("ingress", "accepted"): 0,
    }
    assert (document["bytes_sent"], document["bytes_received"], document["binaries"]) == (20, 40, {"/usr/bin/curl": 10})


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_whatever_executables_are_called_the_metrics_are_well_formed(names: list[str]) -> None:
    counts = EventCounts(outcome=False, statistics=False)
    counts.add(connection("Accept", binary=name) for name in names)
    lines = _expose(counts).split("\n")
    found = [line for line in lines if line.startswith("netmon_binary_connections_total{")]
    assert sum(int(line.rpartition(" ")[2]) for line in found) == len(names)
    assert all(re.fullmatch(r'netmon_binary_connections_total\{binary="([^"\\]|\\.)*"\} \d+', line) for line in found)


def _expose(counts: EventCounts) -> str:
    status = json.loads((Path(__file__).parent / "status.json").read_text())
    return expose({**status, "counted": counts.document()})


def test_a_status_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netmon.control.protocol.ask", lambda _path, _command: {"version": "9.9"})
    with pytest.raises(NetmonError, match=r"another version \(9\.9\)"):
        read_metrics(str(tmp_path))


def test_a_newer_status_may_have_more_keys() -> None:
    """Readers ignore what they do not know."""
    status = json.loads((Path(__file__).parent / "status.json").read_text())
    assert expose(status) == expose({**status, "further": 1, "ring": {**status["ring"], "further": 1}})

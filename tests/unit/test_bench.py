"""The benchmarks' pure parts: what is planned, what is made of the samples."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import plot, reader, report
from bench.__main__ import parse, plan_of
from bench.byte_counts import COUNTERS, TRUTH, Carried, sums
from bench.figures import Figures, ratio
from bench.monitors import ALL_OPTIONS, MONITORS, names_for
from bench.plan import DEFAULT, LONG, Plan, cidrs
from bench.scenarios import SCENARIOS, port_of

MEMORY = {"pss": 20.0, "rss": 25.0, "peak": 30.0}


def sample(monitor: str, load: str, round_: int = 0, **figures: float) -> dict[str, Any]:
    return {"round": round_, "monitor": monitor, "load": load, "figures": figures}


def result(*samples: dict[str, Any], **plan: Any) -> dict[str, Any]:
    described = {**json.loads(DEFAULT.to_json()), "kernel": "6.12", **plan}
    head = {"kernel": "6.12", "release": "6.12.1", "cpus": 2, "date": "2026-01-01", "commit": "abc"}
    return {**head, "plan": described, "samples": list(samples)}


def cells(text: str, first: str) -> list[str]:
    """Return the cells of the table row that begins so."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_plan_reaches_the_guest_as_it_is() -> None:
    plan = plan_of(parse(["--kernel", "6.1", "--rounds", "5", "--cidrs", "3,4"]))
    assert Plan.from_json(plan.to_json().decode()) == plan
    assert (plan.rounds, plan.cidrs, plan.connections) == (5, (3, 4), DEFAULT.connections)


def test_every_monitor_has_every_place() -> None:
    plan = Plan("6.12", tuple("abc"), 3, 1, 1, 1, ())
    assert list(plan.orders()) == [list("abc"), list("bca"), list("cab")]


def test_bcc_takes_part_where_it_compiles() -> None:
    assert "bcc-tcptracer" in names_for("6.1")
    assert "bcc-tcptracer" not in names_for("6.12")
    with pytest.raises(ValueError, match=r"not on 6\.12: bcc-tcptracer; there are nothing, netmon"):
        plan_of(parse(["--only", "bcc-tcptracer"]))


def test_cidrs_differ_and_one_is_loopbacks() -> None:
    networks = [IPv4Network(cidr) for cidr in cidrs(1000)]
    assert len(set(networks)) == 1000
    assert any(IPv4Address("127.0.0.1") in network for network in networks)
    assert list(cidrs(1000)) == list(map(str, networks))


def test_figures_are_medians_of_rounds() -> None:
    figures = Figures([sample("netmon", "pairs1", round_, rate=rate) for round_, rate in enumerate((3.0, 9.0, 4.0))])
    assert figures.median("netmon", "pairs1", "rate") == 4.0
    assert figures.median("netmon", "pairs1", "cpu_us") is None
    assert ratio(4.0, 2.0) == 2.0
    assert ratio(None, 2.0) is ratio(4.0, None) is ratio(4.0, 0.0) is None


def test_a_comparison_is_told_against_nothing_and_tcptracer() -> None:
    text = report.comparison(
        result(
            sample("nothing", "pairs1", rate=4000.0, cpu_us=0.0, probe_us=0.0, probe_runs=0.0, events=0.0),
            sample("netmon", "pairs1", rate=3200.0, cpu_us=50.0, probe_us=20.0, probe_runs=4.0, events=4.0),
            sample("tcptracer", "pairs1", rate=2000.0, cpu_us=100.0, probe_us=80.0, probe_runs=10.0, events=3.5),
            sample("netmon", "end", 0, **MEMORY),
            sample("netmon", "start", ready_s=1.5, said_ready_s=1.0),
            sample("tcptracer", "start", ready_s=0.5),
            monitors=["nothing", "netmon", "tcptracer"],
            cidrs=[],
        )
    )
    load, resources = text.split("## Start")
    first_load = load.split("## Load")[1]
    assert cells(first_load, "nothing") == ["nothing", "4,000", "1.00", "", "", "", "", "", ""]
    assert cells(first_load, "netmon") == ["netmon", "3,200", "1.25", "4.00", "50.0", "0.50", "20.0", "0.25", "4.0"]
    assert cells(resources, "netmon")[:5] == ["netmon", "1.50", "3.00", "1.00", "20.0"]


def test_what_only_closes_are_reported_by_is_said() -> None:
    text = report.comparison(result(sample("tcplife", "pairs1", events=2.0), monitors=["tcplife"], cidrs=[]))
    assert cells(text.split("## Load")[1], "tcplife")[3] == "2.00 (reports 2)"


def test_cidrs_are_told_against_the_fewest() -> None:
    text = report.comparison(
        result(
            sample("netmon", "cidrs:10", said_ready_s=1.0, probe_us=10.0),
            sample("netmon", "cidrs:1000", said_ready_s=1.0, probe_us=15.0),
            monitors=[],
        )
    )
    assert cells(text, "1,000")[4:6] == ["15.00", "1.50"]


def test_a_long_run_tells_memory_and_losses() -> None:
    name = ALL_OPTIONS.name
    kernel = {"maps_mb": 9.5, "maps": 40, "descriptors": 60}
    parts = [
        sample(name, "day", number, rate=1000.0 * number, started=7.0, **{**MEMORY, "pss": pss}, **kernel)
        for number, pss in enumerate((20.0, 22.0, 21.0))
    ]
    account = {"written": 7, "lost": 1, "missed": 0, "happened": 8, "said_lost": 1, "rate": 5.0, "pss": 20.0}
    floods = [sample(monitor, "flood", 0, **account) for monitor in ("netmon", name)]
    text = report.long_run(result(*floods, *parts, sample(name, "account", 0, **account), flood=LONG.flood))
    assert cells(text, "2") == ["2", "1,000", "7", "22.0", "9.5", "40", "60"]
    assert cells(text, "200,000 connections at full speed, everything on")[1:6] == ["8", "7", "1", "0", "1"]
    assert "3 reloads" in text


def test_the_reader_of_a_long_run_counts_events_and_losses() -> None:
    lines = io.BytesIO(
        b'{"type":"NetworkEvent","network_event":{"type":"TcpConnectionAccept"}}\n'
        b'{"type":"NetworkEvent","network_event":{"type":"TcpConnectionProgress"}}\n'
        b'{"type":"LostEvents","lost_events":{"count":3,"missed":2}}\n'
        b'{"type":"NetworkEvent","network_event":{"type":"TcpConnectionClose"}}\n'
    )
    assert reader.count(lines, 0, 0.0) == {"written": 2, "lost": 3, "missed": 2, "other": 1}


def test_the_plot_is_well_formed_and_shows_every_monitor() -> None:
    names = [name for name in MONITORS if name != "nothing"]
    samples = [sample(name, "pairs1", probe_us=value) for value, name in enumerate(names)]
    root = ElementTree.fromstring(plot.svg(result(*samples, monitors=names)))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(names) <= set(texts)


REPORTS = {
    "netmon": '{"type":"NetworkEvent","network_event":{"type":"TcpConnectionClose","sport":7001,"dport":40000,'
    '"bytes_sent":7,"bytes_received":2048}}\n{"type":"NetworkEvent","network_event":{"type":"TcpConnectionClose"}}\n',
    "tcplife": "PID     COMM             LADDR           LPORT RADDR           RPORT TX_KB  RX_KB  MS\n"
    "12      two words        127.0.0.1       7001  127.0.0.1       40000 0.01   2.00   1.23\n",
    "ss -E": "UNCONN 0 0 127.0.0.1:7001 127.0.0.1:40000 ino:1 sk:2 cubic rto:204 bytes_sent:10 bytes_retrans:3 "
    "bytes_acked:7 bytes_received:2048 segs_out:4\nUNCONN 0 0 [::1]:5 [::1]:6 ino:0 sk:3\n",
    "conntrack -E": "[DESTROY] tcp      6 src=127.0.0.1 dst=127.0.0.1 sport=7001 dport=40000 packets=1 bytes=7 "
    "src=127.0.0.1 dst=127.0.0.1 sport=40000 dport=7001 packets=2 bytes=2048 [ASSURED]\n",
}


@pytest.mark.parametrize("name", COUNTERS)
def test_reports_of_bytes_are_read(name: str) -> None:
    first, *others = COUNTERS[name].read(REPORTS[name])
    assert first[:2] == (7001, 40000)
    assert first.sent == pytest.approx(7, abs=first.off)
    assert first.received == pytest.approx(2048, abs=first.off)
    assert others == ([] if name != "conntrack -E" else [Carried(40000, 7001, 2048, 7)])  # the other end


def test_byte_counts_are_told_beside_the_kernels_own() -> None:
    scenario = next(iter(SCENARIOS))
    port = port_of(scenario)
    reports = [Carried(port, 40000, 100, 5), Carried(40000, port, 5, 98, off=1), Carried(9, 9, 1, 1)]
    assert sums(reports, port) == {"ends": 2, "sent": 105, "received": 103, "off": 1}
    ran = result(
        sample(TRUTH, scenario, ends=2, sent=105, received=105),
        sample("netmon", scenario, ends=2, sent=105, received=105, off=0),
        sample("tcplife", scenario, 0, **sums(reports, port)),
        sample("ss -E", scenario, ends=1, sent=5, received=100, off=0),
        sample("conntrack -E", scenario, ends=0, sent=0, received=0, off=0),
        monitors=[*COUNTERS],
    )
    told = ["2", "105", "105", "exact", "-2 received", "1 of 2 ends", "nothing"]
    assert cells(report.byte_counts(ran), scenario)[1:] == told
    drawn = "".join(ElementTree.fromstring(plot.bytes_svg(ran)).itertext())
    assert all(words in drawn for words in (*COUNTERS, scenario, *told[3:]))


def test_a_scenario_counts_what_it_carries() -> None:
    ports = {port_of(name) for name in SCENARIOS}
    assert len(ports) == len(SCENARIOS) == 21
    command = [sys.executable, "-m", "bench.scenarios", "drip", str(port_of("drip"))]
    truth = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert (truth["ends"], truth["sent"], truth["received"]) == (2, 500, 500)


def test_counted_instructions_are_drawn() -> None:
    ran = result(
        sample("netmon --outcome", "pairs1", cpu_us=64.0, probe_us=6.11),
        sample("tcptracer", "pairs1", cpu_us=41.0, probe_us=22.4),
        monitors=["netmon --outcome", "tcptracer"],
    )
    drawn = list(ElementTree.fromstring(plot.instructions_svg(ran)).itertext())
    assert {"netmon --outcome", "tcptracer", "6,110", "22,400", "64", "41"} <= {text.strip() for text in drawn}

"""Draws the comparison: a bar chart for each figure."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from bench.figures import Figures
from bench.monitors import BASE_LINE
from bench.report import verdict

# (title, load, figure, digits, whether the base line has it)
CHARTS = (
    ("connections/s, one pair of threads (more is better)", "pairs1", "rate", 0, True),
    ("connections/s, short processes (more is better)", "short", "rate", 0, True),
    ("events seen of 4 (more is better)", "pairs1", "events", 2, False),
    ("probes: us a connection", "pairs1", "probe_us", 1, False),
    ("the monitor's CPU: us a connection", "pairs1", "cpu_us", 1, False),
    ("seconds to the first event", "start", "ready_s", 2, False),
    ("PSS, MB", "end", "pss", 1, False),
)
WIDTH, LABEL, BAR, ROW, TITLE, GAP, MARGIN = 760, 130, 520, 18, 26, 12, 16
COUNTED_CHARTS = (
    ("instructions of the BPF programs, a connection", "probe_us", 1000, 0),
    ("the monitor's own processor time, us a connection", "cpu_us", 1, 0),
)
WIDE_LABEL = 420
OURS, OTHERS = "#2a6fbb", "#9aa5b1"


def svg(result: dict[str, Any]) -> str:
    """Return the drawing, in SVG."""
    figures = Figures(result["samples"])
    top = MARGIN
    parts = []
    for title, load, figure, digits, with_base_line in CHARTS:
        bars = [
            (name, value)
            for name in result["plan"]["monitors"]
            if (value := figures.median(name, load, figure)) is not None and (with_base_line or name != BASE_LINE)
        ]
        if bars:
            parts += _chart(title, bars, digits, top)
            top += TITLE + ROW * len(bars) + GAP
    return _drawing(WIDTH, top, parts)


VERDICTS = {"exact": "#2e8b57", "wrong": "#d98e04", "nothing": "#9aa5b1"}
CELL = 190


def bytes_svg(result: dict[str, Any]) -> str:
    """Return the drawing of compared byte counts, in SVG: a field for each scenario and monitor."""
    figures = Figures(result["samples"])
    names, scenarios = result["plan"]["monitors"], figures.loads("")
    width, height = LABEL + CELL * len(names) + MARGIN, 2 * MARGIN + TITLE + ROW * len(scenarios)
    parts = [
        f'<text x="{LABEL + CELL * column + 4}" y="{MARGIN + 14}" font-weight="bold">{escape(name)}</text>'
        for column, name in enumerate(names)
    ]
    for index, scenario in enumerate(scenarios):
        y = MARGIN + TITLE + ROW * index
        parts.append(f'<text x="{LABEL - 6}" y="{y + 11}" text-anchor="end">{escape(scenario)}</text>')
        for column, name in enumerate(names):
            kind, words = verdict(figures, name, scenario)
            x = LABEL + CELL * column
            parts += [
                f'<rect x="{x}" y="{y}" width="{CELL - 4}" height="{ROW - 4}" fill="{VERDICTS[kind]}"/>',
                f'<text x="{x + 4}" y="{y + 11}" fill="white">{escape(words)}</text>',
            ]
    return _drawing(width, height, parts)


def _drawing(width: int, height: int, parts: list[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *parts, "</svg>"]) + "\n"


def instructions_svg(result: dict[str, Any]) -> str:
    """Return the drawing of counted instructions, in SVG."""
    figures = Figures(result["samples"])
    top, parts = MARGIN, list[str]()
    for title, figure, factor, digits in COUNTED_CHARTS:
        found = {name: figures.median(name, "pairs1", figure) for name in result["plan"]["monitors"]}
        bars = [(name, value * factor) for name, value in found.items() if value is not None]
        parts += _chart(title, bars, digits, top, WIDE_LABEL)
        top += TITLE + ROW * len(bars) + GAP
    return _drawing(WIDTH + WIDE_LABEL - LABEL, top, parts)


def _chart(title: str, bars: list[tuple[str, float]], digits: int, top: int, label: int = LABEL) -> list[str]:
    most = max(value for _, value in bars) or 1
    lines = [f'<text x="{MARGIN}" y="{top + 14}" font-weight="bold">{escape(title)}</text>']
    for index, (name, value) in enumerate(bars):
        y = top + TITLE + ROW * index
        width = BAR * value / most
        colour = OURS if name.startswith("netmon") else OTHERS
        lines += [
            f'<text x="{label - 6}" y="{y + 11}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{label}" y="{y}" width="{width:.1f}" height="{ROW - 5}" fill="{colour}"/>',
            f'<text x="{label + width + 5:.1f}" y="{y + 11}">{value:,.{digits}f}</text>',
        ]
    return lines

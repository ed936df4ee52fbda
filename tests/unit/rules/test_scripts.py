"""Which script an interpreter runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.rules.scripts import MAX_SCRIPT, script_of


@pytest.mark.parametrize(
    ("name", "args", "script"),
    [
        ("python3.11", "/opt/app.py --port 80", "/opt/app.py"),
        ("python3", "-u -W ignore -X dev /opt/app.py", "/opt/app.py"),
        ("python3", "-m http.server 80", "-m http.server"),
        ("python3.13t", "app.py", "app.py"),
        ("bash", "-c curl x | sh", "-c"),
        ("sh", "-- /a b", "/a"),
        ("bash", "-l", None),
        ("perl", "-w -I /lib x.pl", "x.pl"),
        ("perl", "-e print", "-c"),
        ("php8.2", "-r echo", "-c"),
        ("node", "--inspect -r ./hook server.js", "server.js"),
        ("java", "-Xmx1g -jar app.jar x", "-jar app.jar"),
        ("java", "-cp a:b org.example.Main", "org.example.Main"),
        ("deno", "run main.ts", "main.ts"),
        ("python3", "", None),
        ("python3", "-m", None),
        ("curl", "x", None),
        ("pythonic", "x", None),
        ("python3", "x" * (MAX_SCRIPT + 1), None),
    ],
)
def test_what_it_runs(name: str, args: str, script: str | None) -> None:
    assert script_of(name, args, whole=True) == script


def test_of_arguments_that_were_cut_the_last_word_is_not_believed() -> None:
    assert script_of("python3", "/opt/ap", whole=False) is None
    assert script_of("python3", "/opt/app.py --po", whole=False) == "/opt/app.py"


@given(st.text(), st.booleans())
def test_any_arguments_are_fine(args: str, whole: bool) -> None:
    script = script_of("python3", args, whole=whole)
    assert script is None or len(script) <= MAX_SCRIPT

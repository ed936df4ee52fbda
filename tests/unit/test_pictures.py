"""The pictures in the README show what netmon writes; `python3 build.py pictures` makes them again."""

from __future__ import annotations

import pytest

from tests.support.pictures import DIRECTORY, PICTURES, ROOT, in_utc, texts_of


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_what_netmon_writes(name: str) -> None:
    with in_utc():
        made = PICTURES[name]()
    assert texts_of(made) == texts_of((DIRECTORY / name).read_text())
    assert len(texts_of(made)) > 10


def test_the_readme_has_all_pictures() -> None:
    readme = (ROOT / "README.md").read_text()
    assert all(f"(docs/pictures/{name})" in readme for name in PICTURES)
    assert {path.name for path in DIRECTORY.iterdir()} == {*PICTURES}

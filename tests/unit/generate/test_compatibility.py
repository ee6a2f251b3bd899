"""docs/compatibility.md names tests that exist, and its table of what is refused is core's."""

import re
from pathlib import Path

import pytest
from indexcache_core.compat import NATIVE_SHARING
from indexcache_core.refusals import REFUSALS, RefusedFeature, Setting

from scripts.generate import compatibility

ROOT = Path(__file__).parents[3]
PAGE = compatibility.PAGE.read_text()
SUITE = "tests/conformance/suite.py"


def test_it_names_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE) + [
        (SUITE, name) for name in re.findall(r"`(test_\w+)`", PAGE)
    ]
    assert len(named) > 20
    for path, name in named:
        source = (ROOT / path).read_text()
        assert not name or re.search(rf"^ *(?:async )?(?:def|class) {name}\b", source, re.MULTILINE), (
            f"{path}::{name}"
        )


def test_the_whole_suite_is_on_it() -> None:
    assert set(re.findall(r"def (test_\w+)", (ROOT / SUITE).read_text())) <= set(
        re.findall(r"`(test_\w+)`", PAGE)
    )


def test_the_page_is_current() -> None:
    assert compatibility.render() == {compatibility.PAGE: PAGE}, "run `make generate`"


def test_all_that_is_refused_is_in_the_table() -> None:
    names = [setting.name for refusal in REFUSALS for setting in refusal.settings]
    assert all(f"`{name}`" in compatibility.table() for name in (*names, *NATIVE_SHARING))
    assert all(refusal.why in compatibility.table() for refusal in REFUSALS)


def test_a_row_says_where_and_from_which_version(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (Setting(name="--old"), Setting(name="--new", since=(0, 99)))
    refusal = RefusedFeature(
        feature="x",
        settings=settings,
        why="it harms",
        platforms=("cuda",),
        notes={"cpu": "is not there", "cuda": ", by us"},
        shown_by="t.py",
    )
    monkeypatch.setattr(compatibility, "REFUSALS", (refusal,))
    expected = "| x | `--old`, `--new` (from vLLM 0.99) | is not there | refused, by us | it harms (`t.py`) |"
    assert expected in compatibility.table().splitlines()

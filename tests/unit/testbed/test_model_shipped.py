"""The checkpoint in the repository is the one whose figures stand beside it."""

from pathlib import Path

from indexcache_testbed.model.patterns import PatternTable, choose
from indexcache_testbed.model.readme import render

MODELS = Path(__file__).parents[3] / "testbed/models"


def test_it_has_every_figure_that_demo_and_tests_rely_on() -> None:
    assert choose(PatternTable.load(MODELS / "tiny_dsa/patterns.json")).missed == []


def test_it_is_small_enough_for_git() -> None:
    assert (MODELS / "tiny_dsa/model.safetensors").stat().st_size <= 10_000_000


def test_its_page_shows_the_measured_figures() -> None:
    assert (MODELS / "README.md").read_text() == render(MODELS)

"""The README's figures are those of the files of results."""

from pathlib import Path

from benchmarks import render

ROOT = Path(__file__).parents[2]


def test_the_readme_says_what_was_measured() -> None:
    readme = (ROOT / "README.md").read_text()
    assert render.rendered(readme, *render.read()) == readme


def test_a_row_that_is_missing_is_said_to_be() -> None:
    assert "not measured yet" in render.block({"rows": [], "hardware": "x", "versions": {}, "date": ""}, {"rows": []})

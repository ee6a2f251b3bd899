"""The figures of docs/performance.md, docs/statistics.md and docs/reliability.md, and the picture, are those
of the files of results.
"""

from pathlib import Path

import pytest

from benchmarks import render


@pytest.mark.parametrize("path", [render.PAGE, render.STATISTICS, render.RELIABILITY])
def test_a_page_says_what_was_measured(path: Path) -> None:
    page = path.read_text()
    assert render.rendered(page, render.tables()[path]) == page


def test_the_picture_shows_what_was_traced() -> None:
    assert render.PICTURE.read_text() == render.evidence_traced()


def test_a_figure_that_was_typed_is_found() -> None:
    page = render.PAGE.read_text()
    typed = page.replace("| 0 | 0 |", "| 1 | 0 |")
    assert typed != page
    assert render.rendered(typed, render.tables()[render.PAGE]) == page


def test_a_row_that_is_missing_is_said_to_be() -> None:
    assert "not measured yet" in render.block(
        {"rows": [], "hardware": "x", "versions": {}, "date": ""}, {"rows": []}
    )


def test_a_page_without_a_tables_place_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"off_cost\.json"):
        render.rendered("", {"off_cost.json": "a table"})

"""Tests how pages take what is generated."""

from pathlib import Path

import pytest

from scripts.generate.pages import END, begin, filled


def test_only_what_stands_between_the_two_lines_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n{begin('a.py')}old\n{END}after\n{begin('b.py')}b\n{END}")
    assert filled(page, "a.py", "new\n") == page.read_text().replace("old", "new")


@pytest.mark.parametrize("text", ["## Refused\n", begin("b.py") + END, begin("a.py")])
def test_a_page_without_a_place_is_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="found no lines"):
        filled(page, "a.py", "new\n")

"""Puts what is generated into a page that people write: between two lines that say so."""

from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
END = "<!-- end -->\n"


def begin(source: str) -> str:
    """Return the line after which a page holds what is made of this file."""
    return f"<!-- Made of {source} by `make generate`. Do not edit. -->\n"


def filled(page: Path, source: str, made: str) -> str:
    """Return a page's text with what is made of a file in its place. Raises ValueError if it has none."""
    before, first, rest = page.read_text().partition(begin(source))
    _, last, after = rest.partition(END)
    if not first or not last:
        raise ValueError(
            f"{page}: found no lines {begin(source).strip()} and {END.strip()}; expected what is generated "
            "between them; put them back"
        )
    return before + first + made + last + after

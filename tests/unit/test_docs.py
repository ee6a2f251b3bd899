"""Documents say what is there: links, files, what is defined in them, and targets of make exist.

A reference is a code span. `path/to/file.py` names a file, and `path/to/file.py::name` something defined in
it. Paths begin at the top of the checkout; the README of a package may begin at its folder or at its Python
package.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HIDDEN = re.compile(r"\.(?!github)")
"""Folders that hold no document of ours: what tools keep in a checkout."""
SUFFIXES = ("py", "md", "toml", "yaml", "yml", "json", "jsonl", "txt", "sh", "mod")
PATH = rf"[\w.-]+(?:/[\w.-]+)*\.(?:{'|'.join(SUFFIXES)})"
REFERENCE = re.compile(rf"({PATH})(?:::([\w.]+))?|((?:[\w.-]+/)+)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def files_like(pattern: str) -> tuple[Path, ...]:
    """Return the files of the checkout whose names match, in order."""
    found = (
        p for p in ROOT.rglob(pattern) if not any(HIDDEN.match(part) for part in p.relative_to(ROOT).parts)
    )
    return tuple(sorted(found))


DOCUMENTS = files_like("*.md")


def name_of(path: Path) -> str:
    """Return how tests call a document."""
    return str(path.relative_to(ROOT))


def spans(text: str) -> Iterator[str]:
    """Yield the code spans of a document, each on one line."""
    for found in re.findall(r"`([^`]+)`", FENCE.sub("", text)):
        yield " ".join(found.split())


def targets(text: str) -> set[str]:
    """Return the targets of make that a document's code spans and code blocks name."""
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()]
    commands = [re.sub(r"^\s*[$#]?\s*", "", line) for line in [*spans(text), *lines]]
    found: set[str] = set()
    for command in commands:
        words = command.partition("#")[0].split()
        if words[:1] == ["make"]:
            found |= {word for word in words[1:] if "=" not in word and not word.startswith("-")}
    return found


def made() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def slug(heading: str) -> str:
    """Return the anchor that a heading has when it is shown."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings."""
    return {slug(h) for h in re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text()), re.MULTILINE)}


def bases(document: Path) -> list[Path]:
    """Return the folders at which a document's paths may begin."""
    folder = document.parent
    packages = [p.parent for p in folder.glob("*/__init__.py")] if folder.parent == ROOT else []
    return [ROOT, folder, *packages]


def below(document: Path, name: str) -> list[Path]:
    """Return the files of this name in the document's folder and under it, where it names no folder."""
    return [] if "/" in name else list(document.parent.rglob(name))


def defines(path: Path, name: str) -> bool:
    """Return whether a Python file defines a function, a class or a value of this name; of `A.b`, both."""
    source = path.read_text()
    return all(
        re.search(rf"^ *(?:(?:async )?def|class) {part}\b|^ *{part}(?::.*)? = ", source, re.MULTILINE)
        for part in name.split(".")
    )


@cache
def sources() -> tuple[Path, ...]:
    """Return the Python files of the checkout."""
    return files_like("*.py")


def elsewhere(path: str, name: str | None) -> str:
    """Return where something that isn't at `path` is now, for whoever has moved it."""
    found = [p for p in sources() if (defines(p, name) if name else p.name == Path(path).name)]
    return ", ".join(name_of(p) for p in found) or "nowhere"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_what_is_linked_exists(document: Path) -> None:
    text = FENCE.sub("", document.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), (
            f"link to {target}: found nothing there; expected a file or a folder; correct the link"
        )
        if anchor:
            assert anchor in anchors(file), (
                f"link to {target}: found no heading with this anchor; correct the link"
            )


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_what_is_named_exists(document: Path) -> None:
    for span in spans(document.read_text()):
        match = REFERENCE.fullmatch(span)
        if match is None:
            continue
        path, name = match[1] or match[3], match[2]
        if "/" not in path and not path.endswith(".py"):
            continue  # a file of a user's or of an engine's, as config.json
        files = [base / path for base in bases(document) if (base / path).exists()] or below(document, path)
        assert files, f"`{span}`: no such file; one of that name is: {elsewhere(path, None)}"
        if name:
            assert any(defines(file, name) for file in files), (
                f"`{span}`: not defined there; it is: {elsewhere(path, name)}"
            )


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_targets_of_make_exist(document: Path) -> None:
    assert targets(document.read_text()) <= made()


def versions() -> dict[str, str]:
    """Return the version in each file that docs/releasing.md counts among those that are released
    together.
    """
    packages = ("", "core/", "operator/", "kernels/", "runtime/", "testbed/", "testbed/dsa_cpu/")
    found = {
        f"{p}pyproject.toml": tomllib.loads((ROOT / p / "pyproject.toml").read_text())["project"]["version"]
        for p in packages
    }
    chart = yaml.safe_load((ROOT / "charts/indexcache-operator/Chart.yaml").read_text())
    return {**found, "the chart": chart["version"], "the chart's appVersion": chart["appVersion"]}


def test_what_is_released_together_has_one_version() -> None:
    found = versions()
    assert len(set(found.values())) == 1, found


def test_the_changelog_begins_with_that_version() -> None:
    newest = (ROOT / "CHANGELOG.md").read_text().partition("\n## ")[2].partition("\n## ")[0]
    assert re.search(rf"\b{re.escape(versions()['pyproject.toml'])}\b", newest)


def section(document: str, heading: str) -> str:
    """Return what stands under a heading of the second level that begins so."""
    text = (ROOT / document).read_text()
    return text.partition(f"\n## {heading}")[2].partition("\n## ")[0]


def test_a_newcomers_ten_questions_are_answered_by_files() -> None:
    rows = [
        row for row in section("docs/architecture.md", "Ten questions").splitlines() if row.startswith("| ")
    ][1:]
    assert len(rows) == 10
    for row in rows:
        assert re.search(rf"`{PATH}::[\w.]+`", row), row


@pytest.mark.parametrize("number", range(1, 14))
def test_each_invariant_names_the_tests_that_guard_it(number: int) -> None:
    text = section("docs/invariants.md", f"I{number}:")
    assert "**Why.**" in text
    assert "**What would break it.**" in text
    assert re.search(rf"`{PATH}::test_\w+`", text.partition("**Guarded by**")[2])


def test_each_invariant_that_the_code_cites_is_defined() -> None:
    cited = {n for path in sources() for n in re.findall(r"\bI(1[0-3]|[1-9])\b[:.;)]", path.read_text())}
    assert cited
    defined = set(re.findall(r"^## I(\d+):", (ROOT / "docs/invariants.md").read_text(), re.MULTILINE))
    assert cited <= defined

"""Tests that docstrings are sentences: a function's begins with a verb, no other begins with a fragment.

ruff's D401 knows words that are no imperatives, but most nouns it lets pass; so verbs are listed here, and a
new one is added. A test's name is its sentence: its docstring may explain what it likes.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "core", "kernels", "operator", "runtime", "scripts", "testbed", "tests")
VERBS = """
accept add allow annotate answer apply ask await begin break bring build call cancel capture change
charge check choose close compare compile compute configure connect copy count create cut delete deliver
describe do draw drop empty encode end enter expect feed fill find follow forget give hand have hold
import install judge keep launch lead leave let load look make mark measure move name note obey open owe parse
plan play poll post preempt pretend print project put raise read recompute record refresh refuse register
release remove render renew replace replay report return rewrite roll rotate run say scale schedule score
see send serve set settle show stand start stay step stop store sum take tell time train try turn undo unpack
use wait walk want watch wrap write yield
"""
FRAGMENTS = """
after as at before by for from how in of on one since that to until what when where whether which while who
whose why with
"""
"""How no class and no module begins: with a clause, or with a place in one."""
SHOWN_BY_KUBECTL = tuple(
    f"operator/indexcache_operator/api/{name}.py" for name in ("spec", "status", "endings", "base")
)
"""Docstrings of their classes are descriptions of fields in the CRD, which are nouns there as everywhere."""

Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documented(source: str) -> Iterator[tuple[Definition, str]]:
    """Yield each definition of a source that has a docstring, the module among them, and that docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Definition) and (text := ast.get_docstring(node)):
            yield node, text


def is_sentence(node: Definition, text: str) -> bool:
    """Return whether a definition's docstring begins as it must."""
    found = re.match(r"`?[A-Za-z]+", text)
    word = found.group().lower() if found else ""
    if isinstance(node, ast.Module | ast.ClassDef):
        return word not in ("", *FRAGMENTS.split())
    return node.name.startswith("test_") or word in VERBS.split()


def misfits(path: str, source: str) -> list[str]:
    """Return a line for each docstring of a file that doesn't begin as it must."""
    return [
        f"{path}: {getattr(node, 'name', 'the module')}: {text.splitlines()[0]}"
        for node, text in documented(source)
        if not (path in SHOWN_BY_KUBECTL and isinstance(node, ast.ClassDef)) and not is_sentence(node, text)
    ]


def test_every_docstring_begins_as_a_sentence_does() -> None:
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    assert len(paths) > 400
    assert [line for p in paths for line in misfits(str(p.relative_to(ROOT)), p.read_text())] == []


@pytest.mark.parametrize(
    "source",
    [
        'def state(): "One engine\'s state."',
        'def times(): "As it travels."',
        'def size(): "(n,) int64 of sizes."',
        'class State: "What an engine is."',
        'class State: "One engine."',
        'class Engine:\n    def state(self): "The state."',
        '"Of all engines."',
    ],
)
def test_a_fragment_is_found(source: str) -> None:
    assert len(misfits("core/a.py", source)) == 1


def test_sentences_may_stand_and_so_may_what_a_test_explains() -> None:
    source = """
"Counts what engines did."
class State:
    "A state."
    def read(self): "Return it."
def test_it_is_read(): "From the very beginning."
def undocumented(): pass
"""
    assert misfits("core/a.py", source) == []

"""Each module of plan/ and core/ has unit tests of its own: none is tested by way of the whole alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def modules() -> list[str]:
    """Return the modules of the plan and of core that hold code."""
    found = []
    for package, folder in (("operator", "indexcache_operator/plan"), ("core", "indexcache_core")):
        for path in sorted((ROOT / package / folder).rglob("*.py")):
            if path.name != "__init__.py":
                found.append(".".join(path.relative_to(ROOT / package).with_suffix("").parts))
    return found


def imported(path: Path) -> set[str]:
    """Return what a file imports: modules, and names from them, which may be modules too."""
    out: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            out |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return out


def test_there_are_modules_to_look_for() -> None:
    assert {"indexcache_operator.plan.planner", "indexcache_core.evidence.betting"} <= set(modules())


@pytest.mark.parametrize("module", modules())
def test_a_file_of_tests_has_its_name(module: str) -> None:
    folder = "operator/plan" if module.startswith("indexcache_operator.") else "core"
    (file,) = (ROOT / "tests/unit" / folder).rglob(f"test_{module.rpartition('.')[2]}.py")
    assert module in imported(file)

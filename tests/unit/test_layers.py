"""Arrows point one way: who may import whom, read from the imports themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "core": "indexcache_core",
    "operator": "indexcache_operator",
    "runtime": "indexcache_runtime",
    "kernels": "indexcache_kernels",
    "testbed": "indexcache_testbed",
}
MAY_IMPORT = {
    "core": set(),
    "kernels": set(),
    "operator": {"indexcache_core"},
    "runtime": {"indexcache_core", "indexcache_kernels"},
    "testbed": {"indexcache_core", "dsa_cpu"},
}
FOREIGN = {
    "core": {"torch", "vllm", "kopf", "kubernetes", "aiohttp", "prometheus_client"},
    "operator": {"torch", "vllm", "triton", "numpy"},
    "kernels": {"vllm", "kopf", "kubernetes"},
    "runtime": {"kopf", "kubernetes", "aiohttp"},
}


def imported(folder: Path) -> dict[str, set[Path]]:
    """Top-level modules that the files of a folder import, anywhere in them, and where."""
    out: dict[str, set[Path]] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                out.setdefault(name.partition(".")[0], set()).add(path)
    return out


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_package_imports_only_what_lies_under_it(folder: str) -> None:
    found = imported(ROOT / folder / PACKAGES[folder])
    ours = {name for name in found if name in PACKAGES.values() or name == "dsa_cpu"} - {PACKAGES[folder]}
    assert ours <= MAY_IMPORT[folder]


@pytest.mark.parametrize("folder", FOREIGN)
def test_a_package_knows_nothing_of_what_is_not_its_business(folder: str) -> None:
    assert not set(imported(ROOT / folder / PACKAGES[folder])) & FOREIGN[folder]


def test_the_plan_does_no_input_or_output() -> None:
    forbidden = {"aiohttp", "kubernetes", "kopf", "asyncio", "time", "os", "pathlib", "socket", "random"}
    assert not set(imported(ROOT / "operator/indexcache_operator/plan")) & forbidden


def test_nothing_in_the_runtime_but_its_own_folder_knows_vllm() -> None:
    runtime = ROOT / "runtime/indexcache_runtime"
    where = imported(runtime).get("vllm", set())
    assert where
    assert all(path.is_relative_to(runtime / "vllm") for path in where)
